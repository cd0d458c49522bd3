// Command assurance runs the benchmarks, compares each figure with its goal, and prints one
// table in Markdown. It must run in the root of the repository. It exits with 1 if a benchmark
// fails or does not print a figure. A figure that misses its goal is no error, because it
// depends on the machine. The table says so.
//
// With -document it prints docs/assurance.md, made from the output that make assurance has
// collected in a directory.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// suite is one run of go test.
type suite struct {
	pkg, bench, times string
}

var suites = []suite{
	{"./internal/plan", "Plan", "3x"},
	{"./internal/memory", "AMillionMemberships", "1x"},
	{"./internal/reconcile", "PassAgainstBareReads", "10x"},
	{"./internal/reconcile", "PassLDAPCrowd", "1x"},
	{"./internal/source/keycloak", "PullAgainstBareClient", "10x"},
	{"./internal/source/keycloak", "PullAgainstOneByOne|Growth", "5x"},
	{"./cmd/groupsync", "Process", "1x"},
}

// figure is a row of the table: the value that a benchmark prints with a unit. At most one of
// most and least is set. If neither is set, the figure has no goal.
type figure struct {
	what, bench, unit string
	most, least       float64
	scale             float64 // the factor for the printed value; 0: 1
	of                string  // the unit as the table shows it
}

var figures = []figure{
	{what: "a pass in sync against the longer of two bare reads", bench: "PassAgainstBareReads", unit: "x-bare", most: 1.15, of: "×"},
	{what: "the same pass against both bare reads at once", bench: "PassAgainstBareReads", unit: "x-both", of: "×"},
	{what: "calls to ClearML of that pass, 10,000 users (2 × users/500 + 10)", bench: "PassAgainstBareReads", unit: "clearml-requests", most: 50},
	{what: "the pull against a bare concurrent client, no delay", bench: "PullAgainstBareClient/delay=0s", unit: "x-bare", most: 1.1, of: "×"},
	{what: "the pull against a bare concurrent client, 5 ms a request", bench: "PullAgainstBareClient/delay=5ms", unit: "x-bare", most: 1.1, of: "×"},
	{what: "faster than one by one, no delay", bench: "PullAgainstOneByOne/groups=1000/delay=0s", unit: "x-faster", least: 2.2, of: "×"},
	{what: "faster than one by one, 5 ms a request", bench: "PullAgainstOneByOne/groups=1000/delay=5ms", unit: "x-faster", least: 5, of: "×"},
	{what: "faster than one by one where 200 of 1,000 groups matter, no delay", bench: "PullAgainstOneByOne/groups=200/delay=0s", unit: "x-faster", least: 10, of: "×"},
	{what: "faster than one by one where 200 of 1,000 groups matter, 5 ms a request", bench: "PullAgainstOneByOne/groups=200/delay=5ms", unit: "x-faster", least: 10, of: "×"},
	{what: "a read of 100 groups", bench: "Growth", unit: "read-ms@100", of: "ms"},
	{what: "a read of 1,000 groups", bench: "Growth", unit: "read-ms@1000", of: "ms"},
	{what: "a read of 3,000 groups", bench: "Growth", unit: "read-ms@3000", of: "ms"},
	{what: "time a group at 3,000 groups against 1,000 groups", bench: "Growth", unit: "x-linear", most: 1.5, of: "×"},
	{what: "a pass in sync, 2,000 people of LDAP 5 ms away, empty cache", bench: "PassLDAPCrowd/people=2000/in_sync,_cold", unit: "sec/op", of: "s"},
	{what: "a pass in sync, 10,000 people of LDAP 5 ms away, empty cache", bench: "PassLDAPCrowd/people=10000/in_sync,_cold", unit: "sec/op", of: "s"},
	{what: "a pass in sync, 10,000 people of LDAP, full cache", bench: "PassLDAPCrowd/people=10000/in_sync,_warm", unit: "sec/op", of: "s"},
	{what: "200 leavers of LDAP confirmed, empty cache", bench: "PassLDAPCrowd/people=10000/200_leavers,_cold", unit: "sec/op", of: "s"},
	{what: "200 leavers of LDAP confirmed, full cache", bench: "PassLDAPCrowd/people=10000/200_leavers,_warm", unit: "sec/op", of: "s"},
	{what: "a plan of 10,000 memberships", bench: "Plan/memberships=10000", unit: "sec/op", scale: 1e3, of: "ms"},
	{what: "a plan of 100,000 memberships", bench: "Plan/memberships=100000", unit: "sec/op", scale: 1e3, of: "ms"},
	{what: "a plan of 1,000,000 memberships", bench: "Plan/memberships=1000000", unit: "sec/op", scale: 1e3, most: 1_000, of: "ms"},
	{what: "memory of that plan", bench: "Plan/memberships=1000000", unit: "B/op", scale: 1. / (1 << 20), most: 256, of: "MiB"},
	{what: "the guards' memory of 1,000,000 federated memberships, as a file", bench: "AMillionMemberships", unit: "KiB", of: "KiB"},
	{what: "the same, cut to what a ConfigMap holds", bench: "AMillionMemberships", unit: "sec/op", of: "s"},
	{what: "resident memory when idle", bench: "Process", unit: "idle-MiB", most: 40, of: "MiB"},
	{what: "resident memory ten seconds after a pass over 50,000 memberships", bench: "Process", unit: "rest-MiB", of: "MiB"},
	{what: "resident memory at most in a pass over 50,000 memberships", bench: "Process", unit: "peak-MiB", most: 150, of: "MiB"},
	{what: "start of the daemon", bench: "Process", unit: "start-ms", of: "ms"},
	{what: "size of the program", bench: "Process", unit: "binary-MiB", of: "MiB"},
}

