package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

// share is what a report says about one person, group by group.
type share struct {
	Add, Remove map[string]report.Change // by user group id
	Kept        map[string]string        // reasons by user group id
	Pending     map[string]bool          // by user group id
}

func newShare() share {
	return share{Add: map[string]report.Change{}, Remove: map[string]report.Change{}, Kept: map[string]string{}, Pending: map[string]bool{}}
}

// add adds one group of a report: what it says about the ClearML user with that id, or about
// the account with that username.
func (s *share) add(g report.Group, user, username string) {
	for _, c := range g.Add {
		if c.ID == user {
			s.Add[g.ID] = c
		}
	}
	for _, c := range g.Remove {
		if c.ID == user {
			s.Remove[g.ID] = c
		}
	}
	for _, k := range g.Kept {
		if k.ID == user {
			s.Kept[g.ID] = k.Why
		}
	}
	if username != "" && slices.ContainsFunc(g.Pending, func(p report.Pending) bool { return p.Username == username }) {
		s.Pending[g.ID] = true
	}
}

// shareOf returns what a look says about the person.
func shareOf(v View, user, username string) share {
	s := newShare()
	for _, g := range v.Plan.Groups {
		s.add(groupReport(g), user, username)
	}
	return s
}

// shownOnly returns the names of the user groups from member lists that show the account
// wrongly. A look does not read these lists, because it reads only the lists of groups that
// the account's own side has.
func (w *world) shownOnly(name string) []string {
	var ids []string
	for path, names := range w.shows {
		if slices.Contains(names, name) {
			ids = append(ids, strings.ToLower(path[strings.LastIndex(path, "/")+1:]))
		}
	}
	return ids
}

// hangsOnShown reports whether a list that shows a person wrongly can decide who the user is.
// It can if ClearML keeps a text for the user that is an id only if other users have account
// ids of that form.
func (w *world) hangsOnShown(user string) bool {
	return len(w.shows) > 0 && slices.ContainsFunc(w.accounts[user].Providers["keycloak"], func(id string) bool {
		_, there := w.users[id]
		return !there && !source.IsAccountID(id) && !strings.HasPrefix(id, "2026-")
	})
}

