package web

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// The most entries of each list that the page shows, so that the page stays small. The page also
// shows the length of each list. The JSON of /api/v1/status has all entries.
const (
	shownGroups  = 40
	shownChanges = 10 // of one group
	shownTrips   = 20
	shownErrors  = 10
	shownPeople  = 25 // of one state
)

// text is a text that may come from Keycloak, ClearML or the request. Its String method escapes
// the characters that could change the direction of the text, hide something or begin a line.
type text string

func (t text) String() string { return report.Escape(string(t)) }

// view is the data that the page shows. The template decides only the layout.
type view struct {
	Sync     text
	Now      instant
	Tone     string // good, wait, bad or idle
	Headline string
	Detail   []text // sentences below the headline
	Last     *pastPass
	Success  *instant // the last successful pass, if the last pass did not succeed
	Running  *instant
	Next     *instant
	Figures  []figure
	Errors   cut[failure]
	Trips    cut[trip]
	Approve  *approval
	Groups   cut[group]
	States   []count // groups by state
	People   []people
	Others   []count // number of people in each state that People does not list
	Strip    []pastPass
	Legend   []legend
	Search   *search // nil: there is no Explainer
}

// Asked reports whether the page shows an explanation instead of the status.
func (v view) Asked() bool { return v.Search != nil && v.Search.Asked }

// instant is a time, with its distance from now in words, such as "5 min ago".
type instant struct {
	At  time.Time
	Ago string
}

func (i instant) ISO() string   { return i.At.UTC().Format(time.RFC3339) }
func (i instant) Short() string { return i.At.UTC().Format("15:04 UTC") }
func (i instant) Exact() string { return i.At.UTC().Format("15:04:05 UTC") }
func (i instant) Clock() string { return i.At.UTC().Format("2006-01-02 15:04:05 UTC") }

type pastPass struct {
	Ended   instant
	Result  string // one of report.Results, in words
	Class   string
	Took    string
	Summary string
}

type figure struct {
	Name, Label string
	Value       int
	Tone        string // the tone (see view.Tone) of a value that is not 0
}

type failure struct {
	System, Reason, Text text
}

type trip struct {
	Guard  text
	Group  text // empty: the trip is not about one group
	Detail text
	See    string // heading in the documentation
}

type approval struct {
	Digest  text
	Command text
	Note    string
}

type group struct {
	ID          text
	Name        text
	From        []text
	Add, Remove int
	State       string
	Withheld    text
	Changes     cut[change]
}

type change struct {
	Action  string // add or remove
	Who     text
	Email   text
	Outcome text
	Why     text
}

type legend struct{ Class, Name string }

type count struct {
	Name string
	N    int
}

// people are the people in one state.
type people struct {
	State, Meaning, See string
	List                cut[person]
}

type person struct{ Name, Side text }

// cut is the beginning of a list (Shown), with the length of the whole list (All).
type cut[T any] struct {
	All   int
	Shown []T
}

// More returns how many entries are not shown.
func (c cut[T]) More() int { return c.All - len(c.Shown) }

func cutAt[T any](list []T, most int) cut[T] {
	return cut[T]{All: len(list), Shown: list[:min(len(list), most)]}
}

// search is the content of the form and, if the form was used, the answer.
type search struct {
	User, Group    text
	Asked          bool
	Answer, Failed string // lines, with dangerous characters escaped
}

// runbook holds, for each guard, the place in the documentation that says what to do.
var runbook = map[report.Guard]string{
	report.Suspended:     "docs/running.md, Suspend",
	report.Federation:    "docs/runbook.md, GroupsyncFederationAway",
	report.Confirm:       "docs/runbook.md, GroupsyncGuardStuck",
	report.MissingSource: "docs/runbook.md, GroupsyncGuardStuck",
	report.Collision:     "docs/runbook.md, GroupsyncGrantsWithheld",
	report.Views:         "docs/runbook.md, GroupsyncGuardStuck",
	report.Ambiguity:     "docs/runbook.md, GroupsyncGuardStuck",
	report.Admins:        "docs/runbook.md, GroupsyncRemovalsWithheld",
	report.Scope:         "docs/runbook.md, GroupsyncRemovalsWithheld",
	report.Fall:          "docs/runbook.md, GroupsyncRemovalsWithheld",
	report.Removals:      "docs/runbook.md, GroupsyncRemovalsWithheld",
	report.GoneLimit:     "docs/runbook.md, GroupsyncRemovalsWithheld",
	report.Grants:        "docs/runbook.md, GroupsyncGrantsWithheld",
	report.Grace:         "docs/decisions.md, What a change needs",
	report.Age:           "docs/runbook.md, GroupsyncGuardStuck",
	report.Concurrent:    "docs/runbook.md, GroupsyncGuardStuck",
	report.Canary:        "docs/runbook.md, GroupsyncCanary",
}

