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

// maxMessage is the longest text of an Event that the API server takes.
const maxMessage = 1024

// Tripped makes one Event on the pod for each guard that tripped in a pass and
// had not in the pass before. The ordinary wait of grace, and a group that
// changed while a pass ran, make none. What could not be made is logged and not
// tried again: the log and the metrics tell of guards too.
func (l *Lease) Tripped(ctx context.Context, trips []report.Trip) {
	now, texts := make(map[string]bool), make(map[string]string)
	var order []string
	for _, t := range trips {
		if t.Guard == report.Grace || t.Guard == report.Concurrent {
			continue
		}
		guard := string(t.Guard)
		if !now[guard] && !l.tripped[guard] {
			order, texts[guard] = append(order, guard), message(t)
		}
		now[guard] = true
	}
	l.tripped = now
	if l.pod.Name == "" {
		return
	}
	// One budget for all: a loser must not be held up by an API that is away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	for _, guard := range order {
		if err := l.event(ctx, texts[guard]); err != nil {
			l.log.Warn("no Kubernetes Event was made of a tripped guard", "guard", guard, "error", err)
		}
	}
}

func message(t report.Trip) string {
	text := fmt.Sprintf("the guard %s: %s", t.Guard, t.Detail)
	if t.Group != "" {
		text = fmt.Sprintf("the guard %s, of the group %q: %s", t.Guard, t.Group, t.Detail)
	}
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage-len("…")], "") + "…"
	}
	return text
}

func (l *Lease) event(ctx context.Context, text string) error {
	now := meta.NewTime(time.Now())
	_, err := l.client.CoreV1().Events(l.podNamespace).Create(ctx, &core.Event{
		ObjectMeta:     meta.ObjectMeta{GenerateName: l.pod.Name + ".", Namespace: l.podNamespace},
		InvolvedObject: core.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: l.podNamespace, Name: l.pod.Name, UID: types.UID(l.pod.UID)},
		Type:           core.EventTypeWarning, Reason: "GuardTripped", Message: text,
		Source: core.EventSource{Component: "groupsync"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, meta.CreateOptions{})
	return err
}
