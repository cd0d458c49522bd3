package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// story makes passes over a world, also with new Reconcilers that have other rules.
type story struct {
	*world
	t      *testing.T
	rec    *Reconciler
	limits guard.Limits
}

func tell(t *testing.T, text string, limits guard.Limits, options func(*match.Options)) *story {
	t.Helper()
	s := &story{world: newWorld(t, text), t: t, limits: limits}
	s.rec, _ = s.reconciler(t, limits, options)
	return s
}

// reload continues with other rules.
func (s *story) reload(options func(*match.Options)) {
	s.rec = s.rec.Reconfigured(s.world, directory{s.world}, Options{Name: "test", Rules: rules(s.t, options), Limits: s.limits, Now: s.rec.Now, Log: s.rec.Log})
}

// pass makes a pass that may write, and compares the lines of its report with want.
func (s *story) pass(when, digest string, want ...string) report.Report {
	s.t.Helper()
	rep := s.rec.Pass(s.t.Context(), Request{MayWrite: leads, Apply: true, Approval: Approval{Digest: digest, By: "grace"}})
	if d := cmp.Diff(append([]string{}, want...), lines(rep)); d != "" {
		s.t.Errorf("%s: -want +got\n%s\ntrips %q, errors %v", when, d, trips(rep), rep.Errors)
	}
	return rep
}

func adminsOf(groups ...string) func(*match.Options) {
	return func(o *match.Options) { o.AdminGroups = groups }
}

func mapped(claims ...string) func(*match.Options) {
	return func(o *match.Options) {
		o.Mapping = map[string][]string{}
		for _, c := range claims {
			o.Mapping[c] = []string{"team"}
		}
	}
}

// TestACollisionBearsOutNobody: a Keycloak group that only has the same name as an admin group makes
// nobody an administrator. This is true even if another source lists the person and the own
// side does not confirm that.
func TestACollisionBearsOutNobody(t *testing.T) {
	const realm = "both ann mal\nfederation corp\n/clearml-admins: ann\n/x:\n/x/clearml-admins: mal\n"
	t.Run("a list that shows too much", func(t *testing.T) {
		s := tell(t, realm+"ldap mal\n/ops-admins: ann\nshows /ops-admins: mal\nAdmins! = ann", wide, adminsOf("clearml-admins", "ops-admins"))
		s.pass("the pass", "")
	})
	t.Run("a holder of the role who does not hold it in effect", func(t *testing.T) {
		s := tell(t, realm+"role boss: mal\nAdmins! = ann", wide, func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"clearml-admins"}, "boss" })
		s.second = func(x *source.SecondLook) { x.Effective[source.Held{Account: "kc-mal", Role: "boss"}] = false }
		s.pass("the pass", "", "+mal@Admins withheld by confirm")
	})
	t.Run("somebody who leaves the other group between the two reads", func(t *testing.T) {
		s := tell(t, realm+"/ops-admins: ann mal\nAdmins! = ann", wide, adminsOf("clearml-admins", "ops-admins"))
		s.second = func(x *source.SecondLook) { x.Members["/ops-admins"] = []source.User{s.users["kc-ann"]} }
		s.pass("the pass", "", "+mal@Admins withheld by confirm")
	})
}

// TestADisagreementIsReadASecondTime: a login between the readings of ClearML's groups and
// users makes the two views of a group differ. Keycloak is read again too, because ClearML's
// groups must be read before Keycloak's members.
func TestADisagreementIsReadASecondTime(t *testing.T) {
	w := newWorld(t, "both ann bob\n/team: ann bob\nteam = ann bob")
	var order []string
	at := func(what string) { order = append(order, what) }
	d := &logging{directory: directory{w}, at: at, stale: 1}
	rec := New(recording{w, at}, d, Options{Name: "test", Rules: rules(t, nil), Limits: wide, Log: slog.New(slog.DiscardHandler)})
	if rep := rec.Pass(t.Context(), Request{}); rep.Result != report.InSync {
		t.Errorf("after a login between the readings: %s, %q", rep.Result, trips(rep))
	}
	if want := []string{"groups", "members", "groups", "members"}; !slices.Equal(order, want) {
		t.Errorf("the order is %q, want %q", order, want)
	}
	order, d.stale = nil, 2
	w.add(t, "team = ann")
	if rep := rec.Pass(t.Context(), Request{}); rep.Result != report.Guarded || !strings.HasPrefix(strings.Join(trips(rep), ""), "views team") {
		t.Errorf("a disagreement that stays: %s, %q", rep.Result, trips(rep))
	}
	if len(order) != 4 {
		t.Errorf("a disagreement that stays is read so: %q, want twice", order)
	}
}

