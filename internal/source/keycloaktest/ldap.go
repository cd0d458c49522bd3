package keycloaktest

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"groupsync/internal/processtest"
)

// Every LDAP server has these entries: a suffix with a subtree for people and one for groups, an
// owner with all rights, and a reader, the account with which Keycloak binds.
const (
	ldapSuffix   = "dc=example,dc=org"
	ldapPeople   = "ou=people," + ldapSuffix
	ldapGroups   = "ou=groups," + ldapSuffix
	ldapOwner    = "cn=owner," + ldapSuffix
	ldapReader   = "cn=reader," + ldapSuffix
	ldapPassword = "ldap-test-password" // #nosec G101 -- only a slapd of the tests knows it
)

// LDAP is a running LDAP server (slapd). People are inetOrgPerson entries with the email
// uid@example.org. Groups are groupOfNames entries.
//
// A person is named by the uid, or by the cn if the entry has no uid. A group is named by
// its cn, or by "unit/cn" if it is in an organizational unit below the base of the groups,
// for example "eu/dev". A unit is added together with its first group.
type LDAP struct {
	URL string // ldap://127.0.0.1:port

	dir   string
	port  int
	lies  Answers
	proc  *processtest.Process
	units map[string]bool // units that have been added
	noUID map[string]bool // people without a uid
}

// Answers says which parts of its content an LDAP server hides from Keycloak. The zero value
// hides nothing.
type Answers struct {
	NoUsers   bool // people are not readable
	NoGroups  bool // groups are not readable
	SizeLimit int  // most entries that a search returns; 0: all entries
	WrongBind bool // the server refuses Keycloak's password
}

// StartLDAP starts an LDAP server for the test with these people and groups. groups holds the
// members by group name. If slapd is missing and the test runs as root on Debian, StartLDAP
// installs slapd. If slapd is missing and cannot be installed, StartLDAP fails the test.
func StartLDAP(tb testing.TB, people []string, groups map[string][]string) *LDAP {
	tb.Helper()
	skipShort(tb)
	must(tb, processtest.Install("the real LDAP server", []string{"slapd", "slapadd", "ldapmodify"}, "slapd", "ldap-utils"))
	port, err := processtest.FreePort()
	must(tb, err)
	l := &LDAP{
		URL: "ldap://127.0.0.1:" + strconv.Itoa(port), dir: tb.TempDir(), port: port,
		units: map[string]bool{}, noUID: map[string]bool{},
	}
	must(tb, os.Mkdir(filepath.Join(l.dir, "db"), 0o700))
	l.load(tb, ldapTree+l.entries(people, groups))
	l.Start(tb)
	tb.Cleanup(func() {
		if err := l.proc.Kill(); err != nil {
			tb.Errorf("stopping slapd: %v", err)
		}
	})
	return l
}

// Load adds these people and groups. groups holds the members by group name. Load stops the
// server, adds the entries and starts the server again. For 10,000 people, Load takes seconds.
func (l *LDAP) Load(tb testing.TB, people []string, groups map[string][]string) {
	tb.Helper()
	l.Stop(tb)
	l.load(tb, l.entries(people, groups))
	l.Start(tb)
}

// load writes the entries directly into the database of the stopped server.
func (l *LDAP) load(tb testing.TB, ldif string) {
	tb.Helper()
	cmd := exec.Command("slapadd", "-q", "-f", l.writeConfig(tb))
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("slapadd: %v\n%s", err, out)
	}
}

func (l *LDAP) entries(people []string, groups map[string][]string) string {
	var all []string
	for _, uid := range people {
		all = append(all, personEntry(uid))
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, l.unitEntry(name)+l.groupEntry(name, groups[name]))
	}
	return strings.Join(all, "\n")
}

const ldapTree = `dn: ` + ldapSuffix + `
objectClass: dcObject
objectClass: organization
o: Example

dn: ` + ldapPeople + `
objectClass: organizationalUnit

dn: ` + ldapGroups + `
objectClass: organizationalUnit

dn: ` + ldapReader + `
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: ` + ldapPassword + `

`

