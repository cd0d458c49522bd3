package reconcile

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

// adminStory makes passes with the real client over a ClearML in which the role admin and the
// group Admins are independent.
type adminStory struct {
	*world
	t       *testing.T
	clearml *clearmltest.Server
	rec     *Reconciler
}

func tellOfAdmins(t *testing.T, via match.Via, o clearmltest.Options, realm string, users ...clearmltest.User) *adminStory {
	t.Helper()
	s := &adminStory{world: newWorld(t, realm), t: t, clearml: clearmltest.New(t, o)}
	for _, u := range users {
		u.Email, u.Providers = u.ID+"@example.com", map[string]any{"keycloak": map[string]any{"sub": "kc-" + u.ID}}
		s.clearml.AddUser(u)
	}
	dir, err := clearml.New(clearml.Config{URL: s.clearml.URL, AdminRole: via != match.ViaGroup, RetryWait: time.Millisecond, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	s.rec = New(s.world, dir, Options{Name: "test", Limits: wide, Log: slog.New(slog.DiscardHandler),
		Rules: rules(t, func(o *match.Options) { o.AdminGroups, o.AdminVia = []string{"ops"}, via })})
	return s
}

// state returns the members of Admins, and the users with another role than user.
func (s *adminStory) state() string {
	var roles []string
	for _, u := range s.clearml.Users() {
		if u.Role != "user" && u.ID != clearmltest.Self {
			roles = append(roles, u.ID+" "+u.Role)
		}
	}
	return "Admins: " + strings.Join(s.clearml.Members("Admins"), " ") + "; roles: " + strings.Join(roles, ", ")
}

func (s *adminStory) pass(want string, lines_ ...string) report.Report {
	s.t.Helper()
	rep := s.rec.Pass(s.t.Context(), Request{MayWrite: leads, Apply: true})
	if d := cmp.Diff(append([]string{}, lines_...), lines(rep)); d != "" {
		s.t.Errorf("-want +got\n%s\ntrips %q, errors %v", d, trips(rep), rep.Errors)
	}
	if got := s.state(); got != want {
		s.t.Errorf("ClearML has %q\nwant %q", got, want)
	}
	return rep
}

func TestAdminsVia(t *testing.T) {
	const realm = "keycloak ann\nkeycloak bob\nkeycloak cid\n/ops: ann bob\n/team: cid"
	people := func(roles ...string) (users []clearmltest.User) {
		for i, id := range []string{"ann", "bob", "cid"} {
			users = append(users, clearmltest.User{ID: id, Name: id, Role: roles[i]})
		}
		return users
	}
	apart := clearmltest.Options{RolesApart: true}
	t.Run("role: the role is set and taken, and Admins is left alone", func(t *testing.T) {
		s := tellOfAdmins(t, match.ViaRole, apart, realm, people("user", "admin", "admin")...)
		s.clearml.SetMembers("Admins", "cid")
		rep := s.pass("Admins: cid; roles: ann admin, bob admin", "+ann@role admin applied", "-cid@role admin applied not_member", "=groupsync@role admin service_account")
		if rep.Result != report.Applied || len(rep.Guards)+len(rep.Errors) > 0 {
			t.Errorf("the result is %s, the trips %q, the errors %v", rep.Result, trips(rep), rep.Errors)
		}
		if rep = s.pass("Admins: cid; roles: ann admin, bob admin", "=groupsync@role admin service_account"); rep.AdminMismatch != 3 {
			t.Errorf("%d people have the role or the group alone, want 3 (ann, bob, cid)", rep.AdminMismatch)
		}
	})
	t.Run("both: the role and the group", func(t *testing.T) {
		s := tellOfAdmins(t, match.ViaBoth, apart, realm, people("user", "admin", "admin")...)
		s.clearml.SetMembers("Admins", "cid")
		const after = "Admins: ann bob; roles: ann admin, bob admin"
		s.pass(after, "+ann@Admins applied", "+bob@Admins applied", "-cid@Admins applied not_member", "+ann@role admin applied", "-cid@role admin applied not_member", "=groupsync@role admin service_account")
		if rep := s.pass(after, "=groupsync@role admin service_account"); rep.AdminMismatch != 0 || rep.Result != report.InSync {
			t.Errorf("%d people have the role or the group alone, the result is %s", rep.AdminMismatch, rep.Result)
		}
	})
	t.Run("both, on a server where the group gives the role: nothing trips", func(t *testing.T) {
		s := tellOfAdmins(t, match.ViaBoth, clearmltest.Options{}, realm, people("user", "user", "user")...)
		s.clearml.SetMembers("Admins", "bob", "cid")
		rep := s.rec.Pass(t.Context(), Request{MayWrite: leads, Apply: true})
		if len(rep.Guards)+len(rep.Errors) > 0 || !slices.Equal(s.clearml.Members("Admins"), []string{"ann", "bob"}) {
			t.Errorf("the trips are %q, the errors %v, the administrators %q", trips(rep), rep.Errors, s.clearml.Members("Admins"))
		}
		if rep = s.rec.Pass(t.Context(), Request{MayWrite: leads, Apply: true}); rep.Result != report.InSync {
			t.Errorf("the second pass: %s %q", rep.Result, lines(rep))
		}
	})
	t.Run("role: a role that is neither admin nor user stays, and is no drift", func(t *testing.T) {
		s := tellOfAdmins(t, match.ViaRole, apart, realm, people("annotator", "admin", "consumer")...)
		rep := s.pass("Admins: ; roles: ann annotator, bob admin, cid consumer", "=groupsync@role admin service_account")
		want := report.Skip{Name: "ann@example.com", Side: match.InClearML, Why: "is an administrator in Keycloak, and did not get the role admin. If the person needs that role, set it in ClearML, because groupsync does not change the role annotator"}
		if !slices.Contains(rep.Skipped, want) || rep.ExitCode() != 0 {
			t.Errorf("exit code %d, skipped %v", rep.ExitCode(), rep.Skipped)
		}
	})
	t.Run("role: ClearML takes the write and does not make it", func(t *testing.T) {
		s := tellOfAdmins(t, match.ViaRole, apart, realm, people("user", "admin", "user")...)
		s.clearml.MisbehaveWrites(clearmltest.Writes{Ignore: true})
		rep := s.pass("Admins: ; roles: bob admin", "+ann@role admin failed", "=groupsync@role admin service_account")
		const want = `after the write of "role admin" the read-back shows that 1 changes were not made, and that 0 members are missing who had to stay: look at the members in ClearML; look at the group in ClearML`
		if len(rep.Errors) != 1 || rep.Errors[0].Text != want {
			t.Errorf("the errors are %v", rep.Errors)
		}
	})
}
