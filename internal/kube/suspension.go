package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	backoff "k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"

	"groupsync/internal/memory"
)

// suspensionKey is the key of the memory's ConfigMap that holds the suspension.
const suspensionKey = "suspension.json"

// Suspension returns the suspension that was set last, also if it has ended, or the zero
// Suspension if none is set. It asks the API server each time, so that it sees what
// another process has set. While the API server is away, Suspension repeats the request for
// up to five seconds, so that a restart of the API server does not end a pass. Any goroutine
// may call Suspension at any time.
func (m *Memory) Suspension(ctx context.Context) (memory.Suspension, error) {
	l := m.lease
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stored, err := l.configMap(ctx)
	for away(err) && pause(ctx, 500*time.Millisecond) {
		stored, err = l.configMap(ctx)
	}
	switch {
	case apierrors.IsNotFound(err) && m.stored.Swap(false):
		return memory.Suspension{}, fmt.Errorf("reading the suspension: the ConfigMap %s/%s was deleted. If it held a suspension, the suspension is lost: set it again with groupsync suspend", l.namespace, l.memoryName())
	case apierrors.IsNotFound(err):
		return memory.Suspension{}, nil
	case err != nil:
		return memory.Suspension{}, fmt.Errorf("reading the suspension: %w", l.explain("ConfigMap", l.memoryName(), err))
	}
	m.stored.Store(true)
	text, found := stored.Data[suspensionKey]
	if !found {
		return memory.Suspension{}, nil
	}
	s, err := memory.UnpackSuspension([]byte(text))
	if err != nil {
		return memory.Suspension{}, fmt.Errorf("the key %s of the ConfigMap %s/%s: %w", suspensionKey, l.namespace, l.memoryName(), err)
	}
	return s, nil
}

// Suspend replaces the suspension. The zero Suspension removes it. Suspend does not need
// the Lease. If somebody else writes the ConfigMap at the same time, Suspend reads it
// again and changes only its own key, so the memory that a running pass saves is kept.
func (m *Memory) Suspend(ctx context.Context, s memory.Suspension) error {
	data, err := memory.PackSuspension(s)
	if err != nil {
		return err
	}
	l := m.lease
	ctx, cancel := context.WithTimeout(ctx, 2*timeout)
	defer cancel()
	maps := l.client.CoreV1().ConfigMaps(l.namespace)
	err = retry.OnError(conflicts, changedMeanwhile, func() error {
		stored, err := l.configMap(ctx)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return err
		}
		if missing {
			stored = &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: l.memoryName()}}
		}
		_, found := stored.Data[suspensionKey]
		switch {
		case s.IsZero() && !found:
			return nil
		case s.IsZero():
			delete(stored.Data, suspensionKey)
		case stored.Data == nil:
			stored.Data = map[string]string{suspensionKey: string(data)}
		default:
			stored.Data[suspensionKey] = string(data)
		}
		if missing {
			_, err = maps.Create(ctx, stored, meta.CreateOptions{})
		} else {
			_, err = maps.Update(ctx, stored, meta.UpdateOptions{})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("saving the suspension: %w", l.explain("ConfigMap", l.memoryName(), err))
	}
	return nil
}

// conflicts says how often and how soon a write is repeated if another process has changed the
// ConfigMap: for about two seconds in all. A pass saves its memory only once, or twice if it
// fails, so one repetition is nearly always enough.
var conflicts = backoff.Backoff{Steps: 12, Duration: 10 * time.Millisecond, Factor: 1.5, Jitter: 0.5}

// away reports whether err means that the API server is away: there was no answer, or the
// server is starting, stopping or overloaded.
func away(err error) bool {
	if err == nil {
		return false
	}
	var status apierrors.APIStatus
	return !errors.As(err, &status) || apierrors.IsTooManyRequests(err) || status.Status().Code >= http.StatusInternalServerError
}

// pause waits. It returns false if ctx ends meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// changedMeanwhile reports whether err means that another process has changed or created the
// object since it was read. The caller then reads the object again.
func changedMeanwhile(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}
