package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// RestoreError says why nothing in the report of a pass can be restored.
type RestoreError struct{ text string }

func (e *RestoreError) Error() string { return e.text }

// Restoration is what a restore found and did.
type Restoration struct {
	Report report.Report // Report.Restores is the id of the earlier pass; Report.Skipped has the changes that were not undone, and why
	Redone int           // how many changes of Report the next pass will reverse, unless Keycloak changes
}

// Restore undoes what an earlier pass did: it adds the people whom that pass removed, and
// removes those whom it added. past is the report of that pass. Like a pass, Restore reads
// both sides whole, applies the guards to its plan, and writes with the same code.
//
// Restore also undoes a change whose write failed, if ClearML now shows that the change was
// made.
//
// Restore leaves out memberships that have changed since, and people whom a pass must not
// change. It adds a person only if exactly one Keycloak account is certainly that person's,
// and two looks find the account enabled. It removes nobody whom a pass must not remove
// (match.State.Removable), for example people who are protected or local, and nobody whom an
// exception keeps.
//
// If the returned error is not nil, it is a *RestoreError, and nothing was read. All other
// errors are in the report.
func (r *Reconciler) Restore(ctx context.Context, past report.Report, req Request) (Restoration, error) {
	if err := r.restorable(past); err != nil {
		return Restoration{}, err
	}
	p := r.begin(req)
	r = r.asOf(p.report.Started)
	p.log = p.log.With("scope", "restore", "restores", past.Pass)
	p.report.Restores = past.Pass
	redone, err := r.runRestore(target.WithPass(ctx, p.report.Pass), p, past)
	if err != nil {
		p.fail(err)
	}
	return Restoration{r.end(p), redone}, nil
}

// restorable returns a *RestoreError that says why nothing in a report can be restored, or
// nil.
func (r *Reconciler) restorable(past report.Report) error {
	switch {
	case past.Pass == "":
		return &RestoreError{"the report names no pass, so nothing was restored: give the JSON report of a pass"}
	case past.Sync != r.Name:
		return &RestoreError{fmt.Sprintf("the report is of the sync %s, and this configuration is of the sync %s: nothing was restored", report.Name(past.Sync), report.Name(r.Name))}
	case !past.MayHaveChanged():
		return &RestoreError{fmt.Sprintf("the report of pass %s shows no change that was made or may have been made", report.Name(past.Pass))}
	}
	return nil
}

// runRestore does for a restore what run does for a pass.
func (r *Reconciler) runRestore(ctx context.Context, p *pass, past report.Report) (redone int, err error) {
	err = r.locked(p, func(mem memory.Memory) error {
		began := r.Now()
		u, err := r.undo(ctx, past, mem)
		if err != nil {
			return err
		}
		suspended, err := r.suspension(ctx)
		if err != nil {
			return err
		}
		in := guard.Input{Source: u.src, Target: u.tgt, Probes: u.probes, Limits: r.Limits, Memory: u.mem, Now: r.Now(), Approve: p.request.Approval.Digest, Suspended: suspended}
		judged := guard.Judge(u.draft.Restoring(u.changes), in)
		p.foundRestored(decision{in: in, pairing: u.pairing, people: u.people, judged: judged}, u.left)
		redone = u.redone()
		if !p.request.Apply {
			return nil
		}
		return r.write(ctx, p, began, judged.Intended(mem.Settled(u.tgt.Member), in), judged.Cleared)
	})
	if err != nil {
		return 0, err
	}
	return redone, nil
}

// foundRestored puts what a restore decided into the report. left has the changes that are not
// undone. Parts of the report that are only about a whole pass are emptied.
func (p *pass) foundRestored(d decision, left []report.Skip) {
	p.found(d)
	r := &p.report
	r.Groups = slices.DeleteFunc(r.Groups, func(g report.Group) bool { return len(g.Add)+len(g.Remove) == 0 })
	for i := range r.Groups {
		r.Groups[i].Kept, r.Groups[i].Pending = []report.Kept{}, []report.Pending{}
	}
	r.People, r.Skipped, r.Users, r.AdminMismatch = []report.Person{}, left, map[string]int{}, 0
}

// restoring holds the changes that undo an earlier pass, and the readings for them.
type restoring struct {
	src     *source.Snapshot
	tgt     *target.Snapshot
	mem     memory.Memory
	pairing match.Pairing
	people  match.People
	draft   plan.Plan                // the plan that a pass would make now
	changes map[string][]plan.Change // by id of the user group
	probes  []source.Probe           // made during the second look
	left    []report.Skip
}

