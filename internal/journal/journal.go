// Package journal keeps the reports of passes in a directory, one file for each pass. Months
// later an operator can still read what groupsync changed, and who approved the changes. The
// package writes a report to the disk completely or not at all. It returns an error for a file
// that was cut or edited.
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
	Sync    string        // the name of the sync; reports of other syncs are refused
	Keep    int           // the largest number of reports that are kept
	KeepFor time.Duration // how long a report is kept after the start of its pass; 0: without limit
}

// Under returns the path of the journal's directory in a state_dir.
func Under(stateDir string) string { return filepath.Join(stateDir, "journal") }

// ErrNoReport is the error of Get if the journal has no report of the pass.
var ErrNoReport = errors.New("the journal has no report of this pass")

// Add stores the report of a pass. It then removes reports that are older than KeepFor, and the
// oldest reports if there are more than Keep. If only the removal fails, the report is stored, and
// Add still returns an error.
func (d Dir) Add(r report.Report) error {
	if !isPass(r.Pass) {
		return fmt.Errorf("%q is not the id of a pass", r.Pass)
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

// List yields the reports, the newest last. If a report is damaged or belongs to another sync, List
// yields an error in place of the report, and goes on with the next report. The error names the
// file. If the directory does not exist, List yields nothing.
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
				continue // another process has removed the report in the meantime
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Get returns the report of the pass with the id pass. If the journal has no such report, the error
// is ErrNoReport. If pass is no id, or if the file was cut, edited, or is the report of another
// pass or sync, Get returns an error that names the id or the file.
func (d Dir) Get(pass string) (report.Report, error) {
	if !isPass(pass) {
		return report.Report{}, fmt.Errorf("%q is not the id of a pass: the report and the log show ids like 20260102T150405Z-0a1b2c3d", pass)
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
		return report.Report{}, fmt.Errorf("the report %s %w: groupsync ignores the file; remove it, or restore it from a backup", file, err)
	case r.Pass != pass:
		return report.Report{}, fmt.Errorf("the report %s is of the pass %q: groupsync ignores the file; give it its original name", file, r.Pass)
	case r.Sync != d.Sync:
		return report.Report{}, fmt.Errorf("the report %s is of the sync %q, and this configuration is of the sync %q: groupsync ignores the report; give each sync its own state_dir", file, r.Sync, d.Sync)
	}
	return r, nil
}

// File returns the report in any file: a file of a journal, or the saved output of
// groupsync --once -o json. If the file cannot be read, was cut or edited, or is the report of
// another sync, File returns an error that names the file.
func (d Dir) File(file string) (report.Report, error) {
	data, err := os.ReadFile(file) // #nosec G304 -- the operator names the file on the command line
	if err != nil {
		return report.Report{}, fmt.Errorf("reading the report: %w", err)
	}
	r, err := report.Unseal(data)
	switch {
	case err != nil:
		return report.Report{}, fmt.Errorf("the report %s %w: groupsync ignores the file; give a file of a journal, or a file with the output of groupsync --once -o json", file, err)
	case r.Sync != d.Sync:
		return report.Report{}, fmt.Errorf("the report %s is of the sync %q, and this configuration is of the sync %q: give a report of this sync, or the configuration with that name", file, r.Sync, d.Sync)
	}
	return r, nil
}

// LastThatWrote returns the newest report of a pass that changed ClearML or may have changed
// ClearML. It ignores the reports of `groupsync restore`. If the journal has no such report,
// LastThatWrote returns an error. It also returns an error if a report that may be newer cannot be
// read, because that report's pass may have changed ClearML too.
func (d Dir) LastThatWrote() (report.Report, error) {
	passes, err := d.passes()
	if err != nil {
		return report.Report{}, err
	}
	var last report.Report
	for _, pass := range slices.Backward(passes) {
		// Several passes can start in the same second. All reports of that second are read,
		// because an unreadable report may be the newest.
		if last.Pass != "" && started(pass).Before(started(last.Pass)) {
			break
		}
		r, err := d.Get(pass)
		switch {
		case errors.Is(err, ErrNoReport): // another process has removed the report in the meantime
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

// The name of a report's file is the id of the pass and this suffix. The id begins with the
// start of the pass.
const suffix = ".json"

var passForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$`)

func isPass(id string) bool { return passForm.MatchString(id) }

// started returns the start of a pass, in whole seconds, from its id.
func started(pass string) time.Time {
	stamp, _, _ := strings.Cut(pass, "-")
	t, _ := time.Parse("20060102T150405Z", stamp)
	return t
}

// Passes returns the ids of the passes that have a report, the oldest first. The order of
// passes of the same second is arbitrary. Passes reads only the names of the files.
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

// passes returns the same ids as Passes. It sorts the passes of the same second by their exact
// start.
func (d Dir) passes() ([]string, error) {
	passes, err := d.Passes()
	slices.SortStableFunc(passes, d.order)
	return passes, err
}

// order compares two passes by their start. An id has whole seconds only. So for two passes of
// the same second, order reads the reports, which have fractions of a second.
func (d Dir) order(a, b string) int {
	if byID := started(a).Compare(started(b)); byID != 0 {
		return byID
	}
	first, _ := d.Get(a) // an unreadable report has the zero start, so its pass comes first
	second, _ := d.Get(b)
	return first.Started.Compare(second.Started)
}

// prune removes the reports that Keep and KeepFor do not allow, and temporary files that killed
// processes have left. The age of a report is the time from its pass's start to now.
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

// remove removes a file. It is no error if another process has removed the file.
func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
