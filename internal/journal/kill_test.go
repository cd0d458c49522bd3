package journal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/processtest"
)

// childDir is the environment variable that makes this binary store one report in that
// directory and exit.
const childDir = "JOURNAL_TEST_DIR"

// All calls of the child must come from one thread, because strace counts by thread.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := (Dir{Path: dir, Sync: "default", Keep: 2}).Add(sample(9)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fileCalls are the system calls that touch files, by their names on the machines that run the
// tests.
var fileCalls = []string{"openat", "mkdirat", "write", "fsync", "close", "renameat", "unlinkat", "fcntl", "getdents64", "newfstatat"}

// TestAKilledProcessLeavesWholeReports kills a process that stores a report. For each kind of
// system call that touches files, the test kills one process before the first such call, one
// before the second, and so on.
func TestAKilledProcessLeavesWholeReports(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("needs strace")
	}
	if err := processtest.Install("killing at each system call", []string{"strace"}, "strace"); err != nil {
		t.Fatal(err)
	}
	for _, before := range []int{0, 3} { // 0: there is no journal yet; 3: one report is pruned
		stored, absent := 0, 0
		kills := make(map[string]int)
		for _, call := range fileCalls {
			for n := 1; ; n++ {
				d := full(t, before)
				killed := store(t, d.Path, call, n)
				survived(t, d, before, fmt.Sprintf("killed before %s number %d", call, n), &stored, &absent)
				if !killed {
					break
				}
				kills[call]++
			}
		}
		// The report is absent before the rename and stored after it.
		if stored <= len(fileCalls) || absent == 0 {
			t.Errorf("from %d reports: the new one was there after %d runs, absent after %d", before, stored, absent)
		}
		for call, least := range map[string]int{"openat": 3, "write": 1, "fsync": 2, "renameat": 1} {
			if kills[call] < least {
				t.Errorf("from %d reports: %d kills before %s, want at least %d", before, kills[call], call, least)
			}
		}
		t.Logf("from %d reports: kills %v, stored %d, absent %d", before, kills, stored, absent)
	}
}

// store stores a report in a process that is killed before the nth system call of a kind. It
// returns false if the process made fewer calls.
func store(t *testing.T, dir, call string, n int) (killed bool) {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	}
	t.Fatalf("%s number %d: %v\n%s", call, n, err, out)
	return false
}

// survived checks the journal after a kill. Every report must be whole. The new report may be
// absent. The oldest may be pruned if the new one is there. The next pass must be stored.
func survived(t *testing.T, d Dir, before int, what string, stored, absent *int) {
	t.Helper()
	got := listed(d)
	has := slices.Contains(got, passOf(9))
	if has {
		*stored++
	} else {
		*absent++
	}
	for i := 1; i <= before; i++ {
		if kept := slices.Contains(got, passOf(i)); !kept && (!has || i > before-1) {
			t.Errorf("%s: the report %d is gone; there are %s", what, i, strings.Join(got, "; "))
		}
	}
	for _, x := range got {
		if !isPass(x) {
			t.Errorf("%s: %s", what, x)
		}
	}
	if err := d.Add(sample(40)); err != nil {
		t.Fatalf("%s: the next pass: %v", what, err)
	}
	left, err := filepath.Glob(filepath.Join(d.Path, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%s: the next day's pass leaves %v, %v", what, left, err)
	}
}

// TestAReportIsSyncedBeforeAndAfterTheRename checks the order of the system calls. A kill
// cannot show a missing sync, because only a machine that stops loses data that was not
// synced.
func TestAReportIsSyncedBeforeAndAfterTheRename(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("needs strace")
	}
	if err := processtest.Install("reading the system calls", []string{"strace"}, "strace"); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "state", "journal")
	trace := filepath.Join(root, "trace")
	cmd := exec.Command("strace", "-f", "-qq", "-y", "-o", trace, "-e", "trace=mkdirat,write,fsync,renameat", os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "GOMAXPROCS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, root) {
			continue
		}
		call := regexp.MustCompile(`(\w+)\([^"<]*["<]`).FindStringSubmatch(line)[1]
		path := regexp.MustCompile(regexp.QuoteMeta(root) + `[^">]*`).FindString(line)
		path = regexp.MustCompile(`\.\d+$`).ReplaceAllString(strings.TrimPrefix(path, root), ".N")
		got = append(got, call+" "+path)
	}
	temporary := "/state/journal/." + passOf(9) + ".json.N"
	want := []string{
		"mkdirat /state", "fsync ", "mkdirat /state/journal", "fsync /state",
		"write " + temporary, "fsync " + temporary, "renameat " + temporary, "fsync /state/journal",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s\n%s", diff, data)
	}
}
