package keycloaktest

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// State is what Keycloak's database holds about a realm's people and groups. If two States are
// equal, Keycloak has written nothing about people and groups between the two reads.
type State struct {
	Users     []StoredUser // sorted by username, then id; includes service accounts
	Groups    []StoredGroup
	Federated []FederatedRow // sorted by user, then group
	Storages  []string       // ids of the user-storage components, sorted
}

// StoredUser is an account in Keycloak's database. The database has no accounts of a federation
// that does not import.
type StoredUser struct {
	ID, Username, Email string
	Enabled             bool
	Federation          string   // id of the federation from which the account was imported; empty: a local account
	Groups              []string // paths of the groups of which the account is a member in the database, sorted
	Roles               []string // names of the roles that the account holds directly in the database, sorted
}

// StoredGroup is a group in Keycloak's database. A State holds the groups sorted by path, then id.
type StoredGroup struct{ ID, Path string }

// FederatedRow is a membership of a person who has no account in Keycloak's database.
type FederatedRow struct{ UserID, Group string }

// State reads the realm's people and groups directly from the database. The admin API is of no
// use for this: with LDAP, nearly every call (users, users/{id}, members) imports or deletes
// people, and the calls that only count return no ids.
//
// State pauses the server for some milliseconds while it copies the database file. The copy
// contains everything that the server has confirmed. A program of the database H2 then reads
// the copy, in about a second. The server, its caches and its database do not change.
//
// On a release before 26.0, State skips the test, because such a server writes to the file
// long after it has answered.
func (r *Realm) State(tb testing.TB) State {
	tb.Helper()
	if r.Server.options.before(2600) {
		tb.Skipf("Keycloak %s writes its database file too late for State", r.Server.options.Version)
	}
	dir := tb.TempDir()
	must(tb, r.Server.copyDatabase(filepath.Join(dir, "copy.mv.db")))
	tables := r.Server.query(tb, dir, r.Name, stateQueries)
	return newState(tables)
}

// databaseLogins are the names and passwords of the database's owner: first in Keycloak 26.7, then
// in older releases.
var databaseLogins = [][2]string{{"", ""}, {"sa", "password"}}

func (s *Server) copyDatabase(to string) (err error) {
	if err := s.proc.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() {
		if more := s.proc.Signal(syscall.SIGCONT); err == nil {
			err = more
		}
	}()
	from, err := os.Open(filepath.Join(s.home, "data", "h2", "keycloakdb.mv.db"))
	if err != nil {
		return err
	}
	defer from.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, from); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// stateQueries are the SQL queries of State, by name. The realm's name replaces the question mark.
// newState reads the columns by position.
var stateQueries = map[string]string{
	"users": `select u.ID, u.USERNAME, coalesce(u.EMAIL, ''), u.ENABLED, coalesce(u.FEDERATION_LINK, '')
		from USER_ENTITY u join REALM r on u.REALM_ID = r.ID where r.NAME = ?`,
	"groups": `select g.ID, g.NAME, coalesce(g.PARENT_GROUP, '')
		from KEYCLOAK_GROUP g join REALM r on g.REALM_ID = r.ID where r.NAME = ?`,
	"memberships": `select m.USER_ID, m.GROUP_ID
		from USER_GROUP_MEMBERSHIP m join USER_ENTITY u on m.USER_ID = u.ID join REALM r on u.REALM_ID = r.ID where r.NAME = ?`,
	"roles": `select m.USER_ID, k.NAME
		from USER_ROLE_MAPPING m join USER_ENTITY u on m.USER_ID = u.ID join KEYCLOAK_ROLE k on m.ROLE_ID = k.ID
		join REALM r on u.REALM_ID = r.ID where r.NAME = ?`,
	"federated": `select m.USER_ID, m.GROUP_ID
		from FED_USER_GROUP_MEMBERSHIP m join REALM r on m.REALM_ID = r.ID where r.NAME = ?`,
	"federations": `select c.ID
		from COMPONENT c join REALM r on c.REALM_ID = r.ID
		where c.PROVIDER_TYPE = 'org.keycloak.storage.UserStorageProvider' and r.NAME = ?`,
}

