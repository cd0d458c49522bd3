package simulate

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	name, file, old, new string
	focus                string // what the mechanism is there for, so that it happens often
}

var mechanisms = []mutant{
	{"confirm", "internal/source/weigh.go", "\t\tif set[u.ID] {\n\t\t\treturn doubt(Unclear, \"the second read of", "\t\tif set[u.ID] && false {\n\t\t\treturn doubt(Unclear, \"the second read of", "short_list,empty,federation"},
	{"own view of a removal", "internal/source/weigh.go", "\tif u.Federation != \"\" {\n\t\tfor _, name := range leafNames(q.Sources) {", "\tif false {\n\t\tfor _, name := range leafNames(q.Sources) {", "federation"},
	{"own view of a grant", "internal/source/weigh.go", "if u.Federation == \"\" && l.group != nil {", "if l.group != nil {", "federation"},
	{"read-back", "internal/reconcile/apply.go", "\t\tcase took:\n", "\t\tcase took || true:\n", "write_not_200"},
	{"count check", "internal/source/catalog.go", "if len(p.Groups) != p.Counted {", "if false {", "short_list,mapping,forget"},
	{"views check", "internal/guard/fixed.go", "if differ == \"\" || len(g.Add)+len(g.Remove) == 0 {", "if true {", "short_members,cut lists"},
	{"views before the write", "internal/reconcile/apply.go", "if !agree || !sameMembers(first.group, now.group) {", "if !sameMembers(first.group, now.group) {", "cut lists,edit"},
	{"grace", "internal/guard/liftable.go", "\tif e.Waits() {\n\t\tgrace = l.Grace", "\tif false {\n\t\tgrace = l.Grace", "federation"},
	{"canary", "internal/reconcile/apply.go", "\tcase changed != \"\":\n", "\tcase false:\n", "rogue server"},
	{"fence of the leader", "internal/reconcile/reconciler.go", "return target.Leading(req.Lead).And(", "return target.NewFence(func() error { return nil }).And(", "replicas,api away,slow_drip"},
	{"fence of the age", "internal/target/fence.go", "if limit > 0 && age > limit {", "if false {", "slow_drip"},
	{"begin again", "internal/reconcile/apply.go", "\tfor round := 1; ; round++ {\n\t\tj.restart()", "\tvar kept reading\n\tfor round := 1; ; round++ {\n\t\tj.restart()", "unavailable,too_many,tool,edit"},
	{"admin floor", "internal/guard/fixed.go", "len(g.Remove) == 0 || len(g.Floor) >= j.in.Limits.Floor {", "true {", "admins,disable"},
	{"a local account exists", "internal/source/weigh.go", "case !account.Found:\n\t\treturn doubt(Unclear, \"the second look finds no such account\")\n\tcase account.User.Federation", "case !account.Found:\n\t\treturn Answer{}\n\tcase account.User.Federation", "import again,kept ids"},
	{"emails may repeat", "internal/source/keycloak/lookup.go", "(listed >= most || l.catalog.DuplicateEmails())", "(listed >= most)", "duplicate emails,short_list"},
	{"everybody who claims an account", "internal/match/people.go", "contested := c.byEmail", "contested := c.byEmail[:0]", "email,new account"},
	{"signed in by Keycloak", "internal/match/people.go", "return ours || !m.told", "return true || ours", ""},
}

// more are the further patches that a mutant needs.
var more = map[string][]mutant{
	"begin again": {{"", "internal/reconcile/apply.go", "\t\tnow, err := j.read()\n", "\t\tnow, err := kept, error(nil)\n\t\tif round == 1 {\n\t\t\tnow, err = j.read()\n\t\t\tkept = now\n\t\t}\n", ""}},
	"admin floor": {{"", "internal/reconcile/apply.go", "len(w.Remove) > 0 && w.Admins && n < j.limits.Floor {", "false && w.Admins && n < 0 {", ""}},
	"views before the write": {
		{"", "internal/reconcile/apply.go", "\tagree, err := j.viewsAgree(first.group)\n", "\t_, err = j.viewsAgree(first.group)\n", ""},
	},
}

// TestEveryMutantIsCaught takes each mechanism out and prints the seed that catches it. It
// takes minutes, so it runs only with -mutants all.
func TestEveryMutantIsCaught(t *testing.T) {
	if *mutants == "" {
		t.Skip("takes minutes: make mutation-simulate")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	caught := regexp.MustCompile(`seed (\d+): \S+ \S+: (.*)`)
	for _, m := range mechanisms {
		if *mutants != "all" && !set(*mutants)[m.name] {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := overlay(root, dir, append([]mutant{m}, more[m.name]...)); err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(dir, "mutant.test")
			build := exec.Command("go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			begin := time.Now()
			run := exec.Command(binary, "-test.run", "TestEverySchedule", "-first", "-shrink", "0", "-hours", "3", "-focus", m.focus, "-seeds", fmt.Sprint(*mutantSeeds))
			out, err := run.CombinedOutput()
			found := caught.FindStringSubmatch(string(out))
			if err == nil || found == nil {
				t.Fatalf("without %s, %d schedules saw nothing wrong: %.2000s", m.name, *mutantSeeds, out)
			}
			t.Logf("caught by seed %s in %s: %.200s", found[1], time.Since(begin).Round(time.Second), found[2])
		})
	}
}

// overlay writes the patched files and the list of them.
func overlay(root, dir string, patches []mutant) error {
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
