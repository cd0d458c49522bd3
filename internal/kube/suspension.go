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

// suspensionKey is the key in the memory's ConfigMap whose value is the suspension.
const suspensionKey = "suspension.json"

// Suspension returns the suspension that was set last, even if its time is over. If no
// suspension is set, it returns the zero Suspension. Each call asks the API server, because
// another process may have set a suspension. If the API server does not answer, Suspension
// repeats the request for up to five seconds, so that a restart of the API server does not end a
// pass. If the ConfigMap was deleted since the last call, Suspension returns an error once.
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

// Suspend replaces the suspension by s. If s is the zero Suspension, Suspend removes the
// suspension. This process need not hold the Lease. If another process writes the ConfigMap at
// the same time, Suspend reads the ConfigMap again and changes only the key of the suspension.
// So it does not overwrite the memory that a running pass saves.
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
// ConfigMap: for about two seconds in all. A pass saves its memory once, or twice if the pass
// fails. So one repetition is nearly always enough.
var conflicts = backoff.Backoff{Steps: 12, Duration: 10 * time.Millisecond, Factor: 1.5, Jitter: 0.5}

// away reports whether err means that the API server cannot answer now: there was no answer, or
// the server is starting, stopping or overloaded. A repetition of the request may succeed.
func away(err error) bool {
	if err == nil {
		return false
	}
	var status apierrors.APIStatus
	return !errors.As(err, &status) || apierrors.IsTooManyRequests(err) || status.Status().Code >= http.StatusInternalServerError
}

// pause waits for d. It returns false if ctx ends before d is over.
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
