package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"groupsync/internal/report"
)

// maxMessage is the longest text of an Event that the API server accepts.
const maxMessage = 1024

// Tripped makes one Event of type Warning on the pod for each guard that tripped
// in this pass and did not trip in the pass before. Only guards with
// report.Rule.Event make Events. If the API server does not accept an Event,
// Tripped logs a warning and does not try again, because the log and the metrics
// report the guards too.
func (l *Lease) Tripped(ctx context.Context, trips []report.Trip) {
	now, texts := make(map[report.Guard]bool), make(map[report.Guard]string)
	var order []report.Guard
	for _, t := range trips {
		if !t.Guard.Rule().Event {
			continue
		}
		if !now[t.Guard] && !l.tripped[t.Guard] {
			order, texts[t.Guard] = append(order, t.Guard), message(t)
		}
		now[t.Guard] = true
	}
	l.tripped = now
	// All Events together get one timeout. Otherwise a process that has lost the leadership
	// could wait long for an API server that does not answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	for _, guard := range order {
		if err := l.event(ctx, core.EventTypeWarning, "GuardTripped", texts[guard]); err != nil {
			l.log.Warn("a Kubernetes Event about a tripped guard could not be created", "guard", string(guard), "error", err)
		}
	}
}

// Approved makes one Event of type Normal on the pod if a, the approval of a pass,
// was granted. The Event names who approved, when, and which guards were lifted. If
// a is nil or was not granted, Approved does nothing.
func (l *Lease) Approved(ctx context.Context, a *report.Approval) {
	if a == nil || !a.Granted {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if err := l.event(ctx, core.EventTypeNormal, "ChangesApproved", a.String()); err != nil {
		l.log.Warn("a Kubernetes Event about an approval could not be created", "digest", a.Digest, "error", err)
	}
}

func message(t report.Trip) string {
	if t.Group != "" {
		return fmt.Sprintf("the guard %s, of the group %q: %s", t.Guard, t.Group, t.Detail)
	}
	return fmt.Sprintf("the guard %s: %s", t.Guard, t.Detail)
}

// event makes an Event on the pod. If the pod's name is not known, event does nothing.
func (l *Lease) event(ctx context.Context, kind, reason, text string) error {
	if l.pod.Name == "" {
		return nil
	}
	now := meta.NewTime(time.Now())
	_, err := l.client.CoreV1().Events(l.podNamespace).Create(ctx, &core.Event{
		ObjectMeta:     meta.ObjectMeta{GenerateName: l.pod.Name + ".", Namespace: l.podNamespace},
		InvolvedObject: core.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: l.podNamespace, Name: l.pod.Name, UID: types.UID(l.pod.UID)},
		Type:           kind, Reason: reason, Message: shortened(report.Escape(text)),
		Source: core.EventSource{Component: "groupsync"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, meta.CreateOptions{})
	return err
}

// shortened returns the text, cut to maxMessage bytes if it is longer.
func shortened(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage-len("…")], "") + "…"
}
