package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/reconcile"
	"groupsync/internal/simulate/dir"
	"groupsync/internal/simulate/idp"
)

// joins is the kind of the event in which people join groups in Keycloak and sign in. This event
// happens while a refused write waits to be sent again.
const joins = "people join and sign in"

// event is a kind of thing that happens in the world, such as a login. weight says how often it
// happens in comparison with other kinds.
type event struct {
	kind   string
	weight int
	do     func(*world, *rand.Rand)

	// ofProcess is true if the event is about the processes of groupsync. Such an event happens at
	// its own time. The function script delays about half of the other events until a pass runs, so
	// that Keycloak and ClearML change while groupsync reads them.
	ofProcess bool
}

// events lists the kinds of events.
var events = []event{
	{"membership", 30, func(w *world, r *rand.Rand) {
		if a, g := pick(r, w.realm.IDs()), pick(r, w.realm.Groups()); a != "" {
			w.realm.Put(a, g, r.IntN(2) == 0)
		}
	}, false},
	{"role", 5, func(w *world, r *rand.Rand) {
		id := pick(r, w.realm.IDs())
		if r.IntN(2) == 0 { // not an account but a group gets or loses the role, and sometimes somebody joins that group
			id = pick(r, w.realm.Groups())
			if a := pick(r, w.realm.IDs()); r.IntN(2) == 0 {
				w.realm.Put(a, id, true)
			}
		}
		w.realm.GiveRole(id, []string{idp.Boss, idp.Chief}[r.IntN(2)], r.IntN(2) == 0)
	}, false},
	{"hidden holder", 1, func(w *world, r *rand.Rand) {
		// A login puts an account of an LDAP into Keycloak's user cache. Then the account joins
		// a group that gives the role of administrators. Neither the cache nor the member list
		// of the group shows that.
		account, group := w.realm.Hidden(r)
		user := w.login(account)
		if user == "" {
			return
		}
		w.realm.GiveRole(group, idp.Boss, true)
		w.realm.Put(account, group, true)
		w.directory.EditRole(user, 0)
	}, false},
	{"move", 10, func(w *world, r *rand.Rand) {
		a, groups := pick(r, w.realm.IDs()), w.realm.Groups()
		w.realm.Put(a, pick(r, groups), true)
		w.realm.Put(a, pick(r, groups), false)
	}, false},
	{"disable", 6, func(w *world, r *rand.Rand) { w.realm.Enable(pick(r, w.realm.IDs()), r.IntN(3) == 0) }, false},
	{"delete account", 4, func(w *world, r *rand.Rand) { w.realm.DeleteAccount(pick(r, w.realm.IDs())) }, false},
	{"import again", 5, func(w *world, r *rand.Rand) { w.realm.Reimport(pick(r, w.realm.IDs())) }, false},
	{"new account", 4, func(w *world, r *rand.Rand) {
		w.made++
		// Sometimes the email belonged to another person before.
		mail := email(r.IntN(w.People + 3))
		if w.taken(mail) && !w.realm.Duplicates {
			mail = email(100 + w.made)
		}
		a := w.realm.AddAccount(fmt.Sprint("late", w.made), mail, r.IntN(w.realm.Federations()+1)-1, false)
		w.realm.Put(a, pick(r, w.realm.Groups()), true)
	}, false},
	{"namesake", 1, func(w *world, r *rand.Rand) { // a second account with the email of another account, in no group
		if mail := w.realm.EmailOf(pick(r, w.realm.IDs())); mail != "" && w.realm.Duplicates {
			w.made++
			w.realm.AddAccount(fmt.Sprint("namesake", w.made), mail, -1, false)
		}
	}, false},
	{"email", 5, func(w *world, r *rand.Rand) { w.realm.SetEmail(pick(r, w.realm.IDs()), email(r.IntN(w.People+3))) }, false},
	{"rename group", 3, func(w *world, r *rand.Rand) {
		g, name := pick(r, w.realm.Groups()), words[r.IntN(len(words))]+[]string{"", "2", "-archive"}[r.IntN(3)]
		if !w.mayBeNamed(name) {
			return
		}
		w.realm.RenameGroup(g, name)
		if a := pick(r, w.realm.IDs()); r.IntN(2) == 0 { // somebody joins the group under its new name
			time.AfterFunc(time.Duration(r.IntN(1000))*time.Millisecond, func() { w.realm.Put(a, g, true) })
		}
	}, false},
	{"delete group", 1, func(w *world, r *rand.Rand) { w.realm.DeleteGroup(pick(r, w.realm.Groups())) }, false},
	{"new group", 2, func(w *world, r *rand.Rand) {
		name := words[r.IntN(len(words))]
		if !w.mayBeNamed(name) {
			return
		}
		g := w.realm.AddGroup(name, "", r.IntN(w.realm.Federations()+1)-1, idp.True)
		for _, a := range w.realm.IDs() {
			if r.IntN(3) == 0 {
				w.realm.Put(a, g, true)
			}
		}
	}, false},
	{"ldap", 8, func(w *world, r *rand.Rand) {
		if n := w.realm.Federations(); n > 0 {
			i, lasts := r.IntN(n), time.Duration(1+r.IntN(2000))*time.Second
			m := idp.Mode(1 + r.IntN(3))
			// If an LDAP shows nobody for the whole grace, groupsync rightly removes its people from
			// their user groups. So an LDAP is blind for half the grace at most.
			if g := w.base.Limits.Grace; m == idp.Blind && lasts > g/2 {
				lasts = g / 2
			}
			w.realm.SetMode(i, m)
			time.AfterFunc(lasts, func() { w.realm.SetMode(i, idp.Up) })
		}
	}, false},
	{"ldap switch", 2, func(w *world, r *rand.Rand) {
		if n := w.realm.Federations(); n > 0 {
			w.realm.Switch(r.IntN(n), r.IntN(2) == 0)
		}
	}, false},
	{"refresh", 3, func(w *world, _ *rand.Rand) { w.realm.Refresh() }, false},
	{"login", 15, func(w *world, r *rand.Rand) { w.login(pick(r, w.realm.IDs())) }, false},
	{joins, 0, func(w *world, r *rand.Rand) {
		for range 1 + r.IntN(3) {
			id := pick(r, w.realm.IDs())
			for _, g := range w.realm.Groups() {
				if r.IntN(2) == 0 {
					w.realm.Put(id, g, true)
				}
			}
			w.login(id)
		}
	}, false},
	{"edit", 12, func(w *world, r *rand.Rand) {
		w.directory.Edit(pick(r, w.directory.GroupIDs()), pick(r, w.directory.UserIDs()), r.IntN(2) == 0, "person")
	}, false},
	{"edit role", 4, func(w *world, r *rand.Rand) { w.directory.EditRole(pick(r, w.directory.UserIDs()), r.IntN(3)) }, false},
	{"tool", 5, func(w *world, r *rand.Rand) {
		g := pick(r, w.directory.GroupIDs())
		list := append(w.directory.Members(g), pick(r, w.directory.UserIDs()))
		time.AfterFunc(time.Duration(r.IntN(3000))*time.Millisecond, func() { w.directory.Replace(g, list) })
	}, false},
	{"rename user group", 2, func(w *world, r *rand.Rand) {
		w.directory.RenameGroup(pick(r, w.directory.GroupIDs()), w.base.claim(words[r.IntN(len(words))]))
	}, false},
	{"delete user group", 1, func(w *world, r *rand.Rand) { w.directory.DeleteGroup(pick(r, w.directory.GroupIDs())) }, false},
	{"new user group", 2, func(w *world, r *rand.Rand) { w.directory.AddGroup(w.base.claim(words[r.IntN(len(words))])) }, false},
	{"twin user", 1, func(w *world, r *rand.Rand) { // ClearML before 3.24.7 could have two users with one email
		if mail := w.directory.EmailOf(pick(r, w.directory.UserIDs())); mail != "" {
			w.made++
			w.directory.AddUser(dir.NewUser{Name: fmt.Sprint("twin", w.made), Email: mail, Keycloak: true})
		}
	}, false},
	{"delete user", 1, func(w *world, r *rand.Rand) { w.directory.DeleteUser(pick(r, w.directory.UserIDs())) }, false},
	{"cut lists", 4, func(w *world, r *rand.Rand) {
		w.directory.Cut(1+r.IntN(4), false)
		time.AfterFunc(time.Duration(1+r.IntN(4000))*time.Second, func() { w.directory.Cut(0, false) })
	}, false},
	{"suspend", 2, func(w *world, r *rand.Rand) {
		s, err := memory.NewSuspension(time.Now(), time.Duration(1+r.IntN(120))*time.Minute, "the model wants it", "somebody", r.IntN(2) == 0)
		if err == nil {
			w.disk.suspend(s)
			w.count("suspended")
		}
	}, true},
	{"approve", 4, func(w *world, _ *rand.Rand) { go w.approve() }, true},
	{"sync", 4, func(w *world, r *rand.Rand) {
		n := pick(r, w.living()) // the process may be a standby
		go func() { _, _ = w.ask(n, "", reconcile.Request{Early: true}) }()
	}, true},
	{"sync person", 4, func(w *world, r *rand.Rand) {
		id := pick(r, w.directory.UserIDs())
		go w.sync(id, reconcile.Request{})
	}, true},
	{"reload", 3, func(w *world, r *rand.Rand) {
		next := w.base.change(r)
		w.base = next
		for _, n := range w.living() {
			go func() { _ = n.reload(context.Background(), next) }()
		}
		w.count("reloaded")
	}, true},
	{"restart", 3, func(w *world, r *rand.Rand) { w.restart(r.IntN(2) == 0, false) }, true},
	{"forget", 1, func(w *world, r *rand.Rand) { w.restart(r.IntN(2) == 0, true) }, true},
	{"api away", 4, func(w *world, r *rand.Rand) {
		if w.lease != nil {
			name := w.lease.leader()
			w.lease.block(name, true)
			time.AfterFunc(time.Duration(5+r.IntN(60))*time.Second, func() { w.lease.block(name, false) })
			w.count("the Lease was out of reach")
			// Somebody asks the process for a pass after its Lease has ended. The process may not
			// have noticed the end.
			all := w.living()
			i := slices.IndexFunc(all, func(n *node) bool { return n.name == name })
			if i >= 0 && r.IntN(2) == 0 {
				n := all[i]
				time.AfterFunc(renewDeadline+time.Duration(r.IntN(20))*time.Second, func() { _, _ = w.ask(n, "", reconcile.Request{Early: true}) })
			}
		}
	}, true},
}