// logging calls at when the groups are read. While stale is not 0, the users' own lists are
// empty.
type logging struct {
	directory
	at    func(string)
	stale int
}

func (l *logging) UserGroups(ctx context.Context) ([]target.Group, error) {
	l.at("groups")
	return l.directory.UserGroups(ctx)
}

func (l *logging) Snapshot(ctx context.Context, groups []target.Group) (*target.Snapshot, error) {
	if l.stale == 0 {
		return l.directory.Snapshot(ctx, groups)
	}
	l.stale--
	users := slices.Collect(maps.Values(l.accounts)) // without groups
	return target.NewSnapshot(target.Parts{Identity: target.Identity{User: l.self}, Groups: groups, Users: users})
}

// recording calls at when members are read.
type recording struct {
	*world
	at func(string)
}

func (r recording) Read(ctx context.Context, c source.Catalog, sel source.Selection) (*source.Snapshot, error) {
	r.at("members")
	return r.world.Read(ctx, c, sel)
}

// TestOneListShowsAndAnotherHides: the next login asks the own side for every group. So a
// grant does too, whichever list proposes it.
func TestOneListShowsAndAnotherHides(t *testing.T) {
	const realm = "both ann lea\nfederation corp\nldap lea\n/team: ann\nshows /team: lea\n/x:\n/x/team:\n"
	t.Run("the own side has the group whose list hides the person", func(t *testing.T) {
		s := tell(t, realm+"hides /x/team: lea\nteam = ann", wide, nil)
		s.pass("the pass", "", "+lea@team applied")
	})
	t.Run("the own side has neither", func(t *testing.T) {
		s := tell(t, realm+"team = ann", wide, nil)
		if rep := s.pass("the pass", ""); rep.Groups[0].OwnView.Shows != 1 || rep.Result != report.InSync {
			t.Errorf("the own view is %+v, the result %s", rep.Groups[0].OwnView, rep.Result)
		}
	})
}

// TestRulesAreAcceptedOnlyOnceTheyAreKnown: while a group is frozen, the effect of the new
// rules there is unknown.
func TestRulesAreAcceptedOnlyOnceTheyAreKnown(t *testing.T) {
	s := tell(t, "both ann bob eve\n/old-admins: ann bob\nAdmins! = ann bob", wide, adminsOf("old-admins"))
	s.pass("the rules are accepted", "")
	s.reload(adminsOf("new-admins"))
	s.pass("the configuration came before the group", "")
	s.add(t, "/new-admins: eve")
	s.pass("the group is there", "", "+eve@Admins applied", "-ann@Admins withheld not_member by scope", "-bob@Admins withheld not_member by scope")
	rep := s.pass("a pass later", "", "-ann@Admins withheld not_member by scope", "-bob@Admins withheld not_member by scope")
	s.pass("approved", rep.Digest, "-ann@Admins applied not_member", "-bob@Admins applied not_member")
	s.pass("afterwards", "")
}

// TestTheRulesBeforeAreHeldAgainstTheOwnSide: the member list of a source that the new rules
// no longer have hides two people. Under the earlier rules they were members nevertheless, so
// the guard `scope` withholds their removals.
func TestTheRulesBeforeAreHeldAgainstTheOwnSide(t *testing.T) {
	s := tell(t, "both ann lee lia\nfederation corp\nldap ann lee lia\nhides /dev: lee lia\n/dev:\n/ops: ann\nteam = ann lee lia", wide, mapped("dev", "ops"))
	s.pass("in sync", "")
	s.reload(mapped("ops"))
	s.pass("the mapping lost dev", "", "-lee@team withheld not_member by scope", "-lia@team withheld not_member by scope")
}

// TestAnApprovalAcceptsOnlyWhatItNames: the digest names only removals with evidence. A
// removal that had none when a person approved is not approved later either.
func TestAnApprovalAcceptsOnlyWhatItNames(t *testing.T) {
	s := tell(t, "both ann lee bob fay\nfederation corp\nldap lee fay\n/dev: bob fay\n/ops: ann lee\nteam = ann bob lee fay", wide, mapped("dev", "ops"))
	s.pass("in sync", "")
	s.away = map[string]string{"fed-corp": "500"}
	s.reload(mapped("dev"))
	rep := s.pass("LDAP is away", "", "-ann@team withheld not_member by scope", "-lee@team withheld not_member by federation")
	s.pass("approved", rep.Digest, "-ann@team applied not_member", "-lee@team withheld not_member by federation")
	s.away = nil
	s.pass("LDAP is back", "", "-lee@team withheld not_member by scope")
}

