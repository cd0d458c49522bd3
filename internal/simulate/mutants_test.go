package simulate

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	mutants     = flag.String("mutants", "", "take safety mechanisms out, and let schedules catch it: all, or names separated by commas")
	mutantSeeds = flag.Int("mutant-seeds", 3000, "how many schedules may look for one mutant")
)

// mutant is the program without one safety mechanism.
type mutant struct {
	name       string
	patches    []patch
	focus, off string // the faults, events and features that make the mechanism matter (focus), or hide it (off)
}

// patch replaces a text. The text must be in the file exactly once.
type patch struct{ file, old, new string }

var mechanisms = []mutant{
	{"confirm", []patch{
		{"internal/source/weigh.go", "\t\tif set[u.ID] {\n\t\t\treturn doubt(Unclear, \"the second read of", "\t\tif set[u.ID] && false {\n\t\t\treturn doubt(Unclear, \"the second read of"},
	}, "short_list,empty,federation", ""},
	{"own view of a removal", []patch{
		{"internal/source/weigh.go", "\tif u.Federation != \"\" {\n\t\tfor _, name := range leafNames(q.Sources) {", "\tif false {\n\t\tfor _, name := range leafNames(q.Sources) {"},
	}, "federation", ""},
	{"own view of a grant", []patch{
		{"internal/source/weigh.go", "if u.Federation == \"\" && l.group != nil {", "if l.group != nil {"},
	}, "federation", ""},
	{"read-back", []patch{
		{"internal/reconcile/apply.go", "\t\tcase took:\n", "\t\tcase took || true:\n"},
	}, "write_not_200", ""},
	{"count check", []patch{
		{"internal/source/catalog.go", "if len(p.Groups) != p.Counted {", "if false {"},
	}, "short_list,mapping,forget", ""},
	{"views check", []patch{
		{"internal/guard/fixed.go", "if differ == \"\" || len(g.Add)+len(g.Remove) == 0 {", "if true {"},
	}, "short_members,cut lists", ""},
	{"views before the write", []patch{
		{"internal/reconcile/apply.go", "if !agree || !sameMembers(first.group, now.group) {", "if !sameMembers(first.group, now.group) {"},
		{"internal/reconcile/apply.go", "\tagree, err := j.viewsAgree(first.group)\n", "\t_, err = j.viewsAgree(first.group)\n"},
	}, "cut lists,edit", ""},
	{"grace", []patch{
		{"internal/guard/liftable.go", "\tif e.Waits() {\n\t\tgrace = l.Grace", "\tif false {\n\t\tgrace = l.Grace"},
	}, "federation", ""},
	{"canary", []patch{
		{"internal/reconcile/apply.go", "\tcase changed != \"\":\n", "\tcase false:\n"},
	}, "rogue server", ""},
	{"fence of the leader", []patch{
		{"internal/reconcile/reconciler.go", "return target.Leading(req.MayWrite).And(", "return target.NewFence(func() error { return nil }).And("},
	}, "replicas,api away,edit,membership", ""},
	{"fence of the age", []patch{
		{"internal/target/fence.go", "if limit > 0 && age > limit {", "if false {"},
	}, "slow_drip,unavailable,edit", ""},
	{"begin again", []patch{
		{"internal/reconcile/apply.go", "\tfor round := 1; ; round++ {\n\t\tj.restart()", "\tvar kept reading\n\tfor round := 1; ; round++ {\n\t\tj.restart()"},
		{"internal/reconcile/apply.go", "\t\tnow, err := j.read()\n", "\t\tnow, err := kept, error(nil)\n\t\tif round == 1 {\n\t\t\tnow, err = j.read()\n\t\t\tkept = now\n\t\t}\n"},
	}, "unavailable,too_many,membership,people join and sign in", "cut lists"},
	{"admin floor before the write", []patch{
		{"internal/reconcile/apply.go", "len(w.Remove) > 0 && w.Admins && n < j.limits.Floor {", "false && w.Admins && n < 0 {"},
	}, "admins,disable,edit,role,edit role", ""},
	// The floor before the write protects what the floor in the plan protects, so both are
	// taken out.
	{"admin floor", []patch{
		{"internal/guard/fixed.go", "len(g.Remove) == 0 || len(g.Floor) >= e.in.Limits.Floor {", "true {"},
		{"internal/reconcile/apply.go", "len(w.Remove) > 0 && w.Admins && n < j.limits.Floor {", "false && w.Admins && n < 0 {"},
	}, "admins,disable", ""},
	{"a local account exists", []patch{
		{"internal/source/weigh.go", "case !account.Found:\n\t\treturn doubt(Unclear, \"the second look finds no such account\")\n\tcase account.User.Federation", "case !account.Found:\n\t\treturn Answer{}\n\tcase account.User.Federation"},
	}, "import again,kept ids", ""},
	{"emails may repeat", []patch{
		{"internal/source/keycloak/lookup.go", "(listed != 1 || l.catalog.DuplicateEmails())", "(listed != 1)"},
	}, "duplicate emails,short_list,namesake,edit", "kept ids,federation"},
	{"an email without an account is looked up twice", []patch{
		{"internal/source/keycloak/lookup.go", "(listed != 1 || l.catalog.DuplicateEmails())", "(listed >= most || l.catalog.DuplicateEmails())"},
	}, "short_list,empty,import again,edit", "duplicate emails"},
	{"an email that a federation can hide", []patch{
		{"internal/match/people.go", "case m.src.Catalog().HidesEmails():", "case false:"},
	}, "duplicate emails,federation,ldap,forget people,new account,membership", "kept ids"},
	{"a removal by such an email waits", []patch{
		{"internal/source/weigh.go", "if q.ByEmail && w.snap.Catalog().HidesEmails() && !a.Evidence.waits {", "if false {"},
	}, "duplicate emails,federation,ldap,forget people,namesake,membership", "kept ids"},
	{"a group that is renamed meanwhile", []patch{
		{"internal/source/keycloak/confirm.go", "case now.Name != g.Name || now.Path != \"\" && now.Path != g.Path:", "case false:"},
	}, "rename group,membership,people join and sign in", ""},
	{"the groups that give the role", []patch{
		{"internal/source/weigh.go", "switch side, old, a := w.ownOfRole(u, role); side {", "switch side, old, a := out, false, (Answer{}); side {"},
	}, "admin role,via role,federation,hidden holder", ""},
	{"a canary of each kind", []patch{
		{"internal/reconcile/apply.go", "return !w.proved[g.Role] || w.before != nil", "return len(w.proved) == 0 || w.before != nil"},
	}, "rogue server,admin role,via role,role,edit", ""},
	{"everybody who claims an account", []patch{
		{"internal/match/people.go", "contested := c.byEmail", "contested := c.byEmail[:0]"},
	}, "twin user,edit", ""},
	{"the roles of a removal", []patch{
		{"internal/source/weigh.go", "\tif q.Role != \"\" {\n\t\tif a := w.withoutRole", "\tif false {\n\t\tif a := w.withoutRole"},
	}, "admin role,role,short_list,empty", ""},
	{"every other role stays", []patch{
		{"internal/plan/make.go", "if g.Feed.Group.Role != \"\" && user.Role != target.RoleUser {", "if g.Feed.Group.Role != \"\" && user.Role == target.RoleAdmin {"},
	}, "admin role,via role,role,edit role", ""},
	{"via says what is written", []patch{
		{"internal/match/groups.go", "if p.rules.AdminVia.Group() {", "if true {"},
	}, "admin role,via role,role,edit", ""},
	{"the metrics count removals", []patch{
		{"internal/metrics/metrics.go", "m.count(\"remove\", g.Remove)", "m.count(\"remove\", g.Remove[:0])"},
	}, "membership", ""},
	{"signed in by Keycloak", []patch{
		{"internal/match/people.go", "return ours || !m.providersReturned", "return true || ours"},
	}, "", ""},
}