// waiting are the states whose people the page lists by name.
var waiting = []people{
	{State: "pending", Meaning: "in a Keycloak group that feeds ClearML, and not yet a ClearML user; ClearML makes the user at the first login", See: "docs/runbook.md, GroupsyncPendingOld"},
	{State: "ambiguous", Meaning: "several accounts could be this person, so groupsync grants nothing, and removes only if every account is out of the group", See: "docs/decisions.md, Who is who"},
	{State: "rekeyed", Meaning: "the Keycloak account whose id ClearML keeps is gone, and another account has the email; groupsync grants nothing until the next login corrects the id", See: "docs/decisions.md, Who is who"},
}

// overdue is how late a pass may be before the page says so. The alert GroupsyncNoTicks waits
// for the same time.
const overdue = 5 * time.Minute

// viewOf returns the data of the page for the state s at the time now. how describes how a person
// approves withheld changes.
func viewOf(s state, now time.Time, how approveWay) view {
	v := view{Sync: text(s.sync), Now: when(now, now), Running: maybe(s.running, now), Next: maybe(s.next, now)}
	for _, r := range report.Results {
		v.Legend = append(v.Legend, legend{class(r), words(r)})
	}
	v.headline(s, now)
	v.suspended(s.suspension.Current(now), now)
	if !s.leads || s.last == nil {
		return v
	}
	for _, p := range slices.Backward(s.passes) {
		v.Strip = append(v.Strip, past(p, now))
	}
	v.Last = &v.Strip[len(v.Strip)-1]
	v.success(s.passes, now)
	v.Errors = failures(s.last.Errors)
	if s.last.Approval != nil {
		v.Detail = append(v.Detail, text("The last pass had an "+s.last.Approval.String()+"."))
	}
	if s.planned == nil {
		return v
	}
	if s.planned != s.last {
		of := when(s.planned.Started, now)
		v.Detail = append(v.Detail, text("The data below are from the pass of "+of.Clock()+", the last pass that made a plan."))
	}
	v.planned(*s.planned, how)
	return v
}

// planned fills in the figures, trips, groups and people of r, the last report of a pass that had
// a plan.
func (v *view) planned(r report.Report, how approveWay) {
	v.Figures = figures(r)
	v.Trips = trips(r.Guards)
	v.Approve = how.of(r)
	v.Groups = differing(r.Groups)
	states := r.GroupStates()
	for _, name := range append([]string{"in_sync", "drift", "withheld"}, report.SkipStates...) {
		if n := states[name]; n > 0 || name == "in_sync" {
			v.States = append(v.States, count{spaced(name), n})
		}
	}
	v.people(r)
}

// headline sets the tone and the sentence about the state of the sync.
func (v *view) headline(s state, now time.Time) {
	switch {
	case !s.leads:
		v.Tone, v.Headline = "idle", "This process is a standby and makes no passes."
		who := "The leader is not known. Reload the page in a few seconds."
		if s.leader != "" {
			who = s.leader + " is the leader. Its page shows the passes."
		}
		v.Detail = append(v.Detail, text(who))
		return
	case s.last == nil && !s.running.IsZero():
		v.Tone, v.Headline = "idle", "The first pass is running."
	case s.last == nil:
		v.Tone, v.Headline = "idle", "No pass has ended yet."
	default:
		v.result(*s.last)
	}
	if late := now.Sub(s.next); !s.next.IsZero() && late > overdue {
		v.Tone = "bad"
		v.Detail = append(v.Detail, text("The next pass is overdue by "+rough(late)+". See docs/runbook.md, GroupsyncNoTicks."))
	}
}

// suspended puts a suspension first among the details, and changes the tone "good" to "wait".
// The page must not be green while writing is suspended.
func (v *view) suspended(x memory.Suspension, now time.Time) {
	if x.IsZero() {
		return
	}
	if v.Tone == "good" {
		v.Tone = "wait"
	}
	first := text(fmt.Sprintf("%s, %s from now. groupsync resume ends the suspension earlier. See docs/running.md, Suspend.", strings.ToUpper(x.String()[:1])+x.String()[1:], rough(x.Until.Sub(now))))
	v.Detail = append([]text{first}, v.Detail...)
}

