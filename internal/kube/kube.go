// Package kube is what groupsync asks of Kubernetes: one Lease by which
// replicas agree who makes the passes, one ConfigMap beside it in which the
// guards' memory follows the leadership, and Events when a guard trips or a person
// approves.
package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"groupsync/internal/report"
	"groupsync/internal/transport"
)

// Options say which Lease, and who asks for it.
type Options struct {
	Name, Namespace string // Namespace empty: the pod's own, or the kubeconfig's
	Pod             Pod    // what Events are about; its name empty: none are made
	Log             *slog.Logger
}

// Pod is the pod that this process runs in, as the downward API tells it.
type Pod struct{ Name, UID string }

// Lease is a Kubernetes Lease and what is kept beside it.
type Lease struct {
	name, namespace string
	identity        string
	pod             Pod
	podNamespace    string
	client          kubernetes.Interface
	log             *slog.Logger

	term    int                   // the Lease's transitions when this process took it; of the campaign's goroutine
	tripped map[report.Guard]bool // guards that the last pass tripped; of the goroutine that makes passes

	mu      sync.Mutex
	renewed time.Time // when the renewal was sent that succeeded last; zero: not held
	passed  bool      // another process held the Lease since
	holder  string    // who holds it, as seen last
}

// timeout bounds one request, so that an API server that swallows requests does
// not cost a term in which another would answer.
const timeout = renewDeadline / 2

// Open returns the Lease. It asks nothing of the API server yet; an error says
// that there is none to ask.
func Open(o Options) (*Lease, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("lease.name: finding the Kubernetes API: %w: run in a pod with a service account token, set KUBECONFIG, or leave lease.name empty and run one replica", err)
	}
	config.Timeout = timeout
	config.Wrap(new(transport.Bound).RoundTripper)
	// The API's warnings, and client-go's own lines, are not for our log.
	config.WarningHandler = rest.NoWarnings{}
	own, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("lease.namespace: finding the pod's own: %w: set it", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("lease.name: connecting to the Kubernetes API: %w", err)
	}
	return &Lease{
		name: o.Name, namespace: cmp.Or(o.Namespace, own), identity: identity(), client: client,
		pod: o.Pod, podNamespace: own, log: o.Log, tripped: make(map[report.Guard]bool),
	}, nil
}

// identity is the host's name, which in a pod is the pod's, and a random part,
// so that a container that restarts is not taken for the one before it.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "groupsync"
	}
	return host + "_" + string(uuid.NewUUID())
}

// String returns namespace and name.
func (l *Lease) String() string { return l.namespace + "/" + l.name }

// quiet is a context in which client-go logs to ours, at level debug.
func (l *Lease) quiet(ctx context.Context) context.Context {
	return klog.NewContext(ctx, logr.FromSlogHandler(lowered{l.log.Handler()}))
}

// lowered makes every record one of level debug: what a failed renewal means is
// said by us, once.
type lowered struct{ slog.Handler }

// Enabled leaves out what client-go says each time it looks.
func (h lowered) Enabled(ctx context.Context, level slog.Level) bool {
	return level > slog.LevelDebug && h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h lowered) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h lowered) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lowered{h.Handler.WithAttrs(attrs)}
}

func (h lowered) WithGroup(name string) slog.Handler { return lowered{h.Handler.WithGroup(name)} }

// Check finds out, without changing either, whether the Lease and the memory's
// ConfigMap can be read and written. Where one does not exist it is made, empty.
// An error says what is not allowed or not there, and what to do.
func (l *Lease) Check(ctx context.Context) error {
	lease := &coordination.Lease{ObjectMeta: meta.ObjectMeta{Name: l.name}}
	if err := check(ctx, l.client.CoordinationV1().Leases(l.namespace), l.name, lease); err != nil {
		return l.explain("Lease", l.name, err)
	}
	memory := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: l.memoryName()}}
	if err := check(ctx, l.client.CoreV1().ConfigMaps(l.namespace), l.memoryName(), memory); err != nil {
		return l.explain("ConfigMap", l.memoryName(), err)
	}
	return nil
}

// objects are those of one kind in a namespace, as client-go's clients have them.
type objects[T any] interface {
	Get(context.Context, string, meta.GetOptions) (*T, error)
	Create(context.Context, *T, meta.CreateOptions) (*T, error)
	Update(context.Context, *T, meta.UpdateOptions) (*T, error)
}

// check reads the object, makes it where it is not there, and tries to write it.
func check[T any](ctx context.Context, all objects[T], name string, empty *T) error {
	o, err := all.Get(ctx, name, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = all.Create(ctx, empty, meta.CreateOptions{})
		if err == nil || apierrors.IsAlreadyExists(err) {
			o, err = all.Get(ctx, name, meta.GetOptions{})
		}
	}
	if err != nil {
		return err
	}
	_, err = all.Update(ctx, o, meta.UpdateOptions{DryRun: []string{meta.DryRunAll}})
	return unlessConflict(err)
}

// unlessConflict takes a conflict for leave to write: somebody else just did.
func unlessConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// explain says what an error about one object means.
func (l *Lease) explain(kind, name string, err error) error {
	var status apierrors.APIStatus
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "cannot create"):
		return fmt.Errorf("the %s %s/%s does not exist, and may not be made: %w: make it, empty, as the chart does, or correct lease.name and lease.namespace", kind, l.namespace, name, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the %s %s/%s may not be used: %w: give the service account get and update on it, as the chart's Role does, or correct lease.name and lease.namespace", kind, l.namespace, name, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the %s %s/%s: the Kubernetes API refuses the token: %w: check the service account", kind, l.namespace, name, err)
	case apierrors.IsNotFound(err) && strings.Contains(err.Error(), "namespaces"):
		return fmt.Errorf("the %s %s/%s: there is no namespace %s: create it, or correct lease.namespace", kind, l.namespace, name, l.namespace)
	case apierrors.IsInvalid(err):
		return fmt.Errorf("the %s %s/%s is refused: %w: correct lease.name", kind, l.namespace, name, err)
	case errors.As(err, &status):
		return fmt.Errorf("the %s %s/%s: %w", kind, l.namespace, name, err)
	default:
		return fmt.Errorf("the %s %s/%s: no answer from the Kubernetes API: %w: check that it is up, and the network policy", kind, l.namespace, name, err)
	}
}
