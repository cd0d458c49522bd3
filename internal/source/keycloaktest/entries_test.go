package keycloaktest

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// found returns the attribute's values in all entries that match the filter, sorted.
func found(tb testing.TB, url, base, filter, attribute string) []string {
	tb.Helper()
	out, err := exec.Command("ldapsearch", "-LLL", "-x", "-o", "ldif-wrap=no", "-H", url,
		"-D", ldapReader, "-w", ldapPassword, "-b", base, filter, attribute).CombinedOutput()
	if err != nil {
		tb.Fatalf("ldapsearch: %v\n%s", err, out)
	}
	var values []string
	for line := range strings.Lines(string(out)) {
		if value, ok := strings.CutPrefix(line, attribute+": "); ok {
			values = append(values, strings.TrimSpace(value))
		}
	}
	slices.Sort(values)
	return values
}

func TestLDAPTakesALoadInSeconds(t *testing.T) {
	l := StartLDAP(t, nil, nil)
	crowd := make([]string, 10_000)
	for i := range crowd {
		crowd[i] = fmt.Sprintf("user-%05d", i)
	}
	groups := map[string][]string{"everybody": crowd}
	for i := range 20 {
		groups[fmt.Sprintf("unit/group-%02d", i)] = crowd[i*100 : (i+1)*100]
	}
	start := time.Now()
	l.Load(t, crowd, groups)
	took := time.Since(start)
	t.Logf("10,000 people and 21 groups in %v", took)
	if took > 30*time.Second {
		t.Errorf("the load took %v, want seconds", took)
	}
	equal(t, "people", len(found(t, l.URL, ldapPeople, "(uid=*)", "uid")), len(crowd))
	equal(t, "members", len(found(t, l.URL, ldapGroups, "(cn=everybody)", "member")), len(crowd)+1)
	equal(t, "groups in the unit", len(found(t, l.URL, unitDN("unit"), "(cn=*)", "cn")), 20)
}

func TestLDAPEntriesChange(t *testing.T) {
	l := StartLDAP(t, []string{"ann", "bob"}, map[string][]string{"dev": {"ann"}, "eu/dev": {"bob"}})
	l.AddGroup(t, "us/dev")
	l.AddUserWithoutUID(t, "nameless")
	l.Join(t, "ann", "us/dev")
	l.Join(t, "nameless", "us/dev")
	l.Leave(t, "bob", "eu/dev")
	equal(t, "groups named dev", len(found(t, l.URL, ldapGroups, "(cn=dev)", "cn")), 3)
	equal(t, "members of us/dev", found(t, l.URL, unitDN("us"), "(cn=dev)", "member"), []string{
		"cn=nameless," + ldapPeople, ldapOwner, "uid=ann," + ldapPeople,
	})
	equal(t, "members of eu/dev", found(t, l.URL, unitDN("eu"), "(cn=dev)", "member"), []string{ldapOwner})

	l.SetMail(t, "ann", "ann@example.net")
	equal(t, "mail", found(t, l.URL, ldapPeople, "(uid=ann)", "mail"), []string{"ann@example.net"})
	before := found(t, l.URL, ldapPeople, "(uid=ann)", "entryUUID")
	l.RecreateUser(t, "ann")
	after := found(t, l.URL, ldapPeople, "(uid=ann)", "entryUUID")
	if len(before) != 1 || len(after) != 1 || before[0] == after[0] {
		t.Errorf("entryUUID before %v and after %v, want two ids that differ", before, after)
	}
	l.DeleteGroup(t, "us/dev")
	equal(t, "groups named dev at the end", len(found(t, l.URL, ldapGroups, "(cn=dev)", "cn")), 2)
}
