// Package kube is groupsync's use of Kubernetes. The replica that holds the Lease is the leader,
// and only the leader makes passes that write. A ConfigMap in the Lease's namespace holds the
// guards' memory and the suspension. Kubernetes Events report guards that trip, and approvals.
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
	authorization "k8s.io/api/authorization/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"groupsync/internal/report"
	"groupsync/internal/transport"
)

// Options name the Lease and the pod of this process.
type Options struct {
	Name, Namespace string // of the Lease; Namespace empty: the namespace of the pod, or of the kubeconfig
	Pod             Pod    // the pod that Events are about; if its name is empty, no Events are made
	Log             *slog.Logger
}

// Pod is the pod that this process runs in. The values come from the downward API of
// Kubernetes.
type Pod struct{ Name, UID string }

// Lease is a Kubernetes Lease, and the ConfigMap of the memory in the same namespace.
type Lease struct {
	name, namespace string
	identity        string
	pod             Pod
	podNamespace    string
	client          kubernetes.Interface
	log             *slog.Logger

	tripped map[report.Guard]bool // guards with Events that tripped in the last pass; only the goroutine that makes passes uses the map

	mu      sync.Mutex
	renewed time.Time // when the last successful renewal was sent; zero: this process has no term
	ended   error     // why the term is over; nil: the term is not over, or there is none
	holder  string    // the holder in the last read of the Lease; empty: none
}

// timeout limits one request to the API server. It is half of renewDeadline, so the leader can
// retry once, against another API server, before it loses the Lease.
const timeout = renewDeadline / 2

// Open returns the Lease that o names. It sends no request. It returns an error if no API server
// is configured, or if the pod's namespace is unknown.
func Open(o Options) (*Lease, error) {
	return open(o, clientcmd.NewDefaultClientConfigLoadingRules())
}

func open(o Options, rules clientcmd.ClientConfigLoader) (*Lease, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("lease.name: finding the Kubernetes API: %w: run in a pod with a service account token, set KUBECONFIG, or leave lease.name empty and run one replica", err)
	}
	config.Timeout = timeout
	config.Wrap(new(transport.Bound).RoundTripper)
	// client-go would write warnings of the API to stderr, between the lines of groupsync's log.
	config.WarningHandler = rest.NoWarnings{}
	own, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("lease.namespace: finding the pod's namespace: %w: set lease.namespace", err)
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

// identity returns the name under which this process holds the Lease: the host's name (in a pod,
// the pod's name) and a random part. The random part distinguishes a restarted container from the
// container before the restart.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "groupsync"
	}
	return host + "_" + string(uuid.NewUUID())
}

// String returns namespace and name.
func (l *Lease) String() string { return l.namespace + "/" + l.name }

// quiet returns a context in which client-go logs to the log of l, at level debug.
func (l *Lease) quiet(ctx context.Context) context.Context {
	return klog.NewContext(ctx, logr.FromSlogHandler(lowered{l.log.Handler()}))
}

// lowered is a log handler that gives every record of client-go the level debug. Operators do not
// need these records: when a renewal fails, this package logs what the failure means.
type lowered struct{ slog.Handler }

// Enabled reports whether a record of client-go is logged. It returns false for client-go's own
// debug records, because client-go makes one at each read of the Lease. For the other records it
// returns true if the log has the level debug.
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

// Check finds out whether this process can read the Lease and the memory's ConfigMap, and may
// write them. Check does not change an object that exists, and creates a missing object, empty.
// An error names what is missing or not allowed, and what to do.
func (l *Lease) Check(ctx context.Context) error {
	lease := &coordination.Lease{ObjectMeta: meta.ObjectMeta{Name: l.name}}
	err := exists(ctx, l.client.CoordinationV1().Leases(l.namespace), l.name, lease)
	if err == nil {
		err = l.mayUpdate(ctx, coordination.Resource("leases"), l.name)
	}
	if err != nil {
		return l.explain("Lease", l.name, err)
	}
	memory := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: l.memoryName()}}
	err = exists(ctx, l.client.CoreV1().ConfigMaps(l.namespace), l.memoryName(), memory)
	if err == nil {
		err = l.mayUpdate(ctx, core.Resource("configmaps"), l.memoryName())
	}
	if err != nil {
		return l.explain("ConfigMap", l.memoryName(), err)
	}
	return nil
}

// objects are the methods of client-go that read and create objects of one kind in one namespace.
type objects[T any] interface {
	Get(context.Context, string, meta.GetOptions) (*T, error)
	Create(context.Context, *T, meta.CreateOptions) (*T, error)
}

// exists returns nil if the object with that name exists and can be read. If the object does not
// exist, exists creates it from empty.
func exists[T any](ctx context.Context, all objects[T], name string, empty *T) error {
	_, err := all.Get(ctx, name, meta.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = all.Create(ctx, empty, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = all.Get(ctx, name, meta.GetOptions{})
	}
	return err
}

// mayUpdate asks the API server whether this process may update the object. It returns nil if the
// process may, or if the API server refuses the question.
func (l *Lease) mayUpdate(ctx context.Context, resource schema.GroupResource, name string) error {
	review := &authorization.SelfSubjectAccessReview{Spec: authorization.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorization.ResourceAttributes{
		Namespace: l.namespace, Verb: "update", Group: resource.Group, Resource: resource.Resource, Name: name,
	}}}
	answer, err := l.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, meta.CreateOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil // some clusters forbid this question; then only the first update shows whether it is allowed
	case err != nil:
		return err
	case !answer.Status.Allowed:
		why := "the service account cannot update this object"
		if answer.Status.Reason != "" {
			why += ": " + answer.Status.Reason
		}
		return apierrors.NewForbidden(resource, name, errors.New(why))
	}
	return nil
}

// explain wraps err, the error of a request about one object. It adds what the error means and
// what to do.
func (l *Lease) explain(kind, name string, err error) error {
	var status apierrors.APIStatus
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "cannot create"):
		return fmt.Errorf("the %s %s/%s does not exist, and groupsync may not create it: %w: create it empty, as the chart does, or correct lease.name and lease.namespace", kind, l.namespace, name, err)
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
		return fmt.Errorf("the %s %s/%s: no usable answer from the Kubernetes API: %w: check the API server and the network policy", kind, l.namespace, name, err)
	}
}
