package events

import (
	"context"
	"log/slog"
	"time"
)

const (
	// overlap is how far each reading goes back before the newest known event. Keycloak saves
	// an event in the same transaction as the change. If that transaction takes long, the event
	// appears only after an event with a later time was read.
	overlap = 30 * time.Second
	// skew is the largest difference between Keycloak's clock and this machine's clock that
	// groupsync allows for. The first reading knows no event yet, so it goes back skew and overlap
	// before the present. An event whose time is more than skew after this machine's present time
	// does not count as the newest.
	skew = 10 * time.Minute
	// mostPeople is the largest number of people in a reading for which groupsync makes a pass
	// of each person. If a reading has more people, one whole pass starts instead.
	mostPeople = 20
	// pause is the shortest time between two whole passes that events start. A burst of
	// changes, such as an import of groups, starts one pass instead of hundreds.
	pause = time.Minute
)

// Reader reads admin events.
type Reader interface {
	// AdminEvents returns the events that are not older than the parameter since, oldest first. The
	// result most is the largest number of events that one call can return. If a call returns that
	// number of events, Keycloak may have more of them.
	AdminEvents(ctx context.Context, since time.Time) (events []Event, most int, err error)
}

// Settings say how events are read.
type Settings struct {
	From  Reader        // nil: events are not read
	Every time.Duration // the pause between two readings
}

// Options are what Run needs.
type Options struct {
	Settings func() Settings                     // called before each reading, so that a changed configuration takes effect
	Person   func(ctx context.Context, p Person) // runs the pass of one person
	Whole    func(ctx context.Context)           // runs a whole pass
	Log      *slog.Logger
}

// poller is the state of Run. Run uses a new poller if the configuration switches the reading of
// events off and on again.
type poller struct {
	Options
	primed bool           // the first reading is done; its events start no pass, because the first scheduled pass finds their changes
	since  time.Time      // time of the newest event that was read
	seen   map[Event]bool // the events of the last reading; the next reading returns some of them again (overlap)
	last   time.Time      // when events last started a whole pass
	wanted bool           // a whole pass is needed, and has not started because pause is not over
	failed string         // the error of the last reading; empty: the last reading succeeded
}

// Run reads events and starts passes until ctx ends.
func Run(ctx context.Context, o Options) {
	p := &poller{Options: o}
	for {
		s := p.Settings()
		if s.From == nil {
			p = &poller{Options: o}
		} else {
			p.poll(ctx, s.From)
		}
		t := time.NewTimer(max(s.Every, time.Second))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// poll reads events once and runs the passes that they need.
func (p *poller) poll(ctx context.Context, from Reader) {
	now := time.Now()
	if !p.primed {
		p.since = now.Add(-skew)
	}
	events, most, err := from.AdminEvents(ctx, p.since.Add(-overlap))
	if err != nil {
		p.fail(ctx, err)
		return
	}
	late := p.failed != ""
	if late {
		p.failed = ""
		p.Log.Info("the admin events can be read again")
	}
	fresh := p.fresh(events, now)
	if !p.primed {
		p.primed = true
		return
	}
	work := Read(fresh)
	p.wanted = p.wanted || work.Whole || len(fresh) >= most || len(work.People) > mostPeople
	if len(work.People) <= mostPeople { // also if a whole pass is needed, because that pass may have to wait for pause
		for _, person := range work.People {
			if late { // the last reading failed, so these events can be old, and an old event must not explain a removal
				person.Witnesses = nil
			}
			p.Person(ctx, person)
		}
	}
	if p.wanted && now.Sub(p.last) >= pause && ctx.Err() == nil {
		p.wanted, p.last = false, now
		p.Log.Info("admin events start a whole pass")
		p.Whole(ctx)
	}
}

// fresh returns those of the events that the last reading did not return. It stores all events in
// seen, and the time of the newest event in since.
func (p *poller) fresh(events []Event, now time.Time) (fresh []Event) {
	seen := make(map[Event]bool, len(events))
	for _, e := range events {
		if !p.seen[e] {
			fresh = append(fresh, e)
		}
		seen[e] = true
		if e.At.After(p.since) && e.At.Before(now.Add(skew)) {
			p.since = e.At
		}
	}
	p.seen = seen
	return fresh
}

// fail logs why the admin events cannot be read. It does not log the same error twice in a row.
func (p *poller) fail(ctx context.Context, err error) {
	if ctx.Err() != nil || err.Error() == p.failed {
		return
	}
	p.failed = err.Error()
	p.Log.Warn("the admin events cannot be read, so changes in Keycloak wait for the next scheduled pass", "error", err)
}
