package keycloak

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"groupsync/internal/events"
	"groupsync/internal/fault"
)

const viewEvents = "view-events"

// mostEvents is the most admin events that AdminEvents returns.
const mostEvents = 500

// eventKinds are the resource types that AdminEvents requests.
var eventKinds = []string{"GROUP_MEMBERSHIP", "USER", "GROUP", "REALM_ROLE", "CLIENT_ROLE", "REALM_ROLE_MAPPING", "CLIENT_ROLE_MAPPING"}

type eventRep struct {
	Time          int64  `json:"time"` // milliseconds
	OperationType string `json:"operationType"`
	ResourceType  string `json:"resourceType"`
	ResourcePath  string `json:"resourcePath"`
}

// AdminEvents returns the realm's admin events about users, groups and roles, oldest first. since
// is the earliest time of an event. AdminEvents returns at most mostEvents events, the newest. The
// second result is always mostEvents: if the list has this length, older events may be missing.
// The list is empty if the realm saves no admin events. If the service account lacks the role
// view-events, the error says so.
func (s *Source) AdminEvents(ctx context.Context, since time.Time) ([]events.Event, int, error) {
	c := call{
		name: "admin_events", doing: "reading the admin events", role: viewEvents, path: []string{"admin-events"},
		query: url.Values{"dateFrom": {strconv.FormatInt(since.UnixMilli(), 10)}, "max": {strconv.Itoa(mostEvents)}, "resourceTypes": eventKinds},
	}
	reps, err := list[eventRep](ctx, s, c)
	if err != nil {
		return nil, mostEvents, err
	}
	found := make([]events.Event, len(reps))
	for i, r := range reps {
		if r.Time <= 0 || r.OperationType == "" || r.ResourceType == "" {
			return nil, mostEvents, fault.New(fault.Keycloak, fault.Shape, "%s: an event lacks its time, its operation or its kind; check that groupsync supports this version of Keycloak", c.doing)
		}
		found[i] = events.Event{At: time.UnixMilli(r.Time).UTC(), Operation: r.OperationType, Resource: r.ResourceType, Path: r.ResourcePath}
	}
	slices.SortStableFunc(found, func(a, b events.Event) int { return a.At.Compare(b.At) })
	return found, mostEvents, nil
}
