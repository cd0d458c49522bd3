package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"groupsync/internal/journal"
	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// disk keeps the data that survives the end of a process: the guards' memory as JSON, the
// suspension and the journal. All replicas share one disk.
type disk struct {
	mu         sync.Mutex
	memory     []byte
	suspension memory.Suspension
	reports    []report.Report
}

// store is the access of one process to the disk. After the process was killed, Save, Lock and Add
// return errDead.
type store struct {
	*disk
	dead func() bool
}

var errDead = errors.New("the process was killed")

func (s store) Load() (m memory.Memory, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memory != nil {
		err = json.Unmarshal(s.memory, &m)
	}
	return m, err
}

func (s store) Save(m memory.Memory) error {
	b, err := json.Marshal(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead() {
		return errDead
	}
	s.memory = b
	return err
}

func (s store) Lock() (func(), error) {
	if s.dead() {
		return nil, errDead
	}
	return func() {}, nil
}

func (s store) Suspension(context.Context) (memory.Suspension, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspension, nil
}

func (d *disk) suspend(s memory.Suspension) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.suspension = s
}

func (d *disk) forgetSuspension() { d.suspend(memory.Suspension{}) }

// forget deletes the guards' memory.
func (d *disk) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory = nil
}

// size returns the size of the stored memory in bytes.
func (d *disk) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.memory)
}

const keptReports = 50

// Add implements reconcile.Journal.
func (s store) Add(r report.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead() {
		return errDead
	}
	s.reports = append(s.reports, r)
	s.reports = s.reports[max(0, len(s.reports)-keptReports):]
	return nil
}

// Passes implements journal.Reports.
func (s store) Passes() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, len(s.reports))
	for i, r := range s.reports {
		ids[i] = r.Pass
	}
	return ids, nil
}

// Get implements journal.Reports.
func (s store) Get(pass string) (report.Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.reports, func(r report.Report) bool { return r.Pass == pass })
	if i < 0 {
		return report.Report{}, journal.ErrNoReport
	}
	return s.reports[i], nil
}