// result sets the tone, headline and details of the last pass.
func (v *view) result(r report.Report) {
	add, remove := r.Drift()
	drift, done, held := add+remove, r.Applied.Added+r.Applied.Removed, withheld(r)
	made := ""
	if done > 0 {
		made = " The last pass made " + report.Counted(done, "change", "changes") + "."
	}
	switch r.Result {
	case report.InSync:
		v.Tone, v.Headline = "good", "ClearML agrees with Keycloak."
	case report.Applied:
		v.Tone, v.Headline = "good", "ClearML agrees with Keycloak."+made
	case report.Error:
		v.Tone, v.Headline = "bad", "The last pass failed, and nothing was written."
		if done+r.Applied.Failed > 0 {
			v.Headline = "The last pass failed while it wrote."
		}
	case report.Guarded:
		v.Tone, v.Headline = "bad", "A guard reports a problem that a person must resolve."
		if held > 0 {
			v.Headline = "Guards withhold " + report.Counted(held, "change", "changes") + "."
		}
	default:
		v.Tone, v.Headline = "wait", report.Counted(drift, "membership differs", "memberships differ")+" from Keycloak."
	}
	if done > 0 && r.Result != report.Applied {
		v.Detail = append(v.Detail, text(strings.TrimSpace(made)))
	}
	if r.Applied.Failed > 0 {
		v.Tone = "bad"
		v.Detail = append(v.Detail, text(report.Counted(r.Applied.Failed, "write", "writes")+" failed. The next pass tries again."))
	}
	if n := withheldBy(r, report.Grace); n > 0 {
		v.Detail = append(v.Detail, text(report.Counted(n, "removal waits only for the grace", "removals wait only for the grace")+". groupsync writes a removal after all passes have wanted it throughout the grace."))
	}
	if r.Mode == "observe" {
		v.Detail = append(v.Detail, "The mode is observe, so groupsync writes nothing.")
	}
}

// withheld counts the changes that guards withhold.
func withheld(r report.Report) int {
	return held(r, func(report.Guard) bool { return true })
}

// withheldBy counts the changes that this guard withholds.
func withheldBy(r report.Report, guard report.Guard) int {
	return held(r, func(g report.Guard) bool { return g == guard })
}

// held counts the changes that guards withhold. It leaves out a guard g if is(g) is false.
func held(r report.Report, is func(report.Guard) bool) (n int) {
	for _, g := range r.Groups {
		for _, list := range [][]report.Change{g.Add, g.Remove} {
			for _, c := range list {
				if c.Outcome == report.Withheld && is(c.Guard) {
					n++
				}
			}
		}
	}
	return n
}

// success sets v.Success to the end of the last successful pass. It sets nothing if the last pass
// succeeded, or if no pass did. passes has the newest pass first.
func (v *view) success(passes []Pass, now time.Time) {
	if i := slices.IndexFunc(passes, func(p Pass) bool { return p.Success }); i > 0 {
		v.Success = maybe(passes[i].ended(), now)
	}
}

func figures(r report.Report) []figure {
	add, remove := r.Drift()
	return []figure{
		{"add", "to add", add, "wait"},
		{"remove", "to remove", remove, "wait"},
		{"withheld", "withheld", withheld(r), "bad"},
		{"pending", "pending", r.Users["pending"], ""},
	}
}

func failures(errs []report.Failure) cut[failure] {
	list := make([]failure, len(errs))
	for i, e := range errs {
		list[i] = failure{text(e.System), text(e.Reason), text(e.Text)}
	}
	return cutAt(list, shownErrors)
}