// TestAnApprovalExemptsOnlyWhatItNames: other additions of the pass count in the window.
func TestAnApprovalExemptsOnlyWhatItNames(t *testing.T) {
	limits := wide
	limits.MaxAdditions, limits.FreeRemovals, limits.MaxRatio = 2, 0, 0.1
	s := tell(t, "both a b c d g\n/team: a b\n/other:\nother = g\nteam =", limits, nil)
	digest := s.rec.Pass(t.Context(), Request{}).Digest
	s.pass("the removal is approved", digest, "-g@other applied not_member", "+a@team applied", "+b@team applied")
	s.add(t, "/team: a b c d")
	s.pass("two more are beyond the limit", "", "+c@team withheld by grants", "+d@team withheld by grants")
}

// TestWhatIsNoIDProvesNobodyGone: ClearML may keep a username in the place of an id.
func TestWhatIsNoIDProvesNobodyGone(t *testing.T) {
	limits := wide
	limits.GoneGrace = 24 * time.Hour
	s := tell(t, "keycloak ann email=ann.new@example.com\nkeycloak bob\nkeycloak cid\nclearml ann id=ann\nclearml bob id=bob\nclearml cid id=cid\n/team: ann bob cid\nteam = ann bob", limits, nil)
	s.pass("the email of ann changed, and cid joins", "", "+cid@team applied", "=ann@team renamed", "?ann@team")
	s.users["kc-ann"] = source.User{ID: "kc-ann", Username: "other", Email: "ann.new@example.com", Enabled: true}
	s.pass("her username too", "", "-ann@team withheld gone by grace", "?other@team")
}

// TestNobodyStaysAnAdministratorInSilence: if it is unclear which account an administrator has,
// the administrator is reported, even if a list hides the account that is a member.
func TestNobodyStaysAnAdministratorInSilence(t *testing.T) {
	for name, people := range map[string]string{
		"two accounts of one email": "keycloak ann ldap\nkeycloak ann2 email=ann@example.com disabled\nclearml ann\n",
		"a kept id that is gone":    "keycloak ann ldap\nclearml ann id=11111111-2222-3333-4444-555555555555\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, "duplicates\nfederation corp\n"+people+"both bob\n/adm: bob ann\nhides /adm: ann\nAdmins! = ann bob", wide, adminsOf("adm"))
			rep := s.rec.Pass(t.Context(), Request{MayWrite: leads, Apply: true})
			if rep.ExitCode() != 2 || len(rep.Guards) != 1 || rep.Guards[0].Guard != report.Ambiguity || len(rep.Groups[0].Kept) != 1 {
				t.Errorf("exit %d, trips %q, lines %q", rep.ExitCode(), trips(rep), lines(rep))
			}
		})
	}
}

// TestOneOddGroupEndsNoPass: ClearML lists a user twice in a group that nothing feeds.
func TestOneOddGroupEndsNoPass(t *testing.T) {
	s := tell(t, "both ann\n/team: ann\nteam =\nunrelated = zoe zoe", wide, nil)
	s.pass("the pass", "", "+ann@team applied")
}

// TestAServiceAccountStays: ClearML keeps the id of a service account, and its user is a
// member.
func TestAServiceAccountStays(t *testing.T) {
	s := tell(t, "both ann bot\n/team: ann bot\nteam = ann bot", wide, nil)
	bot := s.users["kc-bot"]
	bot.ServiceAccount = true
	s.users["kc-bot"] = bot
	s.pass("the pass", "", "=bot@team service_account")
}

// TestAFallHeals: if the group has a new id and the same people, the pass is accepted, and the
// next leaver is removed.
func TestAFallHeals(t *testing.T) {
	s := tell(t, "both ann bob cid\n/team: ann bob cid\nteam = ann bob cid", wide, nil)
	s.pass("accepted", "")
	s.ids["/team"] = "new-id"
	s.pass("a new id, the same people", "")
	s.groups["/team"] = []string{"ann", "bob"}
	s.pass("a leaver later", "", "-cid@team applied not_member")
}
