package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"groupsync/internal/config"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source/realmfile"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
	"groupsync/internal/transport"
	"groupsync/internal/wire"
)

// story is what the demo plays. It has the example realm, a ClearML stand-in and a reconciler
// between them, with the guards at their defaults. The people in the stand-in have the groups
// that their last login gave them.
type story struct {
	keycloak   *realmfile.Source
	clearml    *clearmltest.Server
	reconciler *reconcile.Reconciler
	record     func(report.Report)
	by         string // the person who approves
	out        io.Writer
	style      report.Style
}

// chapter is one thing that happens in Keycloak, and the pass after it.
type chapter struct {
	title   string
	happens func(*realmfile.Realm)
	approve bool // the pass has an approval, with the digest of the pass before it
}

var chapters = []chapter{
	{title: "ClearML has the groups of everybody's last login: nothing to do."},
	{
		title:   "A joiner: leslie is put into /data-science/vision, and need not log in again.",
		happens: func(r *realmfile.Realm) { join(r, "leslie", "/data-science/vision") },
	},
	{
		title: "A mover: ken leaves /platform for /data-science/nlp.",
		happens: func(r *realmfile.Realm) {
			leave(r, "ken", "/platform")
			join(r, "ken", "/data-science/nlp")
		},
	},
	{
		title:   "A leaver: dennis's account is disabled. He never logs in again, so no login removes him from his group.",
		happens: func(r *realmfile.Realm) { user(r, "dennis").Enabled = false },
	},
	{
		title: "A deletion: john's account is deleted.",
		happens: func(r *realmfile.Realm) {
			r.Users = slices.DeleteFunc(r.Users, func(u realmfile.User) bool { return u.Username == "john" })
		},
	},
	{
		title:   "An admin is demoted: barbara leaves /clearml-admins.",
		happens: func(r *realmfile.Realm) { leave(r, "barbara", "/clearml-admins") },
	},
	{
		title: "A mass removal: /data-science and all groups below it are emptied, perhaps by mistake. The guard stops the removals.",
		happens: func(r *realmfile.Realm) {
			for i := range r.Users {
				r.Users[i].Groups = slices.DeleteFunc(r.Users[i].Groups, func(g string) bool { return strings.HasPrefix(g, "/data-science") })
			}
		},
	},
	{title: "The removals were intended: a person approves exactly these removals by their digest.", approve: true},
}

// newStory starts the ClearML stand-in and returns the story at its beginning. The caller closes
// the stand-in.
func newStory(out io.Writer, log *slog.Logger, observe func(transport.Attempt), record func(report.Report)) (*story, error) {
	var export realmfile.Realm
	server, err := standIn(&export, clearmltest.Options{})
	if err != nil {
		return nil, err
	}
	target, err := clearml.New(clearml.Config{URL: server.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }, Observe: observe, Log: log})
	if err != nil {
		server.Close()
		return nil, err
	}
	c := config.Default()
	c.Admins.Groups = []string{"clearml-admins"}
	role := "clearml-admin"
	c.Admins.Role = &role
	rules, err := wire.Rules(c)
	if err != nil {
		server.Close()
		return nil, err
	}
	keycloak := realmfile.New(&export)
	return &story{
		keycloak: keycloak, clearml: server, out: out, record: record,
		reconciler: reconcile.New(keycloak, target, reconcile.Options{Name: "demo", Rules: rules, Limits: wire.Limits(c), Log: log}),
	}, nil
}

// populate fills the stand-in s from the realm r. Each person except karen gets a ClearML user, as
// after a login. The user groups get the members that the per-login sync would have written. The
// groups on-call and sales get no user group.
func populate(s *clearmltest.Server, r *realmfile.Realm) {
	members := map[string][]string{"data-science": nil, "nlp": nil, "vision": nil, "platform": nil}
	admins := []string{clearmltest.Self}
	for _, u := range r.Users {
		if u.ServiceAccount != "" || u.Username == "karen" { // karen has never logged in, so she is pending
			continue
		}
		id := "cm-" + u.Username
		s.AddUser(clearmltest.User{ID: id, Name: u.FirstName + " " + u.LastName, Email: u.Email, Role: "user",
			Providers: map[string]any{"keycloak": map[string]any{"sub": u.ID}}})
		for _, path := range u.Groups {
			leaf := path[strings.LastIndexByte(path, '/')+1:]
			if _, there := members[leaf]; there && u.Enabled {
				members[leaf] = append(members[leaf], id)
			}
		}
		if slices.Contains(u.Groups, "/clearml-admins") || slices.Contains(u.RealmRoles, "platform-lead") {
			admins = append(admins, id)
		}
	}
	s.AddUser(clearmltest.User{ID: "cm-local", Name: "Local Admin", Email: "local@example.com", Role: "admin", Providers: map[string]any{}})
	for _, name := range []string{"data-science", "nlp", "vision", "platform", "guests"} {
		s.AddTeam(name, members[name]...)
	}
	s.SetMembers("Admins", append(admins, "cm-local")...)
}

func user(r *realmfile.Realm, name string) *realmfile.User {
	i := slices.IndexFunc(r.Users, func(u realmfile.User) bool { return u.Username == name })
	return &r.Users[i]
}

func join(r *realmfile.Realm, name, group string) {
	u := user(r, name)
	u.Groups = append(u.Groups, group)
}

func leave(r *realmfile.Realm, name, group string) {
	u := user(r, name)
	u.Groups = slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return g == group })
}

// changesOf returns the report without the parts that repeat in every chapter: the skipped
// groups, the pending accounts and the kept members.
func changesOf(r report.Report) report.Report {
	r.Skipped = nil
	r.Groups = slices.Clone(r.Groups)
	for i := range r.Groups {
		r.Groups[i].Pending, r.Groups[i].Kept = nil, nil
	}
	return r
}

// play makes the passes of all chapters, and writes the title and the report of each.
func (s *story) play(ctx context.Context) error {
	digest := ""
	for i, c := range chapters {
		fmt.Fprintf(s.out, "\n%d. %s\n\n", i+1, c.title)
		if c.happens != nil {
			s.keycloak.Edit(c.happens)
		}
		req := reconcile.Request{Apply: true, MayWrite: wire.MayWrite(nil)}
		if c.approve {
			req.Approval = reconcile.Approval{Digest: digest, By: s.by}
			fmt.Fprintf(s.out, "$ groupsync --once --apply --approve %s\n", digest)
		}
		rep := s.reconciler.Pass(ctx, req)
		s.record(rep)
		if i > 0 {
			rep = changesOf(rep)
		}
		if err := report.Text(s.out, rep, s.style); err != nil {
			return err
		}
		if rep.Result == report.Error {
			return fmt.Errorf("the demo's pass %d failed: %s", i+1, rep.Errors[0].Text)
		}
		digest = rep.Digest
	}
	return nil
}
