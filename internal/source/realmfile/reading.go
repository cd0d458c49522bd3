package realmfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/source"
)

// reading is the content of a realm after one read of its export.
type reading struct {
	groups      []source.Group
	accounts    []account                // in the file's order
	members     map[string][]source.User // by group id; an entry for every group of the realm
	federations []source.Federation
	roles       roles
	groupRoles  map[string][]role // by group id: the roles that the group itself holds
	duplicates  bool              // several accounts may share an email
}

// account is a user with its groups and roles.
type account struct {
	source.User
	groups []string
	roles  []role
}

// newReading reads the realm. If the realm cannot be a complete export, newReading returns an
// error that says which part is wrong.
func newReading(realm *Realm) (*reading, error) {
	if len(realm.Users) == 0 {
		return nil, errors.New("it holds no users; export them into the same file (kc.sh export --file … --users same_file)")
	}
	// In an export, federatedUsers hold the memberships of people without their names.
	if n := len(realm.FederatedUsers); n > 0 {
		return nil, fmt.Errorf("it holds %d federatedUsers: people of a federation that imports nobody. An export does not contain their names, so groupsync cannot use it. Use the live server", n)
	}
	r := &reading{duplicates: realm.DuplicateEmails, members: make(map[string][]source.User), groupRoles: make(map[string][]role)}
	r.roles = newRoles(realm.Roles)
	byPath := make(map[string][]string)
	if err := r.addGroups(realm.Groups, "", "", byPath); err != nil {
		return nil, err
	}
	for _, c := range realm.Components[federationType] {
		if c.Name == "" {
			return nil, errors.New("a user-storage component has no name; export the realm again")
		}
		r.federations = append(r.federations, source.Federation{
			ID: idOr(c.ID, "component", c.Name), Name: c.Name, Enabled: !slices.Equal(c.Config["enabled"], []string{"false"}), Imports: c.imports(),
		})
	}
	return r, r.addUsers(realm.Users, byPath)
}

func (r *reading) addGroups(groups []Group, parent, above string, byPath map[string][]string) error {
	for _, g := range groups {
		if g.Name == "" {
			return fmt.Errorf("a group below %q has no name; export the realm again", above+"/")
		}
		path := above + "/" + g.Name
		// The parent's id is part of the id, so that a top-level group "a/b" and a child "b"
		// of "a" get different ids.
		id := idOr(g.ID, "group", parent+path)
		if _, twice := r.members[id]; twice {
			return fmt.Errorf("the group %s appears twice (id %s); export the realm again", path, id)
		}
		r.members[id] = []source.User{}
		r.groups = append(r.groups, source.Group{ID: id, Name: g.Name, Path: g.Path, Parent: parent})
		r.groupRoles[id] = r.roles.take(g.RealmRoles, g.ClientRoles)
		byPath[path] = append(byPath[path], id)
		if err := r.addGroups(g.SubGroups, id, path, byPath); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) addUsers(users []User, byPath map[string][]string) error {
	ids, names := make(map[string]string, len(users)), make(map[string]bool, len(users))
	for i, u := range users {
		if u.Username == "" {
			return fmt.Errorf("user number %d has no username; export the realm again", i+1)
		}
		// Keycloak stores usernames and emails in lower case.
		name, email := lower(u.Username), lower(u.Email)
		a := account{
			User: source.User{
				ID: idOr(u.ID, "user", name), Username: name, Email: email, FirstName: u.FirstName, LastName: u.LastName,
				Enabled: u.Enabled, Federation: u.FederationLink, ServiceAccount: u.ServiceAccount != "",
			},
			roles: r.roles.take(u.RealmRoles, u.ClientRoles),
		}
		if names[name] {
			return fmt.Errorf("two users have the username %q; export the realm again", name)
		}
		if other, twice := ids[a.ID]; twice {
			return fmt.Errorf("the users %q and %q have one id, %s; export the realm again", other, name, a.ID)
		}
		names[name], ids[a.ID] = true, name
		if err := r.join(&a, u.Groups, byPath); err != nil {
			return err
		}
		r.accounts = append(r.accounts, a)
	}
	return nil
}

// join makes the account a direct member of the groups with those paths. It returns an error if
// no group or several groups have one of the paths.
func (r *reading) join(a *account, paths []string, byPath map[string][]string) error {
	for _, path := range paths {
		found := byPath["/"+strings.TrimPrefix(path, "/")]
		switch len(found) {
		case 0:
			return fmt.Errorf("the user %q is in the group %s, which the realm does not have; export the realm again", a.Username, path)
		case 1:
		default:
			return fmt.Errorf("the user %q is in the group %s, and %d groups have that path; rename one of them (a slash in a name looks like a parent)", a.Username, path, len(found))
		}
		if slices.Contains(a.groups, found[0]) {
			continue // Keycloak stores a membership once, even if it is listed several times
		}
		a.groups = append(a.groups, found[0])
		r.members[found[0]] = append(r.members[found[0]], a.User)
	}
	return nil
}

// idOr returns the id, or an id made from the kind and the name if id is empty. A realm written
// by hand can leave ids out. The made id is the same in every read.
func idOr(id, kind, name string) string {
	if id != "" {
		return id
	}
	sum := sha256.Sum256([]byte(kind + "\x00" + name))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// lower returns the text in lower case, as Keycloak (Java) does. Go differs for one letter: it
// turns İ, an I with a dot, into a plain i. The result could be another person's address.
func lower(text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "\u0130", "i\u0307"))
}