// undo reads both sides and decides which changes of the earlier pass can be undone. It looks
// up the people of that pass who were not read. It takes a second look at the people to add
// (confirm).
func (r *Reconciler) undo(ctx context.Context, past report.Report, mem memory.Memory) (*restoring, error) {
	mem = mem.Resumed(r.Now())
	rules := r.remembered(mem)
	tgt, src, err := r.read(ctx, rules)
	if err != nil {
		return nil, err
	}
	u := &restoring{tgt: tgt, mem: mem.Settled(tgt.Member), changes: make(map[string][]plan.Change), left: []report.Skip{}}
	pairs, err := rules(src.Catalog(), tgt.Groups())
	if err != nil {
		return nil, err
	}
	u.pairing = pairs.now
	if u.src, u.people, u.draft, err = r.plan(ctx, src, tgt, pairs.now, mem, nil); err != nil {
		return nil, err
	}
	if asks := u.lookUps(past); len(asks) > 0 {
		if u.src, err = r.lookUp(ctx, u.src, asks, mem); err != nil {
			return nil, err
		}
		u.people = match.Who(u.src, tgt, r.Rules)
		u.draft = plan.Make(u.src, tgt, pairs.now, u.people)
	}
	for _, g := range past.Groups {
		u.group(past.Pass, g)
	}
	if err := r.confirm(ctx, u); err != nil {
		return nil, err
	}
	slices.SortFunc(u.left, func(a, b report.Skip) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Why, b.Why))
	})
	return u, nil
}