// config returns the server's slapd.conf. The access rules do not apply to ldapOwner, because
// that account is the rootdn of the database.
func (l *LDAP) config() string {
	var rules strings.Builder
	if l.lies.WrongBind {
		fmt.Fprintf(&rules, "access to dn.exact=%q by * none\n", ldapReader)
	}
	rules.WriteString("access to attrs=userPassword by anonymous auth by * none\n")
	if l.lies.NoUsers {
		fmt.Fprintf(&rules, "access to dn.children=%q by * none\n", ldapPeople)
	}
	if l.lies.NoGroups {
		fmt.Fprintf(&rules, "access to dn.children=%q by * none\n", ldapGroups)
	}
	rules.WriteString("access to * by * read\n")
	limit := "unlimited"
	if l.lies.SizeLimit > 0 {
		limit = strconv.Itoa(l.lies.SizeLimit)
	}
	return fmt.Sprintf(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/slapd.pid
sizelimit %[2]s
sortvals member
database mdb
maxsize 1073741824
dbnosync
suffix "%[3]s"
rootdn "%[4]s"
rootpw %[5]s
directory %[1]s/db
index objectClass,uid,cn,mail,member,entryUUID eq
%[6]s`, l.dir, limit, ldapSuffix, ldapOwner, ldapPassword, rules.String())
}

func (l *LDAP) writeConfig(tb testing.TB) (path string) {
	tb.Helper()
	path = filepath.Join(l.dir, "slapd.conf")
	must(tb, os.WriteFile(path, []byte(l.config()), 0o600))
	return path
}

// Start starts the server again on the same address with the same entries.
func (l *LDAP) Start(tb testing.TB) {
	tb.Helper()
	var err error
	l.proc, err = processtest.Start(filepath.Join(l.dir, "slapd.log"), nil, "slapd", "-d", "0", "-h", l.URL+"/", "-f", l.writeConfig(tb))
	must(tb, err)
	err = l.proc.Await(20*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(l.URL, "ldap://"), time.Second)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	if err != nil {
		tb.Fatalf("starting slapd: %v", errors.Join(err, l.proc.Kill()))
	}
}

// Stop ends the server. Connections are refused until Start is called.
func (l *LDAP) Stop(tb testing.TB) { tb.Helper(); must(tb, l.proc.End(10*time.Second)) }

// Pause makes the server hang: it accepts connections and answers nothing.
func (l *LDAP) Pause(tb testing.TB) { tb.Helper(); must(tb, l.proc.Signal(syscall.SIGSTOP)) }

// Resume ends a Pause.
func (l *LDAP) Resume(tb testing.TB) { tb.Helper(); must(tb, l.proc.Signal(syscall.SIGCONT)) }

// Answer restarts the server with these Answers.
func (l *LDAP) Answer(tb testing.TB, a Answers) {
	tb.Helper()
	l.Stop(tb)
	l.lies = a
	l.Start(tb)
}

// AddUser adds a person with that uid, the email uid@example.org and the
// surname Example.
func (l *LDAP) AddUser(tb testing.TB, uid string) {
	tb.Helper()
	l.modify(tb, "ldapadd", personEntry(uid))
}

// AddUserWithoutUID adds a person whose entry has no uid, the attribute from which Keycloak
// takes the username. The entry is named by its cn, and its email is cn@example.org.
func (l *LDAP) AddUserWithoutUID(tb testing.TB, cn string) {
	tb.Helper()
	l.noUID[cn] = true
	l.modify(tb, "ldapadd", fmt.Sprintf("dn: %s\nobjectClass: inetOrgPerson\ncn: %s\nsn: Example\nmail: %s@example.org\n",
		l.personDN(cn), cn, cn))
}

// SetMail replaces the person's email.
func (l *LDAP) SetMail(tb testing.TB, uid, mail string) {
	tb.Helper()
	l.modify(tb, "ldapmodify", fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: mail\nmail: %s\n", l.personDN(uid), mail))
}

// DeleteUser deletes a person. The groups in LDAP still list the person as a member.
func (l *LDAP) DeleteUser(tb testing.TB, uid string) {
	tb.Helper()
	l.modify(tb, "ldapmodify", "dn: "+l.personDN(uid)+"\nchangetype: delete\n")
}

// RecreateUser deletes the person and adds a person with the same name. The new entry has
// another entryUUID, so for Keycloak the entry is another person. The memberships in LDAP stay,
// because LDAP groups list their members by name.
func (l *LDAP) RecreateUser(tb testing.TB, uid string) {
	tb.Helper()
	l.DeleteUser(tb, uid)
	l.AddUser(tb, uid)
}

// AddGroup adds a group with these people as members.
func (l *LDAP) AddGroup(tb testing.TB, name string, people ...string) {
	tb.Helper()
	l.modify(tb, "ldapadd", l.unitEntry(name)+l.groupEntry(name, people))
}

// DeleteGroup deletes a group.
func (l *LDAP) DeleteGroup(tb testing.TB, name string) {
	tb.Helper()
	l.modify(tb, "ldapmodify", "dn: "+groupDN(name)+"\nchangetype: delete\n")
}

// Join makes the person a member of the group.
func (l *LDAP) Join(tb testing.TB, uid, group string) { tb.Helper(); l.member(tb, "add", uid, group) }

// Leave ends the person's membership of the group.
func (l *LDAP) Leave(tb testing.TB, uid, group string) {
	tb.Helper()
	l.member(tb, "delete", uid, group)
}

func (l *LDAP) member(tb testing.TB, verb, uid, group string) {
	tb.Helper()
	l.modify(tb, "ldapmodify", fmt.Sprintf("dn: %s\nchangetype: modify\n%s: member\nmember: %s\n", groupDN(group), verb, l.personDN(uid)))
}

func (l *LDAP) modify(tb testing.TB, program, ldif string) {
	tb.Helper()
	cmd := exec.Command(program, "-x", "-H", l.URL, "-D", ldapOwner, "-w", ldapPassword)
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s\n%s", program, err, out, ldif)
	}
}

func personEntry(uid string) string {
	return fmt.Sprintf("dn: uid=%[1]s,%[2]s\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: %[1]s\ngivenName: %[1]s\nsn: Example\nmail: %[1]s@example.org\n",
		uid, ldapPeople)
}

func (l *LDAP) groupEntry(name string, people []string) string {
	var entry strings.Builder
	// LDAP requires at least one member in a groupOfNames. So ldapOwner, which is no person, is a
	// member of every group.
	fmt.Fprintf(&entry, "dn: %s\nobjectClass: groupOfNames\ncn: %s\nmember: %s\n", groupDN(name), last(name), ldapOwner)
	for _, uid := range people {
		fmt.Fprintf(&entry, "member: %s\n", l.personDN(uid))
	}
	return entry.String()
}

// unitEntry returns the LDAP entry of the group's organizational unit. It returns "" if the group
// is in no unit, or if the unit has been added already.
func (l *LDAP) unitEntry(group string) string {
	unit, _, in := strings.Cut(group, "/")
	if !in || l.units[unit] {
		return ""
	}
	l.units[unit] = true
	return "dn: " + unitDN(unit) + "\nobjectClass: organizationalUnit\n\n"
}

func (l *LDAP) personDN(name string) string {
	if l.noUID[name] {
		return "cn=" + name + "," + ldapPeople
	}
	return "uid=" + name + "," + ldapPeople
}

// unitDN returns the DN below which the groups of the unit are. For "" it returns the DN below
// which all groups are.
func unitDN(unit string) string {
	if unit == "" {
		return ldapGroups
	}
	return "ou=" + unit + "," + ldapGroups
}

func groupDN(name string) string {
	if unit, cn, in := strings.Cut(name, "/"); in {
		return "cn=" + cn + "," + unitDN(unit)
	}
	return "cn=" + name + "," + ldapGroups
}
