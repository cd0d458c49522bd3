package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"groupsync/internal/atomicfile"
)

// The limits of a suspension.
const (
	// LongestSuspension is the longest time that one suspension may last. A person who needs
	// longer must suspend again, and so must decide again.
	LongestSuspension = 30 * 24 * time.Hour
	// longestReason limits the bytes of a reason, and of the name of a person. One ConfigMap
	// must have space for the suspension and the memory.
	longestReason = 500
)

// Suspension says that a person stopped writing for a time. It is stored apart from the
// memory, so that a pass that saves the memory cannot overwrite a suspension that began
// meanwhile. The zero Suspension suspends nothing.
type Suspension struct {
	Until        time.Time `json:"until"`         // when the suspension ends by itself
	Reason       string    `json:"reason"`        // as the person wrote it
	By           string    `json:"by"`            // name of the person: as authenticated, or of the operating system's user
	At           time.Time `json:"at"`            // when it was set
	RemovalsOnly bool      `json:"removals_only"` // additions are still written
}

// NewSuspension returns a suspension that begins now. It returns an error if the time is not
// positive or too long, if the reason is missing or too long, or if the name is too long.
func NewSuspension(now time.Time, lasts time.Duration, reason, by string, removalsOnly bool) (Suspension, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case lasts <= 0:
		return Suspension{}, fmt.Errorf("a suspension of %s would end before it begins: give a time in the future, such as 2h", lasts)
	case lasts > LongestSuspension:
		return Suspension{}, fmt.Errorf("a suspension of %s is longer than %s: suspend for a shorter time, and again if that is not enough", lasts, LongestSuspension)
	case reason == "":
		return Suspension{}, errors.New("a suspension needs a reason: write one sentence for the person who finds that groupsync writes nothing")
	case len(reason) > longestReason:
		return Suspension{}, fmt.Errorf("the reason has %d bytes, the most is %d: shorten it", len(reason), longestReason)
	case len(by) > longestReason:
		return Suspension{}, fmt.Errorf("the name of the person who suspends has %d bytes, the most is %d", len(by), longestReason)
	}
	until := now.UTC().Add(lasts + time.Second - 1).Truncate(time.Second) // never shorter than requested
	return Suspension{Until: until, Reason: reason, By: by, At: now.UTC().Truncate(time.Second), RemovalsOnly: removalsOnly}, nil
}

// Current returns the suspension if it is in force at that time, else the zero Suspension.
func (s Suspension) Current(now time.Time) Suspension {
	if now.Before(s.Until) {
		return s
	}
	return Suspension{}
}

// IsZero reports whether this is the zero Suspension, which suspends nothing.
func (s Suspension) IsZero() bool { return s.Until.IsZero() }

// Withholds reports whether the suspension withholds a removal (removal is true) or an
// addition.
func (s Suspension) Withholds(removal bool) bool {
	return !s.IsZero() && (removal || !s.RemovalsOnly)
}

// What returns the words for what is suspended: all writing, or only removals.
func (s Suspension) What() string {
	if s.RemovalsOnly {
		return "the removal of members"
	}
	return "all writing"
}

// String returns one line: what is suspended, until when, by whom and why. The name and the
// reason are quoted, because they can contain line breaks.
func (s Suspension) String() string {
	return fmt.Sprintf("%s is suspended until %s by %q: %q", s.What(), s.Until.UTC().Format(time.RFC3339), s.By, s.Reason)
}

const (
	suspensionName    = "suspension.json"
	suspensionVersion = 1
)

type suspensionFile struct {
	Version int `json:"version"`
	Suspension
}

// PackSuspension returns the suspension as it is stored.
func PackSuspension(s Suspension) ([]byte, error) {
	return json.Marshal(suspensionFile{Version: suspensionVersion, Suspension: s})
}

// UnpackSuspension returns the suspension that PackSuspension stored. If data cannot be read
// completely, the result is an error and not the zero Suspension, with which groupsync would
// write again.
func UnpackSuspension(data []byte) (Suspension, error) {
	var f suspensionFile
	const advice = "groupsync writes nothing until groupsync resume removes the suspension or groupsync suspend replaces it"
	if err := json.Unmarshal(data, &f); err != nil {
		return Suspension{}, fmt.Errorf("the suspension is corrupt (%w), and %s", err, advice)
	}
	switch {
	case f.Version != suspensionVersion:
		return Suspension{}, fmt.Errorf("the suspension has version %d, but this groupsync reads only version %d, and %s", f.Version, suspensionVersion, advice)
	case f.Until.IsZero():
		return Suspension{}, fmt.Errorf("the suspension has no end, and %s", advice)
	}
	return f.Suspension, nil
}

// Suspension returns the suspension that was set last, even if it has ended. It returns the
// zero Suspension if none is set.
func (d Dir) Suspension(context.Context) (Suspension, error) {
	path := filepath.Join(string(d), suspensionName)
	data, err := os.ReadFile(path) // #nosec G304 -- a fixed name in state_dir
	if errors.Is(err, fs.ErrNotExist) {
		return Suspension{}, nil
	}
	if err != nil {
		return Suspension{}, fmt.Errorf("reading the suspension: %w", err)
	}
	s, err := UnpackSuspension(data)
	if err != nil {
		return Suspension{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Suspend replaces the stored suspension by s. It does so in one step: after a crash, the old
// or the new suspension is stored. If s is the zero Suspension, Suspend removes the stored
// one. Suspend takes no lock, so it does not wait for a running pass.
func (d Dir) Suspend(_ context.Context, s Suspension) error {
	if s.IsZero() {
		if err := atomicfile.Remove(string(d), suspensionName); err != nil {
			return fmt.Errorf("removing the suspension: %w", err)
		}
		return nil
	}
	data, err := PackSuspension(s)
	if err == nil {
		err = os.MkdirAll(string(d), 0o700)
	}
	if err == nil {
		// Root, or another user, may set the suspension, and the daemon's user must be able to
		// read the file. So the mode of the file lets everybody read. Other users are kept out
		// by the mode 0700 of the directory, if groupsync made it.
		err = atomicfile.Write(string(d), suspensionName, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("saving the suspension: %w", err)
	}
	return nil
}

// Suspension returns the suspension that was set last, even if it has ended.
func (p *Process) Suspension(context.Context) (Suspension, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.suspension, nil
}

// Suspend replaces the suspension by s, for as long as the process runs. If s is the zero
// Suspension, Suspend removes the old one.
func (p *Process) Suspend(_ context.Context, s Suspension) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspension = s
	return nil
}
