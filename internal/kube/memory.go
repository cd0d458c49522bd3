package kube

import (
	"bytes"
	"context"
	"fmt"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"groupsync/internal/memory"
)

// memoryKey is where the ConfigMap holds the memory.
const memoryKey = "memory.json.gz"

// maxMemory is what a ConfigMap holds (core's MaxSecretSize, which counts for
// both).
const maxMemory = 1 << 20

func (l *Lease) memoryName() string { return l.name + "-memory" }

// Memory is what the guards remember, in a ConfigMap beside the Lease: it
// follows the leadership. It is for one goroutine at a time.
type Memory struct {
	lease *Lease
	seen  *core.ConfigMap // as it was read or written last; nil: there is none
}

// Memory returns the guards' memory beside the Lease.
func (l *Lease) Memory() *Memory { return &Memory{lease: l} }

// Load returns what was saved last, by whoever led then; the zero Memory where
// nothing was yet.
func (m *Memory) Load() (memory.Memory, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := m.read(ctx); err != nil {
		return memory.Memory{}, fmt.Errorf("reading the guards' memory: %w", err)
	}
	data := m.data()
	if len(data) == 0 {
		return memory.Memory{}, nil
	}
	mem, err := memory.Unpack(data)
	if err != nil {
		return memory.Memory{}, fmt.Errorf("the ConfigMap %s/%s: %w: empty it to start without memory", m.lease.namespace, m.lease.memoryName(), err)
	}
	return mem, nil
}

func (m *Memory) read(ctx context.Context) error {
	l, had := m.lease, len(m.data()) > 0
	seen, err := l.client.CoreV1().ConfigMaps(l.namespace).Get(ctx, l.memoryName(), meta.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && m.seen != nil:
		m.seen = nil
		return fmt.Errorf("the ConfigMap %s/%s was deleted, and what the guards remembered with it: the next pass starts without memory", l.namespace, l.memoryName())
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return l.explain("ConfigMap", l.memoryName(), err)
	}
	m.seen = seen
	if had && len(m.data()) == 0 {
		return fmt.Errorf("the ConfigMap %s/%s was emptied, and what the guards remembered with it: the next pass starts without memory", l.namespace, l.memoryName())
	}
	return nil
}

func (m *Memory) data() []byte {
	if m.seen == nil {
		return nil
	}
	return m.seen.BinaryData[memoryKey]
}

// Save keeps the memory, if this process leads and nobody else has written it
// since it was read.
func (m *Memory) Save(mem memory.Memory) error {
	data, err := memory.Pack(mem)
	if err != nil {
		return err
	}
	l := m.lease
	if len(data) > maxMemory {
		return fmt.Errorf("saving the guards' memory: it takes %d bytes, the ConfigMap %s/%s holds %d: narrow groups.include, or run one replica without a Lease, on state_dir", len(data), l.namespace, l.memoryName(), maxMemory)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	if err := l.Held(); err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	err = m.write(ctx, data)
	if apierrors.IsConflict(err) { // whoever changed its labels did no harm
		was := m.data() // of the object that read replaces
		if err = m.read(ctx); err == nil && bytes.Equal(was, m.data()) {
			err = m.write(ctx, data)
		} else if err == nil {
			err = fmt.Errorf("another process has written the ConfigMap %s/%s since this pass read it", l.namespace, l.memoryName())
		}
	} else if err != nil {
		err = l.explain("ConfigMap", l.memoryName(), err)
	}
	if err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	return nil
}

func (m *Memory) write(ctx context.Context, data []byte) error {
	l := m.lease
	maps := l.client.CoreV1().ConfigMaps(l.namespace)
	next := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: l.memoryName()}}
	send := func() (*core.ConfigMap, error) { return maps.Create(ctx, next, meta.CreateOptions{}) }
	if m.seen != nil {
		next = m.seen.DeepCopy()
		send = func() (*core.ConfigMap, error) { return maps.Update(ctx, next, meta.UpdateOptions{}) }
	}
	if next.BinaryData == nil {
		next.BinaryData = make(map[string][]byte)
	}
	next.BinaryData[memoryKey] = data
	written, err := send()
	if err != nil {
		return err
	}
	m.seen = written
	return nil
}

// Lock returns an error unless this process leads: the leadership keeps other
// processes' passes out.
func (m *Memory) Lock() (release func(), err error) { return func() {}, m.lease.Held() }
