// Package simulate runs the whole daemon in memory and in virtual time, against models of
// Keycloak and ClearML. The models fail in every known way. An oracle judges each write.
//
// In this package, a schedule is one simulated run: a configuration, people and groups, events and
// faults, for some hours of virtual time. It does not mean when passes run, as it does elsewhere.
// The seed decides everything about a schedule (docs/simulation.md). A world is the state of a
// schedule while it runs. A node is one process of groupsync in that world.
package simulate

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/simulate/chaos"
	"groupsync/internal/simulate/dir"
	"groupsync/internal/simulate/history"
	"groupsync/internal/simulate/idp"
)

// Scenario describes one schedule. If Hours or People is zero, the seed decides its value.
type Scenario struct {
	Seed   uint64
	Hours  int             // how many virtual hours the schedule runs before all faults and events end
	People int             // how many people there are
	Off    map[string]bool // kinds of faults, events and features that are switched off
	Focus  map[string]bool // kinds of faults and events that happen more often, and features that are always on; if it has a kind of fault, only the kinds of fault in Focus happen
	Trace  io.Writer       // where the processes log to; nil: nowhere
}

// Known (the flag -known) also creates the situations in which groupsync has errors that are known
// and not fixed (docs/simulation.md).
var Known bool

// world is a schedule while it runs.
type world struct {
	Scenario
	log       *history.Log
	realm     *idp.Realm
	directory *dir.Directory
	wire      *chaos.Wire
	disk      *disk
	lease     *lease // nil: there is one process
	journals  bool
	base      settings
	passes    atomic.Int64
	running   atomic.Int64 // number of passes that run now

	mu        sync.Mutex
	sometimes map[string]int
	nodes     []*node // the processes that run, the oldest first

	turn    chan struct{} // a lock: the event that happens now holds it
	over    atomic.Bool   // no further event happens
	pending []func()      // called when the next pass begins

	watch func(report.Report) // called with each report; may be nil

	made  int // the last number in the name of a process, an account or a user
	waits int // number of writes that the server has refused so far
}

// rand returns a source of random numbers for one purpose. Only the seed and the purpose decide the
// numbers. So if one feature is switched off, the rest of the schedule stays the same.
func (s Scenario) rand(purpose string) *rand.Rand { return chaos.Rand(s.Seed, purpose) }

// on reports whether the schedule has the feature what. A feature in Off is never on, and a feature
// in Focus always is. For any other feature the seed decides, with the probability chance.
func (s Scenario) on(what string, chance float64) bool {
	return (s.rand("on "+what).Float64() < chance || s.Focus[what]) && !s.Off[what]
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sometimes[what]++
}

// saw counts the guards, errors, states and outcomes in a report, and passes the report to watch.
func (w *world) saw(r report.Report) {
	if w.watch != nil {
		w.watch(r)
	}
	w.count("result " + string(r.Result))
	for _, t := range r.Guards {
		w.count("guard " + string(t.Guard))
	}
	for _, e := range r.Errors {
		w.count("error " + e.System + " " + e.Reason)
	}
	for _, p := range r.People {
		w.count("person " + p.State)
	}
	for _, g := range r.Groups {
		for _, k := range g.Kept {
			w.count("kept " + k.Why)
		}
		if g.OwnView.Hides > 0 {
			w.count("a list hides somebody")
		}
		if g.OwnView.Shows > 0 {
			w.count("a list shows somebody wrongly")
		}
		for _, c := range slices.Concat(g.Add, g.Remove) {
			w.count("change " + string(c.Outcome))
			if c.Outcome == report.Done {
				w.count("evidence " + c.Evidence)
			}
			if c.Reverted {
				w.count("change reverted")
			}
		}
	}
	for _, p := range r.Probes {
		w.count(fmt.Sprintf("probe up %t", p.Up))
	}
	if r.Approval != nil {
		w.count(fmt.Sprintf("approval granted %t", r.Approval.Granted))
	}
}

// meanwhile stores the function do, which is called when the next pass begins.
func (w *world) meanwhile(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(w.pending, do)
}

// passBegins calls the functions that meanwhile has stored, and drops them. If forget is true,
// it drops them without a call.
func (w *world) passBegins(forget bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, do := range w.pending {
		if !forget {
			do()
		}
	}
	w.pending = nil
}

var words = []string{"ml", "data", "vision", "ops", "speech", "robots", "audit"}

