package kube

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"groupsync/internal/memory"
)

// memoryKey is the key in the ConfigMap whose value is the guards' memory.
const memoryKey = "memory.json.gz"

// maxMemory is the largest size of the packed memory in bytes. A ConfigMap holds 1 MiB
// (core.MaxSecretSize, which is the limit of ConfigMaps too). The suspension needs at most
// 8 KiB of that.
const maxMemory = 1<<20 - 8<<10

func (l *Lease) memoryName() string { return l.name + "-memory" }

// configMap reads the ConfigMap of the memory. If the answer has another name or none, configMap
// returns an error. Otherwise a proxy that answers {} would look like a ConfigMap without memory
// and without suspension.
func (l *Lease) configMap(ctx context.Context) (*core.ConfigMap, error) {
	c, err := l.client.CoreV1().ConfigMaps(l.namespace).Get(ctx, l.memoryName(), meta.GetOptions{})
	if err == nil && c.Name != l.memoryName() {
		return nil, fmt.Errorf("the answer is a ConfigMap with the name %q, which groupsync did not ask for", c.Name)
	}
	return c, err
}

// Memory stores the guards' memory in a ConfigMap, so that the next leader can read what this
// leader wrote. Only one goroutine at a time may use a Memory. The exceptions are Suspension and
// Suspend, which any goroutine may call at any time.
type Memory struct {
	lease  *Lease
	seen   *core.ConfigMap  // the ConfigMap as it was last read or written; nil: it does not exist or was not read yet
	logged memory.Forgotten // the argument of the last call of logForgotten
	stored atomic.Bool      // the last call of Suspension found the ConfigMap
}

// Memory returns a new Memory, which uses the ConfigMap of this Lease.
func (l *Lease) Memory() *Memory { return &Memory{lease: l} }

// Peek returns another Memory of the same Lease. A caller may use it at the same time as m. Each of
// the two Memories remembers only what it has read itself. Load returns an error once if the
// ConfigMap was deleted or emptied since the last read. m still returns this error after a Load of
// the new Memory.
func (m *Memory) Peek() *Memory { return m.lease.Memory() }

// Load returns the memory that the last leader saved. If no leader has saved a memory, Load returns
// the zero Memory. If the ConfigMap was deleted or emptied since m read or wrote it, Load returns
// an error once, and the zero Memory from then on.
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
		return memory.Memory{}, fmt.Errorf("the ConfigMap %s/%s: %w: empty the ConfigMap to start without memory", m.lease.namespace, m.lease.memoryName(), err)
	}
	m.logForgotten(mem.Forgotten())
	return mem, nil
}

func (m *Memory) read(ctx context.Context) error {
	l, had := m.lease, len(m.data()) > 0
	seen, err := l.configMap(ctx)
	switch {
	case apierrors.IsNotFound(err) && m.seen != nil:
		m.seen = nil
		return fmt.Errorf("the ConfigMap %s/%s was deleted, and the guards' memory with it. This pass fails, and the next one starts without memory: the guards' windows and graces start again. If groupsync may not create the ConfigMap, create it again, empty, as helm upgrade does", l.namespace, l.memoryName())
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return l.explain("ConfigMap", l.memoryName(), err)
	}
	m.seen = seen
	if had && len(m.data()) == 0 {
		return fmt.Errorf("the ConfigMap %s/%s was emptied, and the guards' memory with it. This pass fails, and the next one starts without memory: the guards' windows and graces start again", l.namespace, l.memoryName())
	}
	return nil
}

// logForgotten logs how much of the memory did not fit into the ConfigMap. It logs again only when
// f has changed.
func (m *Memory) logForgotten(f memory.Forgotten) {
	if f == m.logged {
		return
	}
	if m.logged = f; f == (memory.Forgotten{}) {
		m.lease.log.Info("the guards' memory fits into the ConfigMap again", "configmap", m.lease.memoryName())
		return
	}
	m.lease.log.Warn("the guards' memory is too large for the ConfigMap, so it lacks memberships of the largest groups. For these groups the guard `fall` withholds removals of federated people until a person approves the removals. Narrow groups.include, or run one replica with state_dir and without a Lease",
		"configmap", m.lease.memoryName(), "groups", f.Groups, "memberships", f.Memberships)
}

func (m *Memory) data() []byte {
	if m.seen == nil {
		return nil
	}
	return m.seen.BinaryData[memoryKey]
}

// Save stores the memory in the ConfigMap. It returns an error if this process is not the leader,
// if the memory is too large, or if another process has written the memory since m read it.
func (m *Memory) Save(mem memory.Memory) error {
	l := m.lease
	data, err := memory.PackWithin(mem, maxMemory)
	if err != nil {
		return fmt.Errorf("the guards' memory is too large for the ConfigMap %s/%s and was not saved: %w: narrow groups.include, or run one replica with state_dir and without a Lease", l.namespace, l.memoryName(), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	if err := l.Held(); err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	var lost error
	err = retry.OnError(conflicts, changedMeanwhile, func() error {
		err := m.write(ctx, data)
		if changedMeanwhile(err) { // a change of labels or of the suspension is no reason to give up
			lost = m.again(ctx)
		}
		if lost != nil {
			return nil // only ends the attempts, because another one would fail too; Save returns lost below
		}
		return err
	})
	if err != nil {
		err = l.explain("ConfigMap", l.memoryName(), err)
	}
	if err = cmp.Or(lost, err); err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	return nil
}

// again reads the ConfigMap again after a conflict. It returns an error if another process has
// written the memory in the ConfigMap.
func (m *Memory) again(ctx context.Context) error {
	was := m.data() // read replaces m.seen
	if err := m.read(ctx); err != nil {
		return err
	}
	if !bytes.Equal(was, m.data()) {
		return fmt.Errorf("another process has written the ConfigMap %s/%s since this pass read it", m.lease.namespace, m.lease.memoryName())
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

// Lock returns an error if this process is not the leader. Lock locks nothing, because only the
// leader makes passes that write.
func (m *Memory) Lock() (release func(), err error) { return func() {}, m.lease.Held() }