// writeWaits is called when the server has refused a write, which groupsync then sends again. In
// the meantime, writeWaits lets people join groups and sign in.
func (w *world) writeWaits() {
	if w.over.Load() || w.Off[joins] || w.Off["events"] {
		return
	}
	w.mu.Lock()
	w.waits++
	rng := w.rand(fmt.Sprint("a write waits ", w.waits))
	w.mu.Unlock()
	if rng.IntN(2) == 0 && !w.Focus[joins] {
		return
	}
	i := slices.IndexFunc(events, func(e event) bool { return e.kind == joins })
	e := events[i]
	time.AfterFunc(time.Duration(rng.IntN(900))*time.Millisecond, func() { w.happen(e, rng) })
}

// happen runs an event when no other event runs. It takes the lock turn for that, because events
// during a pass run in their own goroutines. The lock is a channel and no mutex, because virtual
// time stops while a goroutine waits for a mutex.
func (w *world) happen(e event, rng *rand.Rand) {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.over.Load() {
		return
	}
	if w.Trace != nil {
		fmt.Fprintf(w.Trace, "%s event %s\n", time.Now().Format("15:04:05.000"), e.kind)
	}
	e.do(w, rng)
	w.count("event " + e.kind)
}

// pick returns one of the elements, or the zero value if there are none.
func pick[T any](r *rand.Rand, all []T) (one T) {
	if len(all) == 0 {
		return one
	}
	return all[r.IntN(len(all))]
}

