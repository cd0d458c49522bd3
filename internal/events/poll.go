package events

import (
	"context"
	"log/slog"
	"time"
)

const (
	// overlap is how far each reading goes back before the newest known event. Keycloak saves
	// an event in the transaction of its change, so an event can appear after an event with a
	// later time.
	overlap = 30 * time.Second
	// skew is the largest difference that is allowed between Keycloak's clock and this one.
	// The first reading goes back this far. Events further in the future than this do not move
	// the time of the next reading.
	skew = 10 * time.Minute
	// mostPeople is the largest number of people for whom one reading starts single passes. If
	// there are more, one whole pass replaces them.
	mostPeople = 20
	// pause is the shortest time between two whole passes that events start. A burst of
	// changes, such as an import of groups, starts one pass instead of hundreds.
	pause = time.Minute
)

// Reader reads admin events.
type Reader interface {
	// AdminEvents returns the events since a time, oldest first. most is the largest number of
	// events that it returns. If it returns that many, there may be more events.
	AdminEvents(ctx context.Context, since time.Time) (events []Event, most int, err error)
}

// Settings say how events are read.
type Settings struct {
	From  Reader        // nil: events are not read
	Every time.Duration // the pause between two readings
}

// Options are what a Poller needs.
type Options struct {
	Settings func() Settings                     // called before each reading, so that a changed configuration takes effect
	Person   func(ctx context.Context, p Person) // runs the pass of one person
	Whole    func(ctx context.Context)           // runs a whole pass
	Log      *slog.Logger
}

// poller is one run of reading events.
type poller struct {
	Options
	primed bool           // the first reading is done; its events are left to the first pass
	since  time.Time      // time of the newest event that was read
	seen   map[Event]bool // the events of the last reading, which an overlapping reading returns again
	last   time.Time      // when events last started a whole pass
	wanted bool           // a whole pass is needed, and waits for pause
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
	if len(work.People) <= mostPeople { // each person now, even if a whole pass follows
		for _, person := range work.People {
			if late { // after a failed reading, these events are no evidence: much may have changed since
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

// fresh returns the events that the last reading did not return, and remembers all of them.
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

// fail logs why events cannot be read, once for each cause.
func (p *poller) fail(ctx context.Context, err error) {
	if ctx.Err() != nil || err.Error() == p.failed {
		return
	}
	p.failed = err.Error()
	p.Log.Warn("the admin events cannot be read, so changes in Keycloak wait for the next scheduled pass", "error", err)
}