// row returns the line of the table. It returns an error if no benchmark printed the figure.
func (f figure) row(seen map[string]float64) (string, error) {
	value, is := seen[f.bench+" "+f.unit]
	if !is {
		return "", fmt.Errorf("no benchmark printed %s of %s", f.unit, f.bench)
	}
	value *= cmp.Or(f.scale, 1)
	goal, held := "–", "–"
	switch {
	case f.most > 0:
		goal, held = fmt.Sprintf("≤ %g %s", f.most, f.of), yes(value <= f.most)
	case f.least > 0:
		goal, held = fmt.Sprintf("≥ %g %s", f.least, f.of), yes(value >= f.least)
	}
	return fmt.Sprintf("| %s | %.4g %s | %s | %s |", f.what, value, f.of, strings.TrimSpace(goal), held), nil
}

func yes(held bool) string {
	if held {
		return "yes"
	}
	return "**no**"
}

// procs matches the number of processors that go test appends to the name of a benchmark.
var procs = regexp.MustCompile(`-\d+$`)

// collect adds the values in the output of go test, by benchmark and unit.
func collect(output io.Reader, seen map[string]float64) error {
	r := benchfmt.NewReader(output, "go test")
	for r.Scan() {
		result, is := r.Result().(*benchfmt.Result)
		if !is {
			continue
		}
		name := procs.ReplaceAllString(string(result.Name), "")
		for _, v := range result.Values {
			seen[name+" "+v.Unit] = v.Value
		}
	}
	return r.Err()
}

// run runs the suite, shows its output on stderr, and collects its figures.
func (s suite) run(ctx context.Context, seen map[string]float64) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark("+s.bench+")$", "-benchmem", "-benchtime", s.times, "-timeout", "60m", s.pkg)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&output, os.Stderr), os.Stderr
	failed := cmd.Run()
	if failed != nil {
		failed = fmt.Errorf("go test -bench %q %s: %w", s.bench, s.pkg, failed)
	}
	return errors.Join(failed, collect(&output, seen))
}

// machine returns the processor, the number of cores and the release of Go.
func machine() string {
	model := "an unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(info); m != nil {
			model = string(m[1])
		}
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func main() {
	log.SetFlags(0)
	only := flag.String("only", "", "run only the suites whose benchmarks this expression matches, and print only their figures")
	collected := flag.String("document", "", "print docs/assurance.md, made of the files in this directory")
	flag.Parse()
	if *collected != "" {
		page, err := write(*collected)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(page)
		return
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	seen := make(map[string]float64)
	for _, s := range suites {
		if !wanted.MatchString(s.bench) {
			continue
		}
		if err := s.run(ctx, seen); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("Measured on %s: %s. Keycloak, LDAP, ClearML's stand-in and groupsync share the cores.\n\n", time.Now().UTC().Format(time.DateOnly), machine())
	fmt.Print("| figure | measured | goal | held |\n|---|---|---|---|\n")
	for _, f := range figures {
		if !wanted.MatchString(f.bench) {
			continue
		}
		line, err := f.row(seen)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
	}
}