// mayBeNamed reports whether a group of Keycloak may get the name now. While a pass runs, the name
// must not contain the name of another group. The reason: for each group that feeds a user group,
// the pass asks Keycloak how many groups of an account have a name that contains this group's name.
// Keycloak would count the renamed group too (docs/simulation.md). With the flag -known every name
// is allowed.
func (w *world) mayBeNamed(name string) bool {
	return Known || w.running.Load() == 0 || !w.realm.NameContains(name)
}

// taken reports whether an account has the email already.
func (w *world) taken(mail string) bool { return w.realm.HasEmail(mail) }

// script lets events happen until the simulated hours (Scenario.Hours) are over. About half of the
// events about Keycloak and ClearML wait for the next pass, and happen while that pass runs.
func (w *world) script(begin time.Time) {
	rng := w.rand("script")
	if w.Off["events"] {
		time.Sleep(time.Until(begin.Add(time.Duration(w.Hours) * time.Hour)))
		return
	}
	var kinds []event
	for _, e := range events {
		weight := e.weight
		if w.Focus[e.kind] && e.kind != joins {
			weight += 60
		}
		for range weight {
			kinds = append(kinds, e)
		}
	}
	type due struct {
		at time.Duration
		event
		rng *rand.Rand
	}
	passes := int(time.Duration(w.Hours) * time.Hour / w.base.Every)
	var list []due
	for i := range passes * (1 + rng.IntN(4)) / 2 {
		own := w.rand(fmt.Sprint("event ", i))
		d := due{at: time.Duration(own.Int64N(int64(w.Hours) * int64(time.Hour))), event: kinds[own.IntN(len(kinds))], rng: own}
		d.at += time.Duration(i)*11*time.Nanosecond + 3 // so that no two events happen at the same instant
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b due) int { return int(a.at - b.at) })
	for _, d := range list {
		time.Sleep(time.Until(begin.Add(d.at)))
		if w.Off[d.kind] {
			continue
		}
		happen := func() { w.happen(d.event, d.rng) }
		if d.ofProcess || d.rng.IntN(2) == 0 {
			happen()
			continue
		}
		offset := time.Duration(d.rng.IntN(int(600 * time.Millisecond)))
		w.meanwhile(func() { time.AfterFunc(offset, happen) })
	}
	time.Sleep(time.Until(begin.Add(time.Duration(w.Hours) * time.Hour)))
}
