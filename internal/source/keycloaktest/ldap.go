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

// The tree of every LDAP server that is started, its owner, and the account
// that Keycloak binds as.
const (
	ldapSuffix   = "dc=example,dc=org"
	ldapPeople   = "ou=people," + ldapSuffix
	ldapGroups   = "ou=groups," + ldapSuffix
	ldapOwner    = "cn=owner," + ldapSuffix
	ldapReader   = "cn=reader," + ldapSuffix
	ldapPassword = "ldap-test-password"
)

// LDAP is a running slapd: people as inetOrgPerson with the email
// uid@example.org, groups as groupOfNames.
type LDAP struct {
	URL string // ldap://127.0.0.1:port

	dir  string
	port int
	lies Answers
	proc *processtest.Process
}

// Answers are ways in which an LDAP server answers Keycloak less than it has.
// The zero value is the whole.
type Answers struct {
	NoUsers   bool // people are not readable
	NoGroups  bool // groups are not readable
	SizeLimit int  // entries a search returns at most; 0: all
	WrongBind bool // Keycloak's password is refused
}

// StartLDAP starts an LDAP server for the test with those people and with
// groups, by name, of some of them. It installs slapd where that is missing
// and the test runs as root on Debian, and fails otherwise.
func StartLDAP(tb testing.TB, people []string, groups map[string][]string) *LDAP {
	tb.Helper()
	skipShort(tb)
	must(tb, processtest.Install("the real LDAP server", []string{"slapd", "ldapmodify"}, "slapd", "ldap-utils"))
	port, err := processtest.FreePort()
	must(tb, err)
	l := &LDAP{URL: "ldap://127.0.0.1:" + strconv.Itoa(port), dir: tb.TempDir(), port: port}
	must(tb, os.Mkdir(filepath.Join(l.dir, "db"), 0o700))
	l.Start(tb)
	tb.Cleanup(func() {
		if err := l.proc.Kill(); err != nil {
			tb.Errorf("stopping slapd: %v", err)
		}
	})
	l.modify(tb, "ldapadd", ldapTree)
	for _, uid := range people {
		l.AddUser(tb, uid)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		l.AddGroup(tb, name, groups[name]...)
	}
	return l
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

// config is the server's slapd.conf. The owner is the root of the database,
// whom no access rule binds.
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
database mdb
suffix "%[3]s"
rootdn "%[4]s"
rootpw %[5]s
directory %[1]s/db
index objectClass,uid,cn,mail,member,entryUUID eq
%[6]s`, l.dir, limit, ldapSuffix, ldapOwner, ldapPassword, rules.String())
}

// Start starts the server again on the same address with the same entries.
func (l *LDAP) Start(tb testing.TB) {
	tb.Helper()
	conf := filepath.Join(l.dir, "slapd.conf")
	must(tb, os.WriteFile(conf, []byte(l.config()), 0o600))
	var err error
	l.proc, err = processtest.Start(filepath.Join(l.dir, "slapd.log"), nil, "slapd", "-d", "0", "-h", l.URL+"/", "-f", conf)
	must(tb, err)
	err = l.proc.Await(20*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(l.URL, "ldap://"), time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	if err != nil {
		tb.Fatalf("starting slapd: %v", errors.Join(err, l.proc.Kill()))
	}
}

// Stop ends the server: connections are refused until Start.
func (l *LDAP) Stop(tb testing.TB) { tb.Helper(); must(tb, l.proc.End(10*time.Second)) }

// Pause makes the server hang: connections are accepted, nothing is answered.
func (l *LDAP) Pause(tb testing.TB) { tb.Helper(); must(tb, l.proc.Signal(syscall.SIGSTOP)) }

// Resume lets a paused server go on.
func (l *LDAP) Resume(tb testing.TB) { tb.Helper(); must(tb, l.proc.Signal(syscall.SIGCONT)) }

// Answer restarts the server so that it answers so from now on.
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
	l.modify(tb, "ldapadd", fmt.Sprintf("dn: %s\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\ngivenName: %s\nsn: Example\nmail: %s@example.org\n",
		userDN(uid), uid, uid, uid, uid))
}

// DeleteUser deletes a person, who stays a member of their groups in LDAP.
func (l *LDAP) DeleteUser(tb testing.TB, uid string) {
	tb.Helper()
	l.modify(tb, "ldapmodify", "dn: "+userDN(uid)+"\nchangetype: delete\n")
}

// AddGroup adds a group of those people.
func (l *LDAP) AddGroup(tb testing.TB, name string, people ...string) {
	tb.Helper()
	// A groupOfNames has one member at least; the owner is no person.
	entry := "dn: " + groupDN(name) + "\nobjectClass: groupOfNames\ncn: " + name + "\nmember: " + ldapOwner + "\n"
	for _, uid := range people {
		entry += "member: " + userDN(uid) + "\n"
	}
	l.modify(tb, "ldapadd", entry)
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
	l.modify(tb, "ldapmodify", fmt.Sprintf("dn: %s\nchangetype: modify\n%s: member\nmember: %s\n", groupDN(group), verb, userDN(uid)))
}

func (l *LDAP) modify(tb testing.TB, program, ldif string) {
	tb.Helper()
	cmd := exec.Command(program, "-x", "-H", l.URL, "-D", ldapOwner, "-w", ldapPassword)
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s\n%s", program, err, out, ldif)
	}
}

func userDN(uid string) string   { return "uid=" + uid + "," + ldapPeople }
func groupDN(name string) string { return "cn=" + name + "," + ldapGroups }
