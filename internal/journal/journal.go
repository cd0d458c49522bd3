// Package journal keeps the reports of passes in a directory, one file a pass, so that
// months later somebody can tell what groupsync did and who allowed it. A report is on
// the disk whole or not at all, and one that was cut or edited is told from a whole one.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"groupsync/internal/atomicfile"
	"groupsync/internal/report"
)

// Dir is the journal of one sync. Several processes may share it.
type Dir struct {
	Path    string
	Sync    string        // the name of the sync; reports of others are refused
	Keep    int           // how many reports are kept
	KeepFor time.Duration // how long a report is kept, by the start of its pass; 0: however old it is
}

// Under returns where the journal is in a state_dir.
func Under(stateDir string) string { return filepath.Join(stateDir, "journal") }

// ErrNoReport is the error of a pass that the journal does not have.
var ErrNoReport = errors.New("the journal has no report of this pass")

// Add stores the report of a pass, and removes the reports that are no longer to be kept.
// If Add returns an error of the removal only, the report is stored.
func (d Dir) Add(r report.Report) error {
	if !isPass(r.Pass) {
		return fmt.Errorf("%q is no id of a pass", r.Pass)
	}
	var b bytes.Buffer
	if err := report.SealedJSON(&b, r); err != nil {
		return err
	}
	if err := atomicfile.Write(d.Path, r.Pass+suffix, b.Bytes(), 0o600); err != nil {
		return err
	}
	return d.prune(r.Started)
}

// List returns the reports, the newest last. A report that cannot be believed comes as an
// error in its place, a sentence that names the file; the others follow. A journal that
// does not exist has no reports.
func (d Dir) List() iter.Seq2[report.Report, error] {
	return func(yield func(report.Report, error) bool) {
		passes, err := d.passes()
		if err != nil {
			yield(report.Report{}, err)
			return
		}
		for _, pass := range passes {
			r, err := d.Get(pass)
			if errors.Is(err, ErrNoReport) {
				continue // another process removed it meanwhile
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Get returns the report of one pass. The error is ErrNoReport if there is none, or a
// sentence if the file was cut or edited, or is the report of another sync.
func (d Dir) Get(pass string) (report.Report, error) {
	if !isPass(pass) {
		return report.Report{}, fmt.Errorf("%q is no id of a pass: the report and the log show ids like 20260102T150405Z-0a1b2c3d", pass)
	}
	file := filepath.Join(d.Path, pass+suffix)
	data, err := os.ReadFile(file) // #nosec G304 -- isPass has just allowed only the form of an id, which holds no separator
	if errors.Is(err, fs.ErrNotExist) {
		return report.Report{}, ErrNoReport
	}
	if err != nil {
		return report.Report{}, err
	}
	r, err := report.Unseal(data)
	switch {
	case err != nil:
		return report.Report{}, fmt.Errorf("the report %s %w: nothing in it counts; remove the file, or restore it from a backup", file, err)
	case r.Pass != pass:
		return report.Report{}, fmt.Errorf("the report %s is that of the pass %q: nothing in it counts; give the file its own name again", file, r.Pass)
	case r.Sync != d.Sync:
		return report.Report{}, fmt.Errorf("the report %s is of the sync %q, and this one is %q: it is left alone; give each sync its own state_dir", file, r.Sync, d.Sync)
	}
	return r, nil
}

// File returns the report in a file of a journal, wherever the file is, or in a file with
// what --once -o json printed. The error is a sentence if the file cannot be read, was cut or edited, or is the report of another sync.
func (d Dir) File(file string) (report.Report, error) {
	data, err := os.ReadFile(file) // #nosec G304 -- the operator names the file on the command line
	if err != nil {
		return report.Report{}, fmt.Errorf("reading the report: %w", err)
	}
	r, err := report.Unseal(data)
	switch {
	case err != nil:
		return report.Report{}, fmt.Errorf("the report %s %w: nothing in it counts; give a file of a journal, or one with what groupsync --once -o json printed", file, err)
	case r.Sync != d.Sync:
		return report.Report{}, fmt.Errorf("the report %s is of the sync %q, and this one is %q", file, r.Sync, d.Sync)
	}
	return r, nil
}

// LastThatWrote returns the newest report of a pass that changed something in ClearML, or
// may have, and that is itself no restore. The error is a sentence if there is none, or if a
// report that may be newer cannot be believed: that pass can be the one that is meant.
func (d Dir) LastThatWrote() (report.Report, error) {
	passes, err := d.passes()
	if err != nil {
		return report.Report{}, err
	}
	var last report.Report
	for _, pass := range slices.Backward(passes) {
		// Of two passes of one second the reports alone tell the later one.
		if last.Pass != "" && started(pass).Before(started(last.Pass)) {
			break
		}
		r, err := d.Get(pass)
		switch {
		case errors.Is(err, ErrNoReport): // another process removed it meanwhile
		case err != nil:
			return report.Report{}, err
		case last.Pass == "" && r.Restores == "" && r.MayHaveChanged():
			last = r
		}
	}
	if last.Pass == "" {
		return report.Report{}, errors.New("the journal has no report of a pass that changed anything")
	}
	return last, nil
}

// The name of a report's file is the id of the pass, which begins with its start.
const suffix = ".json"

var passForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$`)

func isPass(id string) bool { return passForm.MatchString(id) }

// started returns when a pass started, by its id.
func started(pass string) time.Time {
	stamp, _, _ := strings.Cut(pass, "-")
	t, _ := time.Parse("20060102T150405Z", stamp)
	return t
}

// Passes returns the ids of the passes that have a report, the oldest first. Passes of one
// second come in no particular order. It reads no report.
func (d Dir) Passes() ([]string, error) {
	entries, err := os.ReadDir(d.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var passes []string
	for _, e := range entries {
		if pass, is := strings.CutSuffix(e.Name(), suffix); is && isPass(pass) {
			passes = append(passes, pass)
		}
	}
	slices.Sort(passes) // an id begins with the start of the pass
	return passes, nil
}

// passes returns what Passes returns, and puts passes of one second in order too.
func (d Dir) passes() ([]string, error) {
	passes, err := d.Passes()
	slices.SortStableFunc(passes, d.order)
	return passes, err
}

// order compares two passes by their start. The ids tell the second. The reports tell
// which of two passes of one second came first.
func (d Dir) order(a, b string) int {
	if byID := started(a).Compare(started(b)); byID != 0 {
		return byID
	}
	first, _ := d.Get(a) // a report that cannot be believed comes first
	second, _ := d.Get(b)
	return first.Started.Compare(second.Started)
}

// prune removes the reports that are no longer to be kept, and what killed processes left
// of writes. A file that is being written is younger than a day.
func (d Dir) prune(now time.Time) error {
	passes, err := d.passes()
	if err != nil {
		return err
	}
	for i, pass := range passes {
		old := d.KeepFor > 0 && now.Sub(started(pass)) > d.KeepFor
		if old || len(passes)-i > d.Keep {
			err = errors.Join(err, remove(filepath.Join(d.Path, pass+suffix)))
		}
	}
	return errors.Join(err, d.removeLeftovers(now))
}

func (d Dir) removeLeftovers(now time.Time) error {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		pass, _, _ := strings.Cut(strings.TrimPrefix(e.Name(), "."), ".")
		leftover, _ := path.Match(atomicfile.Temporary(pass+suffix), e.Name())
		if leftover && isPass(pass) && now.Sub(started(pass)) > 24*time.Hour {
			err = errors.Join(err, remove(filepath.Join(d.Path, e.Name())))
		}
	}
	return err
}

// remove removes a file. Another process may have done so.
func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