// lookUps returns the look-ups that must be made before the people of the earlier pass are
// judged, sorted by key.
func (u *restoring) lookUps(past report.Report) []source.Person {
	asks := make(map[string]source.Person)
	for _, g := range past.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			if i, known := u.tgt.UserIndex(c.ID); known && c.MayBeMade() {
				if ask := u.people.Person(i).Ask; ask.Key != "" {
					asks[ask.Key] = ask
				}
			}
		}
	}
	var list []source.Person
	for _, ask := range asks {
		list = append(list, ask)
	}
	slices.SortFunc(list, func(a, b source.Person) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// confirm takes the second look at the account of each person to add. It leaves out each
// person whose account is not certainly enabled. The first look is not enough: while LDAP is
// not reachable, Keycloak returns its own copy of an account. The second look probes the
// account's federation before and after.
//
// confirm asks whether the account is disabled, as for a removal. For that question the second
// look reads only the account, and no group.
func (r *Reconciler) confirm(ctx context.Context, u *restoring) error {
	var questions []source.Question
	asked := make(map[string]bool)
	for _, at := range slices.Sorted(maps.Keys(u.changes)) {
		for _, c := range u.changes[at] {
			if !c.Grant() || asked[c.User.ID] {
				continue
			}
			asked[c.User.ID] = true
			account := c.Accounts[0] // grantable has checked that there is exactly one account
			account.Enabled = false
			questions = append(questions, source.Question{User: c.User.ID, Accounts: []source.User{account}})
		}
	}
	r.Step("taking the second look")
	confirmation, err := r.source.Confirm(ctx, u.src, questions, known(u.mem))
	if err != nil {
		return fmt.Errorf("confirming who is enabled: %w", err)
	}
	u.probes = confirmation.Probes
	doubts := make(map[string]string)
	for i, a := range confirmation.Answers {
		switch {
		case !a.For("", questions[i].User, false):
			return errors.New("the second look answers for another person, so nothing was restored: report this as a fault in groupsync")
		case a.Evidence.Valid():
			doubts[questions[i].User] = "the second look finds the person's account in Keycloak disabled"
		case !a.Enabled:
			doubts[questions[i].User] = a.Doubt
		}
	}
	for _, g := range u.draft.Groups {
		id := g.Feed.Group.ID
		u.changes[id] = slices.DeleteFunc(u.changes[id], func(c plan.Change) bool {
			why := doubts[c.User.ID]
			if !c.Grant() || why == "" {
				return false
			}
			u.leave(c.User.ID, c.User.Name, c.User.Email, g.Feed.Group.Name, errors.New(why))
			return true
		})
	}
	return nil
}

// leave records that one change is not undone, and why.
func (u *restoring) leave(id, name, email, group string, why error) {
	u.left = append(u.left, report.Skip{Name: cmp.Or(email, name, id), Side: match.InClearML, Why: fmt.Sprintf("was not restored in the group %q: %v", group, why)})
}

// redone returns how many changes of the restore the next pass will reverse, unless Keycloak
// changes. The plan of a pass follows Keycloak. So if that plan does not propose a change of the
// restore now, it will propose the opposite after the restore.
func (u *restoring) redone() (n int) {
	for _, g := range u.draft.Groups {
		wanted := slices.Concat(g.Add, g.Remove)
		for _, c := range u.changes[g.Feed.Group.ID] {
			if !slices.ContainsFunc(wanted, func(x plan.Change) bool { return x.Action == c.Action && x.User.ID == c.User.ID }) {
				n++
			}
		}
	}
	return n
}

// group collects the changes that undo what the earlier pass did to one user group. pass is
// the id of the earlier pass, and past is its report of the group.
func (u *restoring) group(pass string, past report.Group) {
	at := slices.IndexFunc(u.draft.Groups, func(g plan.Group) bool { return g.Feed.Group.ID == past.ID })
	for _, side := range []struct {
		made []report.Change
		now  plan.Action
	}{{past.Add, plan.Remove}, {past.Remove, plan.Add}} {
		for _, c := range side.made {
			if !c.MayBeMade() {
				continue
			}
			err := errors.New("groupsync does not manage the group now")
			var change plan.Change
			if at >= 0 {
				change, err = u.change(u.draft.Groups[at], c, side.now)
			}
			if err != nil {
				u.leave(c.ID, c.Name, c.Email, past.Name, err)
				continue
			}
			change.Evidence = source.Recorded(pass, past.ID, c.ID, change.Grant(), c.Outcome == report.Failed)
			u.changes[past.ID] = append(u.changes[past.ID], change)
		}
	}
}

// change returns the change that undoes past, one change of the earlier pass. action is the
// action of the returned change. If past must not be undone, the error says why.
func (u *restoring) change(g plan.Group, past report.Change, action plan.Action) (plan.Change, error) {
	i, known := u.tgt.UserIndex(past.ID)
	is := slices.ContainsFunc(g.Feed.Group.Members, func(m target.Member) bool { return m.ID == past.ID })
	switch {
	case !known:
		return plan.Change{}, errors.New("ClearML no longer has the user")
	case g.Frozen():
		return plan.Change{}, errors.New("a source of the group is missing or cannot be read, so the group is frozen")
	case is == (action == plan.Add) && past.Outcome == report.Failed:
		return plan.Change{}, errors.New("the change was not made, or somebody has undone it since")
	case is == (action == plan.Add):
		return plan.Change{}, errors.New("this has changed since: ClearML already shows what a restore would write")
	}
	person := u.people.Person(i)
	change := plan.Change{User: u.tgt.Users()[i], Action: action, Match: person.Match, State: person.State}
	for _, a := range person.Accounts {
		change.Accounts = append(change.Accounts, u.src.Users()[a])
	}
	_, excepted := u.people.Exception(i, g.Feed.Group)
	switch {
	case action == plan.Add && g.Feed.Group.Role != "" && change.User.Role != target.RoleUser:
		return change, fmt.Errorf("groupsync does not change %s", roleText(change.User))
	case action == plan.Add:
		return change, grantable(person, change.Accounts)
	case action == plan.Remove && excepted:
		return change, errors.New("an exception of users.protect keeps the person in the group")
	case !person.State.Removable():
		return change, fmt.Errorf("groupsync removes nobody in the state %s", person.State)
	}
	return change, nil
}

// grantable returns nil if the person may get a grant, or an error that says why not. A grant
// needs exactly one account that is certainly the person's and is enabled.
func grantable(p match.Person, accounts []source.User) error {
	switch {
	case p.EmailOnly() && len(accounts) == 1:
		return errors.New("ClearML knows the person by an email only, and another account may have the email; the person's next login gives the group")
	case p.State != match.Matched || !p.Sure || len(accounts) != 1:
		return fmt.Errorf("groupsync grants nothing to a person without one certain Keycloak account (%s)", p.State)
	case !accounts[0].Enabled:
		return errors.New("the person's account in Keycloak is disabled")
	}
	return nil
}