// query runs the queries on the copy in dir and returns the rows of each query by its name.
func (s *Server) query(tb testing.TB, dir, realm string, queries map[string]string) map[string][][]string {
	tb.Helper()
	jars, err := filepath.Glob(filepath.Join(s.home, "lib", "lib", "main", "com.h2database.h2-*.jar"))
	must(tb, err)
	if len(jars) != 1 {
		tb.Fatalf("the distribution has %d jars of H2, want 1", len(jars))
	}
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
	var script strings.Builder
	for name, query := range queries {
		query = strings.ReplaceAll(query, "?", quote(realm))
		fmt.Fprintf(&script, "call CSVWRITE(%s, %s, 'charset=UTF-8');\n", quote(filepath.Join(dir, name+".csv")), quote(query))
	}
	file := filepath.Join(dir, "script.sql")
	must(tb, os.WriteFile(file, []byte(script.String()), 0o600))
	var problems []error
	for _, login := range databaseLogins {
		out, err := exec.Command("java", "-cp", jars[0], "org.h2.tools.RunScript",
			"-url", "jdbc:h2:file:"+filepath.Join(dir, "copy")+";NON_KEYWORDS=VALUE;IFEXISTS=TRUE",
			"-user", login[0], "-password", login[1], "-script", file).CombinedOutput()
		if err == nil {
			problems = nil
			break
		}
		problems = append(problems, fmt.Errorf("%w\n%s", err, out))
	}
	if len(problems) > 0 {
		tb.Fatalf("reading the database: %v", errors.Join(problems...))
	}
	tables := map[string][][]string{}
	for name := range queries {
		text, err := os.Open(filepath.Join(dir, name+".csv"))
		must(tb, err)
		rows, err := csv.NewReader(text).ReadAll()
		_ = text.Close()
		must(tb, err)
		tables[name] = rows[1:] // the first row has the names of the columns
	}
	return tables
}

func newState(tables map[string][][]string) (s State) {
	paths := groupPaths(tables["groups"])
	for id, path := range paths {
		s.Groups = append(s.Groups, StoredGroup{ID: id, Path: path})
	}
	groups, roles := map[string][]string{}, map[string][]string{}
	for _, row := range tables["memberships"] {
		groups[row[0]] = append(groups[row[0]], paths[row[1]])
	}
	for _, row := range tables["roles"] {
		roles[row[0]] = append(roles[row[0]], row[1])
	}
	for _, row := range tables["users"] {
		u := StoredUser{
			ID: row[0], Username: row[1], Email: row[2], Enabled: strings.EqualFold(row[3], "true"), Federation: row[4],
			Groups: groups[row[0]], Roles: roles[row[0]],
		}
		slices.Sort(u.Groups)
		slices.Sort(u.Roles)
		s.Users = append(s.Users, u)
	}
	for _, row := range tables["federated"] {
		s.Federated = append(s.Federated, FederatedRow{UserID: row[0], Group: paths[row[1]]})
	}
	for _, row := range tables["federations"] {
		s.Storages = append(s.Storages, row[0])
	}
	slices.SortFunc(s.Users, func(a, b StoredUser) int {
		return strings.Compare(a.Username+"\x00"+a.ID, b.Username+"\x00"+b.ID)
	})
	slices.SortFunc(s.Groups, func(a, b StoredGroup) int {
		return strings.Compare(a.Path+"\x00"+a.ID, b.Path+"\x00"+b.ID)
	})
	slices.SortFunc(s.Federated, func(a, b FederatedRow) int {
		return strings.Compare(a.UserID+"\x00"+a.Group, b.UserID+"\x00"+b.Group)
	})
	slices.Sort(s.Storages)
	return s
}

// groupPaths returns the path of each group by its id. The rows hold id, name and the
// parent's id. For a group at the top, the parent's id is empty or a blank.
func groupPaths(rows [][]string) map[string]string {
	byID := map[string][]string{}
	for _, row := range rows {
		byID[row[0]] = row
	}
	var path func(id string) string
	path = func(id string) string {
		row, ok := byID[id]
		if !ok {
			return ""
		}
		return path(strings.TrimSpace(row[2])) + "/" + row[1]
	}
	paths := map[string]string{}
	for id := range byID {
		paths[id] = path(id)
	}
	return paths
}

// User returns the account with that username. The test fails if the database has no such account
// or several.
func (s State) User(tb testing.TB, username string) StoredUser {
	tb.Helper()
	var found []StoredUser
	for _, u := range s.Users {
		if u.Username == username {
			found = append(found, u)
		}
	}
	if len(found) != 1 {
		tb.Fatalf("the database has %d accounts named %q, want 1", len(found), username)
	}
	return found[0]
}

// Has reports whether the database has an account with that username.
func (s State) Has(username string) bool {
	return slices.ContainsFunc(s.Users, func(u StoredUser) bool { return u.Username == username })
}