// newWorld makes the models of both sides in their state at the beginning of a schedule. The seed
// decides everything.
func newWorld(s Scenario) *world {
	rng := s.rand("world")
	log := new(history.Log)
	w := &world{
		Scenario: s, log: log, wire: chaos.New(s.Seed), disk: new(disk), sometimes: make(map[string]int), turn: make(chan struct{}, 1),
		realm: idp.New(log, s.rand("ids of Keycloak")), directory: dir.New(log, s.rand("ids of ClearML")),
		journals: s.on("journal", 0.5),
	}
	w.wire.Trace, w.wire.NotTaken = s.Trace, w.writeWaits
	w.wire.Short = func(node, group string) { log.Add(history.Short{Node: node, Group: group}) }
	if w.Hours == 0 {
		w.Hours = []int{2, 3, 3, 6, 6, 12, 24}[rng.IntN(7)]
	}
	if w.People == 0 {
		w.People = 3 + rng.IntN(10)
	}
	if s.on("replicas", 0.15) {
		w.lease = newLease(log, s.rand("lease"))
	}
	w.faults()
	w.base = w.draw(s.rand("settings"))
	w.realm.TokenLife = []time.Duration{time.Second, 30 * time.Second, 5 * time.Minute}[rng.IntN(3)]
	w.directory.TokenLife = []time.Duration{10 * time.Second, 10 * time.Minute, time.Hour}[rng.IntN(3)]
	w.realm.Duplicates = s.on("duplicate emails", 0.3)
	w.directory.KeepsIDs = s.on("kept ids", 0.6)
	w.directory.OneView = s.on("one view", 0.3)
	w.wire.OneView = w.directory.OneView && !Known
	w.directory.Rogue = s.on("rogue server", 0.05)
	w.directory.CutsAdmins = Known
	w.populate(rng)
	return w
}

// faults switches on the kinds of fault that the seed chooses.
func (w *world) faults() {
	rng := w.rand("faults")
	share, rate, storm := rng.Float64()*0.5, 0.02+rng.Float64()*0.2, 0.3+rng.Float64()*0.5
	if w.on("fault", 0.8) {
		w.wire.Rate, w.wire.Storm, w.wire.Share = rate, storm, 0.35
	}
	for _, k := range chaos.Kinds {
		if w.rand("fault "+string(k)).Float64() < share && !w.Off[string(k)] {
			w.wire.Kinds[k] = true
		}
	}
	if slices.ContainsFunc(chaos.Kinds, func(k chaos.Kind) bool { return w.Focus[string(k)] }) {
		w.wire.Rate, w.wire.Storm, w.wire.Share = 0.3, 0.8, 0.6
		for _, k := range chaos.Kinds {
			w.wire.Kinds[k] = w.Focus[string(k)]
		}
	}
}

// draw returns settings that rng chooses.
func (w *world) draw(rng *rand.Rand) settings {
	s := settings{
		Limits: guard.Limits{
			MaxRemovals: []int{5, 20, 50}[rng.IntN(3)], MaxAdminGrants: []int{1, 3}[rng.IntN(2)], Window: 24 * time.Hour,
			MaxRatio: []float64{0.2, 0.5, 0.9}[rng.IntN(3)], FreeRemovals: rng.IntN(4), MaxGone: 1 + rng.IntN(3),
			Grace: []time.Duration{0, time.Hour, 2 * time.Hour, 24 * time.Hour}[rng.IntN(4)], GoneGrace: []time.Duration{time.Hour, 24 * time.Hour}[rng.IntN(2)],
			MaxAge: []time.Duration{time.Minute, 10 * time.Minute}[rng.IntN(2)], Floor: rng.IntN(3), Stop: rng.IntN(5) == 0,
		},
		Every:   []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour}[rng.IntN(3)],
		Jitter:  []time.Duration{0, time.Minute}[rng.IntN(2)],
		Timeout: []time.Duration{15 * time.Second, time.Minute}[rng.IntN(2)],
	}
	if rng.IntN(8) == 0 {
		s.Limits.MaxAdditions = 3
	}
	if w.on("admins", 0.6) {
		s.AdminGroups = []string{[]string{"bosses", "/bosses"}[rng.IntN(2)]}
	}
	if w.on("admin role", 0.35) {
		s.AdminRole = idp.Boss
	}
	if (s.AdminRole != "" || s.AdminGroups != nil) && w.on("via role", 0.35) {
		s.AdminVia = []match.Via{match.ViaRole, match.ViaBoth}[rng.IntN(2)]
	}
	if w.on("full path", 0.25) {
		s.FullPath = true
		if s.AdminGroups != nil {
			s.AdminGroups = []string{"/bosses"}
		}
	}
	if w.on("mapping", 0.3) {
		s.Mapping = map[string][]string{s.claim(words[0]): {"mapped", words[1]}}
	}
	return s
}

// claim returns the claim name of a group that has no parent.
func (s settings) claim(name string) string {
	if s.FullPath {
		return "/" + name
	}
	return name
}

func email(i int) string { return fmt.Sprintf("p%d@example.com", i) }