// mutantHours is the length of a schedule for a mutant, in hours.
const mutantHours = 3

// TestEveryMutantIsCaught removes each mechanism, and prints the seed of a schedule that then
// breaks a law. With the mechanism, the same schedule must keep every law, so that nothing else can
// be the cause.
// The test builds the program once for each mutant, so it runs only with -mutants all.
func TestEveryMutantIsCaught(t *testing.T) {
	if *mutants == "" {
		t.Skip("takes minutes: make mutation-simulate")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	wanted := set(*mutants)
	for _, m := range mechanisms {
		if *mutants != "all" && !wanted[m.name] {
			continue
		}
		delete(wanted, m.name)
		t.Run(m.name, func(t *testing.T) {
			begin := time.Now()
			seed, text := m.search(t, root)
			t.Logf("caught by seed %d in %s: %.300s", seed, time.Since(begin).Round(time.Second), text)
			s := Scenario{Seed: seed, Hours: mutantHours, Focus: set(m.focus), Off: set(m.off)}
			t.Logf("with the mechanism: %s", s.Command())
			for _, v := range Run(t, s).Violations {
				t.Errorf("the same schedule fails with the mechanism too: %s", v)
			}
		})
	}
	delete(wanted, "all")
	for name := range wanted {
		t.Errorf("there is no mutant %q", name)
	}
}

var caught = regexp.MustCompile(`seed (\d+): \S+ \S+: (.*)`)

// search builds the mutant and returns the first seed that catches it, with the law that was
// broken.
func (m mutant) search(t *testing.T, root string) (seed uint64, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := overlay(root, dir, m.patches); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "mutant.test")
	build := exec.Command("go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(binary, "-test.run", "TestEverySchedule", "-first", "-shrink", "0", "-hours", strconv.Itoa(mutantHours),
		"-focus", m.focus, "-off", m.off, "-seeds", strconv.Itoa(*mutantSeeds))
	out, err := run.CombinedOutput()
	found := caught.FindStringSubmatch(string(out))
	if err == nil || found == nil {
		t.Fatalf("without %s, %d schedules saw nothing wrong: %.2000s", m.name, *mutantSeeds, out)
	}
	if seed, err = strconv.ParseUint(found[1], 10, 64); err != nil {
		t.Fatal(err)
	}
	return seed, found[2]
}

// overlay writes the patched files, and the list of them for go's -overlay.
func overlay(root, dir string, patches []patch) error {
	replace := make(map[string]string)
	for i, p := range patches {
		path := filepath.Join(root, p.file)
		from := path
		if patched, is := replace[path]; is {
			from = patched
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		text := string(data)
		if n := strings.Count(text, p.old); n != 1 {
			return fmt.Errorf("%s holds %q %d times", p.file, p.old, n)
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(text, p.old, p.new, 1)), 0o600); err != nil {
			return err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600)
}