// trips returns the trips without repetitions, because two parts of a pass can report the same
// trip.
func trips(all []report.Trip) cut[trip] {
	var list []trip
	for _, t := range all {
		x := trip{text(t.Guard), text(t.Group), text(t.Detail), runbook[t.Guard]}
		if !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return cutAt(list, shownTrips)
}

// differing returns the groups that are not in sync. The group with the most changes left comes
// first, and groups with equally many are sorted by name.
func differing(all []report.Group) cut[group] {
	var list []report.Group
	for _, g := range all {
		if g.State() != "in_sync" {
			list = append(list, g)
		}
	}
	slices.SortStableFunc(list, func(a, b report.Group) int {
		return cmp.Or(cmp.Compare(size(b), size(a)), strings.Compare(a.Name, b.Name))
	})
	shown := cut[group]{All: len(list)}
	for _, g := range list[:min(len(list), shownGroups)] {
		add, remove := g.Drift()
		x := group{ID: text(g.ID), Name: text(g.Name), Add: add, Remove: remove, State: spaced(g.State()), Changes: changes(g)}
		for _, from := range g.From {
			x.From = append(x.From, text(from))
		}
		guards := make([]string, len(g.Withheld))
		for i, w := range g.Withheld {
			guards[i] = string(w)
		}
		x.Withheld = text(strings.Join(guards, ", "))
		shown.Shown = append(shown.Shown, x)
	}
	return shown
}

func size(g report.Group) int {
	add, remove := g.Drift()
	return add + remove
}

// changes returns the changes of one group that the pass did not make, removals first.
func changes(g report.Group) cut[change] {
	var list []change
	for _, part := range []struct {
		action string
		list   []report.Change
	}{{"remove", g.Remove}, {"add", g.Add}} {
		for _, c := range part.list {
			if c.Outcome == report.Done {
				continue
			}
			outcome := string(c.Outcome)
			if c.Guard != "" {
				outcome += " by " + string(c.Guard)
			}
			list = append(list, change{part.action, text(c.Name), text(c.Email), text(outcome), text(c.Why)})
		}
	}
	return cutAt(list, shownChanges)
}

func (v *view) people(r report.Report) {
	named := make(map[string]bool)
	for _, p := range waiting {
		named[p.State] = true
		var list []person
		for _, who := range r.People {
			if who.State == p.State {
				list = append(list, person{text(who.Name), text(who.Side)})
			}
		}
		if len(list) > 0 {
			p.List = cutAt(list, shownPeople)
			v.People = append(v.People, p)
		}
	}
	for _, state := range report.UserStates {
		if n := r.Users[state]; n > 0 && !named[state] {
			v.Others = append(v.Others, count{spaced(state), n})
		}
	}
}

// approveWay says how a person approves withheld changes.
type approveWay struct {
	port  string // port that serves POST /-/approve; empty: no port serves this path
	https bool
	lease bool // there is a Lease, so only the leader writes
}

func approveBy(o Options, at net.Addr) approveWay {
	how := approveWay{lease: o.Status.leader != nil}
	if o.Control != nil {
		_, how.port, _ = net.SplitHostPort(at.String())
	}
	return how
}

// of returns how a person approves the changes that the pass withheld. It returns nil if an
// approval would lift no guard. The command names localhost and not the host of the request's Host
// header, because whoever sent the request chose that header.
func (how approveWay) of(r report.Report) *approval {
	lifted := slices.ContainsFunc(r.Guards, func(t report.Trip) bool { return t.Override != "" })
	if r.Digest == "" || !lifted {
		return nil
	}
	a := &approval{Digest: text(r.Digest)}
	scheme := "http"
	if how.https {
		scheme = "https"
	}
	switch {
	case how.port != "":
		a.Command = text(fmt.Sprintf("curl -X POST '%s://localhost:%s/-/approve?digest=%s'", scheme, how.port, r.Digest))
		if r.Mode == "observe" {
			a.Note = "The mode is observe. Set mode: apply first."
		}
	case how.lease:
		a.Note = "Only the leader writes. Set web.enable_lifecycle, then send the approval to the leader. See docs/running.md, Approvals."
	default:
		a.Command = text("groupsync --once --apply --approve " + r.Digest + " --config config.yaml")
	}
	return a
}

func past(p Pass, now time.Time) pastPass {
	took := time.Duration(p.Duration * float64(time.Second)).Round(time.Millisecond)
	if took > time.Second {
		took = took.Round(100 * time.Millisecond)
	}
	done := fmt.Sprintf("%d added, %d removed, %d failed; left %d to add, %d to remove", p.Applied.Added, p.Applied.Removed, p.Applied.Failed, p.Left.Add, p.Left.Remove)
	return pastPass{Ended: when(p.ended(), now), Result: words(p.Result), Class: class(p.Result), Took: took.String(), Summary: done}
}

// class returns the CSS class of a result. Only known results become a class, so an unknown result
// gets the class "unknown".
func class(r report.Result) string {
	if slices.Contains(report.Results, r) {
		return string(r)
	}
	return "unknown"
}

func words(r report.Result) string { return spaced(class(r)) }

func spaced(name string) string { return strings.ReplaceAll(name, "_", " ") }

func when(t, now time.Time) instant {
	if d := t.Sub(now); d > 0 {
		return instant{t, "in " + rough(d)}
	}
	return instant{t, rough(now.Sub(t)) + " ago"}
}

func maybe(t, now time.Time) *instant {
	if t.IsZero() {
		return nil
	}
	i := when(t, now)
	return &i
}

// rough returns the duration as a whole number of seconds, minutes, hours or days, rounded down.
func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " d"
}