// populate makes groups and people.
func (w *world) populate(rng *rand.Rand) {
	feds := 0
	if w.on("federation", 0.7) {
		feds = 1 + rng.IntN(2)
	}
	for i := range feds {
		w.realm.AddFederation(fmt.Sprintf("ldap%d", i), rng.IntN(2) == 0, rng.IntN(3) > 0)
	}
	groups := 3 + rng.IntN(4)
	var ids []string
	for i := range groups {
		fed := rng.IntN(feds+1) - 1
		quirk := idp.True
		if w.rand(fmt.Sprint("quirk ", i)).IntN(3) == 0 && !w.Off["quirk"] {
			quirk = idp.Quirk(rng.IntN(5))
		}
		parent := ""
		if i > 1 && rng.IntN(4) == 0 {
			parent = ids[rng.IntN(i)]
		}
		ids = append(ids, w.realm.AddGroup(words[i], parent, fed, quirk))
		if rng.IntN(6) > 0 {
			path := words[i]
			if w.base.FullPath {
				path = "/" + path
			}
			w.directory.AddGroup(path)
		}
	}
	if rng.IntN(4) == 0 { // a group with the same leaf name as the first group
		ids = append(ids, w.realm.AddGroup(words[0], ids[1], -1, idp.True))
	}
	ids = append(ids, w.realm.AddGroup("bosses", "", rng.IntN(feds+1)-1, idp.True))
	w.realm.GiveRole(ids[rng.IntN(len(ids))], []string{idp.Boss, idp.Chief}[rng.IntN(2)], true)
	if rng.IntN(8) == 0 && !w.Off["collision"] {
		ids = append(ids, w.realm.AddGroup("bosses", ids[0], -1, idp.True))
	}
	w.directory.AddGroup("mapped")
	w.directory.AddGroup("of nobody")
	for i := range w.People {
		w.person(w.rand(fmt.Sprint("person ", i)), i, feds, ids)
	}
	for i := range 2 {
		w.directory.AddUser(dir.NewUser{Name: fmt.Sprint("robot", i), Email: fmt.Sprintf("robot%d@example.com", i), Service: true})
	}
	w.realm.AddAccount("service-account-ci", "", -1, true)
}

// person makes the person with the number i: an account, perhaps a user, and the groups and roles of
// both. feds is the number of federations. groups has the ids of all groups of Keycloak.
func (w *world) person(rng *rand.Rand, i, feds int, groups []string) {
	mail := email(i)
	if rng.IntN(8) == 0 {
		mail = fmt.Sprintf("P%d@Example.com", i)
	}
	account := w.realm.AddAccount(fmt.Sprint("user", i), mail, rng.IntN(feds+1)-1, false)
	for _, g := range groups {
		if rng.IntN(3) == 0 {
			w.realm.Put(account, g, true)
		}
	}
	if rng.IntN(5) == 0 {
		w.realm.GiveRole(account, []string{idp.Boss, idp.Chief}[rng.IntN(2)], true)
	}
	kind := rng.IntN(10)
	user := ""
	switch {
	case kind < 6 && w.login(account) != "": // the user has just signed in, so the memberships are right
		return
	case kind < 8: // a user whose memberships in ClearML are out of date
		u := dir.NewUser{Name: fmt.Sprint("user", i), Email: email(i), Keycloak: true}
		if w.directory.KeepsIDs {
			u.Kept = account
		}
		user = w.directory.AddUser(u)
	case kind == 8:
		user = w.directory.AddUser(dir.NewUser{Name: fmt.Sprint("user", i), Email: email(i), Other: rng.IntN(2) == 0})
	default: // the person has no ClearML user yet
		return
	}
	for _, g := range w.directory.GroupIDs() {
		if rng.IntN(3) == 0 {
			w.directory.Edit(g, user, true, "setup")
		}
	}
	if rng.IntN(2) == 0 {
		w.directory.EditRole(user, rng.IntN(3))
	}
}

// login signs an account in to ClearML. It returns the id of the user, or "" if the sign-in
// fails.
func (w *world) login(account string) string {
	l, in := w.realm.SignIn(account)
	if !in {
		return ""
	}
	x := dir.Login{ID: l.ID, Name: l.Username, Email: l.Email}
	s := w.base
	boss := l.Boss && s.AdminRole != ""
	for _, g := range l.Groups {
		name := g.Name
		if s.FullPath {
			name = g.Path
		}
		names, mapped := s.Mapping[name]
		if !mapped {
			names = []string{name}
		}
		x.Claim = append(x.Claim, names...)
		boss = boss || slices.Contains(s.AdminGroups, g.Path) || !s.FullPath && slices.Contains(s.AdminGroups, g.Name)
	}
	x.Admin, x.Boss = boss && s.AdminVia.Group(), boss && s.AdminVia.Role()
	return w.directory.SignIn(x)
}

// change returns settings that differ from s in one point that rng chooses, as after an edit of the
// configuration.
func (s settings) change(rng *rand.Rand) settings {
	s.Mapping = maps.Clone(s.Mapping)
	switch rng.IntN(5) {
	case 0:
		if s.Mapping == nil {
			s.Mapping = make(map[string][]string)
		}
		s.Mapping[s.claim(words[rng.IntN(3)])] = []string{s.claim(words[rng.IntN(3)])}
	case 1:
		s.Mapping = nil
	case 2:
		s.Protect = []string{email(rng.IntN(4))}
	case 3:
		until := time.Now().Add(time.Duration(1+rng.IntN(6)) * time.Hour).Truncate(time.Second)
		s.Exceptions = []match.Exception{{Match: email(rng.IntN(4)), Until: until, Reason: "leaves late"}}
	case 4:
		s.Limits.FreeRemovals = rng.IntN(4)
	}
	return s
}