// TestLawALookIsAPassCutToThePerson: for every user and account, a look says the same as the
// plan of a whole pass over the same state. It compares each change with its reason, evidence,
// doubt and guard, the members who stay and why, the pending people, and the state. The limits
// are wide, because a look cannot judge limits on a whole pass.
func TestLawALookIsAPassCutToThePerson(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		limits := wide
		limits.Grace, limits.GoneGrace = time.Hour, 2*time.Hour
		limits.Floor = rapid.IntRange(0, 3).Draw(rt, "floor")
		o := Options{Name: "test", Limits: limits, Rules: rules(t, func(o *match.Options) {
			adminsAndProtected(o)
			o.AdminVia = w.drawVia(rt)
			o.CaseInsensitive = rapid.Bool().Draw(rt, "case-insensitive")
			o.FullPath = rapid.Bool().Draw(rt, "full paths before")
		})}
		r, now := w.reconciler(t, limits, nil)
		r.Rules = o.Rules
		if rapid.Bool().Draw(rt, "there was a pass") {
			r.Pass(context.Background(), Request{MayWrite: leads})
			now.Time = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(rt, "half hours later")) * 30 * time.Minute)
			r.Rules = rules(t, func(o *match.Options) {
				*o = r.Rules.Options
				o.FullPath = o.FullPath && rapid.Bool().Draw(rt, "full paths now")
				if rapid.Bool().Draw(rt, "team excluded") {
					o.Exclude = []string{"team"}
				}
			})
		}
		if rapid.IntRange(0, 4).Draw(rt, "away") == 0 {
			w.away = map[string]string{"fed-corp": "it is away"}
			clear(w.shows)
		}
		full := r.Pass(context.Background(), Request{DryRun: true})
		if emptyRealm(full) {
			return
		}
		if len(full.Errors) > 0 {
			rt.Fatal(full.Errors)
		}
		for _, id := range slices.Sorted(maps.Keys(w.accounts)) {
			if w.hangsOnShown(id) {
				continue
			}
			v, err := r.Look(context.Background(), Subject{User: id})
			if err != nil {
				rt.Fatalf("%s: %v", id, err)
			}
			want := newShare()
			for _, g := range full.Groups {
				want.add(g, id, "")
			}
			if d := cmp.Diff(want, shareOf(v, id, "")); d != "" {
				rt.Fatalf("%s, -the pass +the look:\n%s\n%q", id, d, lines(full))
			}
			for _, p := range full.People {
				if p.ID == id && p.Side == match.InClearML && p.State != string(v.Person.State) {
					rt.Fatalf("%s is %q for the pass and %q for the look\n%q", id, p.State, v.Person.State, lines(full))
				}
			}
		}
		for _, id := range slices.Sorted(maps.Keys(w.users)) {
			if len(w.shows) > 0 && strings.HasPrefix(w.users[id].Email, "h@") {
				continue // a list that shows a person wrongly can decide whether the protected user has this account
			}
			v, err := r.Look(context.Background(), Subject{User: id})
			if err != nil || v.Person.User != nil {
				continue // one user, or several, could have the account
			}
			want := newShare()
			for _, g := range full.Groups {
				want.add(g, "", w.users[id].Username)
			}
			got := shareOf(v, "", w.users[id].Username)
			for group := range want.Pending {
				if !got.Pending[group] && slices.Contains(w.shownOnly(strings.TrimPrefix(id, "kc-")), strings.ToLower(strings.TrimPrefix(group, "cm-"))) {
					delete(want.Pending, group)
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				rt.Fatalf("%s, -the pass +the look:\n%s\n%q", id, d, lines(full))
			}
		}
	})
}

// TestLawALookAtAGroupIsAPassCutToTheGroup: for every ClearML group with a source, a look
// finds the same changes, pending people and kept members as a whole pass, with the same
// reasons. Two kinds of people are left out:
//   - Members who are in sync, but ambiguous because of a second account in another group. A
//     look at a group makes no look-up of a person without a proposed change.
//   - A pending account with the email of a protected user. If that user keeps the id of an
//     account in another group, only a pass reads that account, and no look-up of protected
//     people is made.
func TestLawALookAtAGroupIsAPassCutToTheGroup(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		limits := wide
		limits.Grace, limits.GoneGrace = time.Hour, 2*time.Hour
		r, now := w.reconciler(t, limits, adminsAndProtected)
		if rapid.Bool().Draw(rt, "there was a pass") {
			r.Pass(context.Background(), Request{MayWrite: leads})
			now.Time = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(rt, "half hours later")) * 30 * time.Minute)
		}
		full := r.Pass(context.Background(), Request{DryRun: true})
		if emptyRealm(full) || slices.ContainsFunc(slices.Collect(maps.Keys(w.accounts)), w.hangsOnShown) {
			return
		}
		for _, g := range full.Groups {
			v, err := r.Look(context.Background(), Subject{Group: g.ID})
			if err != nil {
				rt.Fatalf("%s: %v", g.Name, err)
			}
			i := slices.IndexFunc(v.Plan.Groups, func(p plan.Group) bool { return p.Feed.Group.ID == g.ID })
			got := groupReport(v.Plan.Groups[i])
			for _, r := range []*report.Group{&g, &got} {
				r.Kept = slices.DeleteFunc(r.Kept, func(k report.Kept) bool { return k.Why == "ambiguous" || k.Why == "rekeyed" })
				r.Pending = slices.DeleteFunc(r.Pending, func(p report.Pending) bool { return strings.HasPrefix(p.Email, "h@") })
			}
			if d := cmp.Diff(g, got); d != "" {
				rt.Fatalf("%s, -the pass +the look:\n%s\n%q", g.Name, d, lines(full))
			}
		}
	})
}
