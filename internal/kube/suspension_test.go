package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/memory"
)

// stored is the memory's ConfigMap as the API server returns it.
type stored struct {
	Metadata   map[string]any    `json:"metadata"`
	Data       map[string]string `json:"data,omitempty"`
	BinaryData map[string][]byte `json:"binaryData,omitempty"`
}

func (p place) path() string {
	return "/api/v1/namespaces/" + p.namespace + "/configmaps/groupsync-memory"
}

func until(reason string) memory.Suspension {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	return memory.Suspension{Until: at.Add(time.Hour), Reason: reason, By: "alice", At: at}
}

// TestASuspensionIsSeenByAllAndNeedsNoLease: one process leads and has read the memory. Another
// process, without the Lease, sets a suspension. Both the memory and the suspension are kept. The
// processes have only the rights that the chart gives.
func TestASuspensionIsSeenByAllAndNeedsNoLease(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	leader, other := p.open(t, Options{}), p.open(t, Options{})
	ml, mo := leader.Memory(), other.Memory()
	sees := func(m *Memory, want memory.Suspension) {
		t.Helper()
		if got, err := m.Suspension(t.Context()); err != nil || got != want {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
	sees(ml, memory.Suspension{})
	if err := mo.Suspend(t.Context(), memory.Suspension{}); err != nil {
		t.Errorf("ending what is not there: %v", err)
	}
	err := leader.Take(t.Context(), func(context.Context) error {
		if _, err := ml.Load(); err != nil {
			return err
		}
		for _, want := range []memory.Suspension{until("first"), until("second\n\u202e")} {
			if err := mo.Suspend(t.Context(), want); err != nil {
				return err
			}
			sees(ml, want)
			if err := ml.Save(memory.Memory{Rules: want.Reason}); err != nil {
				return err
			}
			sees(mo, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := mo.Load(); err != nil || m.Rules != "second\n\u202e" {
		t.Errorf("the memory beside the suspension: %+v, %v", m, err)
	}
	if err := mo.Suspend(t.Context(), memory.Suspension{}); err != nil {
		t.Fatal(err)
	}
	sees(ml, memory.Suspension{})
	var after stored
	p.cluster.Get(t, p.path(), &after)
	if len(after.Data) > 0 || len(after.BinaryData) != 1 {
		t.Errorf("left after the end: %v and %d binary keys", after.Data, len(after.BinaryData))
	}
}

// TestSuspendAndSaveAtTheSameTime: Suspend and Save repeat a write after each conflict, and do not
// overwrite what the other has written.
func TestSuspendAndSaveAtTheSameTime(t *testing.T) {
	p := newPlace(t, kubetest.Shared(t))
	leader, other := p.open(t, Options{}), p.open(t, Options{})
	ml, mo := leader.Memory(), other.Memory()
	const times = 15
	failed := make(chan error, 1)
	err := leader.Take(t.Context(), func(context.Context) error {
		if _, err := ml.Load(); err != nil {
			return err
		}
		go func() {
			var err error
			for i := 0; i < times && err == nil; i++ {
				err = mo.Suspend(t.Context(), until(strings.Repeat("x", i+1)))
				time.Sleep(10 * time.Millisecond)
			}
			failed <- err
		}()
		for i := range times {
			if err := ml.Save(memory.Memory{Rules: strings.Repeat("y", i+1)}); err != nil {
				return err
			}
			time.Sleep(7 * time.Millisecond)
		}
		return <-failed
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ml.Suspension(t.Context())
	if err != nil || len(s.Reason) != times {
		t.Errorf("the suspension: %v, %v", s, err)
	}
	if m, err := mo.Load(); err != nil || len(m.Rules) != times {
		t.Errorf("the memory: %+v, %v", m, err)
	}
}

// TestASuspensionThatCannotBeHad: the suspension is cut, the ConfigMap was deleted, or the
// ServiceAccount has no rights.
func TestASuspensionThatCannotBeHad(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := kubetest.Shared(t)
	p := newPlace(t, c)
	m := p.open(t, Options{}).Memory()
	if err := m.Suspend(t.Context(), until("r")); err != nil {
		t.Fatal(err)
	}
	refused := func(m *Memory, want string) {
		t.Helper()
		s, err := m.Suspension(t.Context())
		if want = p.named(want); err == nil || !strings.Contains(err.Error(), want) || !s.IsZero() {
			t.Errorf("got %v, %v\nwant %s", s, err, want)
		}
	}
	var cut map[string]any
	c.Get(t, p.path(), &cut)
	cut["data"] = map[string]any{suspensionKey: `{"version":1,"until":"2026-`}
	c.Do(t, http.MethodPut, p.path(), cut, nil)
	refused(m, "the key suspension.json of the ConfigMap NS/groupsync-memory: the suspension is corrupt (unexpected end of JSON input), and groupsync writes nothing until groupsync resume removes the suspension ")
	if err := m.Suspend(t.Context(), until("new")); err != nil {
		t.Errorf("replacing a corrupt one: %v", err)
	}
	if _, err := m.Suspension(t.Context()); err != nil {
		t.Error(err)
	}

	nobody := p
	nobody.kubeconfig = c.ServiceAccount(t, p.namespace, "nobody")
	bare := nobody.open(t, Options{}).Memory()
	refused(bare, "reading the suspension: the ConfigMap NS/groupsync-memory may not be used: ")
	if err := bare.Suspend(t.Context(), until("r")); err == nil || !strings.Contains(err.Error(), p.named("saving the suspension: the ConfigMap NS/groupsync-memory may not be used: ")) {
		t.Errorf("suspending without rights: %v", err)
	}

	c.Do(t, http.MethodDelete, p.path(), nil, nil)
	refused(m, "reading the suspension: the ConfigMap NS/groupsync-memory was deleted. If it held a suspension, the suspension is lost: set it again with groupsync suspend")
	if s, err := m.Suspension(t.Context()); err != nil || !s.IsZero() {
		t.Errorf("said once: %v, %v", s, err)
	}
	if err := m.Suspend(t.Context(), until("r")); err == nil || !strings.Contains(err.Error(), "does not exist, and groupsync may not create it: ") {
		t.Errorf("suspending where the ConfigMap is gone: %v", err)
	}
	admin := p
	admin.kubeconfig = c.Kubeconfig(t)
	if err := admin.open(t, Options{Namespace: p.namespace}).Memory().Suspend(t.Context(), until("made")); err != nil {
		t.Errorf("whoever may make it: %v", err)
	}
	if s, err := m.Suspension(t.Context()); err != nil || s.Reason != "made" {
		t.Errorf("got %v, %v", s, err)
	}
}

// TestTheLargestSuspensionFitsBesideTheMemory: the largest memory that Save accepts and the largest
// suspension fit into one ConfigMap.
func TestTheLargestSuspensionFitsBesideTheMemory(t *testing.T) {
	hostile := strings.Repeat("\x01", 500)
	s, err := memory.NewSuspension(time.Now(), time.Hour, "r"+hostile[1:499]+"r", hostile, true)
	if err != nil {
		t.Fatal(err)
	}
	data, err := memory.PackSuspension(s)
	if err != nil || !json.Valid(data) || len(data)+len(suspensionKey)+len(memoryKey)+maxMemory > 1<<20 {
		t.Errorf("%d bytes and %d of the memory are more than a ConfigMap holds: %v", len(data), maxMemory, err)
	}
}

// TestASuspensionOutlastsARestartOfTheAPIServer: Suspension waits for the API server during a
// restart, so that the restart does not end a pass.
func TestASuspensionOutlastsARestartOfTheAPIServer(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := kubetest.Start(t)
	p := newPlace(t, c)
	m := p.open(t, Options{}).Memory()
	if err := m.Suspend(t.Context(), until("r")); err != nil {
		t.Fatal(err)
	}
	c.StopAPI(t)
	start := time.Now()
	s, err := m.Suspension(t.Context())
	if took := time.Since(start); err == nil || !s.IsZero() || !strings.Contains(err.Error(), "no usable answer from the Kubernetes API: ") || took < timeout-time.Second || took > timeout+time.Second {
		t.Errorf("with the API server away: %v, %v after %s", s, err, took)
	}
	answered := make(chan error, 1)
	go func() {
		for { // StartAPI takes as long as it takes
			s, err := m.Suspension(t.Context())
			if err == nil && s.Reason != "r" {
				t.Errorf("with the API server away, nothing is suspended: %v", s)
			}
			if err == nil || t.Context().Err() != nil {
				answered <- err
				return
			}
		}
	}()
	c.StartAPI(t)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
