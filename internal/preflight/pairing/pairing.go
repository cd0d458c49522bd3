// Package pairing holds the checks of what the first pass that writes (the first apply) would do.
// They check which groups feed which user groups, which accounts are matched with which users, and
// what the pass would change. They also check whether ClearML's own sign-in is configured in the
// same way as groupsync. They share one survey, which reads and decides as a pass does, and writes
// nothing.
package pairing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
	"groupsync/internal/target/clearml"
)

// Surveyor plans a pass and does not write.
type Surveyor interface {
	Survey(ctx context.Context) (reconcile.View, error)
}

// people has the requests to Keycloak about single people.
type people interface {
	LookUp(ctx context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error)
	GroupsOf(ctx context.Context, catalog source.Catalog, accounts []source.User, known []source.Federation) (map[string]source.OwnGroups, error)
}

// webApp reads the sign-in connections (to identity providers) that somebody made in ClearML's web
// application.
type webApp interface {
	Connections(ctx context.Context) ([]clearml.Connection, error)
}

// Options hold the settings that the checks compare with.
type Options struct {
	// Open returns the Surveyor of both sides. If groupsync could not read the guards' memory,
	// lost says why, and the survey then decides as a first pass would.
	Open func() (s Surveyor, lost string)

	URL, Realm string            // keycloak.url and keycloak.realm
	ClientID   string            // keycloak.clearml_client_id; empty: not known
	Claim      string            // groups.claim
	NeedsGroup clearmlenv.Switch // whether ClearML's variables say that people in no group cannot sign in
}

// surveyLimit is how long the survey may take. It reads as much as a pass.
const surveyLimit = 10 * time.Minute

// Checks returns the checks of this package. k asks Keycloak about single people, and c reads
// the connections of ClearML's web application. keycloak lists the names of the checks that
// must find no error before Keycloak can be read. clearml lists the same for ClearML. If one of
// these checks finds an error, the checks that depend on it are not made.
func Checks(o Options, k people, c webApp, keycloak, clearml []string) []preflight.Check {
	p := &pairing{Options: o, people: k, webApp: c}
	return []preflight.Check{
		{Name: "pairing-groups", After: slices.Concat(keycloak, clearml), Limit: surveyLimit, Run: p.groups},
		{Name: "pairing-near-misses", Run: p.surveyed(p.nearMisses)},
		{Name: "pairing-collisions", Run: p.surveyed(p.collisions)},
		{Name: "pairing-people", Run: p.surveyed(p.census)},
		{Name: "pairing-admins", Run: p.surveyed(p.admins)},
		{Name: "pairing-guards", Run: p.surveyed(p.guards)},
		{Name: "pairing-connection", After: clearml, Run: p.connection},
		{Name: "pairing-shut-out", Run: p.shutOut},
	}
}

// pairing holds the data that the checks share. It has no lock, because the checks run one
// after another.
type pairing struct {
	Options
	people
	webApp

	view       *reconcile.View // nil: there is no survey
	lost       string
	needsGroup clearmlenv.Switch // by the connections made in ClearML's web application: whether people who are in no group cannot sign in
}

// surveyed wraps a check that needs the survey. If there is no survey, the result is a warning that
// the check was not made.
func (p *pairing) surveyed(check func(context.Context) []preflight.Finding) func(context.Context) []preflight.Finding {
	return func(ctx context.Context) []preflight.Finding {
		if p.view == nil {
			return preflight.NotMade("pairing-groups", "it could not survey both sides", "see the check pairing-groups")
		}
		return check(ctx)
	}
}

func (p *pairing) survey(ctx context.Context) error {
	s, lost := p.Open()
	view, err := s.Survey(ctx)
	if err != nil {
		return err
	}
	p.view, p.lost = &view, lost
	return nil
}

// fewFeeds limits the names in the finding about the user groups that Keycloak groups feed. If there
// are more such user groups, the finding has only the numbers.
const fewFeeds = 10

func (p *pairing) groups(ctx context.Context) []preflight.Finding {
	if err := p.survey(ctx); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return []preflight.Finding{preflight.Unchecked(err, "find out why both sides answer slowly: a pass takes as long")}
		}
		return preflight.Refused(err, "correct this cause: a pass would fail for the same reason")
	}
	findings := []preflight.Finding{p.fed()}
	for _, left := range []struct {
		why, one, several, side, then string
		level                         preflight.Level
		advice                        string
	}{
		{match.NoTarget, "Keycloak group has", "Keycloak groups have", match.InKeycloak, "no ClearML group of the same name, so groupsync skips them", preflight.OK, ""},
		{match.NoSource, "ClearML group is", "ClearML groups are", match.InClearML, "fed by no Keycloak group, so groupsync leaves their members alone", preflight.OK, ""},
		{match.Excluded, "Keycloak group is", "Keycloak groups are", match.InKeycloak, "left out by groups.include and groups.exclude", preflight.OK, ""},
		{match.NotAssignable, "ClearML group has", "ClearML groups have", match.InClearML, "members that cannot be changed (assignable is false), so groupsync does not write them", preflight.Warning,
			"let the members be changed in ClearML, or leave the group out with groups.exclude"},
	} {
		if names := p.skipped(left.why, left.side); len(names) > 0 {
			findings = append(findings, preflight.Finding{Level: left.level, Advice: left.advice,
				Seen: fmt.Sprintf("%s %s: %s", report.Counted(len(names), left.one, left.several), left.then, preflight.Some(names))})
		}
	}
	return findings
}

// fed returns the finding that says which Keycloak groups feed which user groups.
func (p *pairing) fed() preflight.Finding {
	feeds := p.view.Pairing.Feeds
	if len(feeds) == 0 {
		return preflight.Warn("no Keycloak group feeds a ClearML group, so groupsync changes nothing",
			"make a ClearML group with the name of a Keycloak group, or set groups.mapping, and check groups.include")
	}
	sources := make(map[string]bool)
	var each []string
	for _, f := range feeds {
		var from []string
		for _, s := range f.Sources {
			sources[s.ID] = true
			from = append(from, report.Name(s.Path))
		}
		if f.Role != "" {
			from = append(from, "the role "+report.Name(f.Role))
		}
		each = append(each, report.Name(f.Group.Name)+" from "+preflight.Some(from))
	}
	seen := fmt.Sprintf("%s fed by %s", report.Counted(len(feeds), "ClearML group is", "ClearML groups are"), report.Counted(len(sources), "Keycloak group", "Keycloak groups"))
	if len(feeds) <= fewFeeds {
		seen += ": " + strings.Join(each, "; ")
	}
	return preflight.Fine(seen)[0]
}

// skipped returns the names of the groups of one side that groupsync skips for the reason why.
func (p *pairing) skipped(why, side string) (names []string) {
	for _, s := range p.view.Pairing.Skips {
		if s.Why == why && s.Side == side {
			names = append(names, report.Name(s.Name))
		}
	}
	return names
}

// named returns the email of a ClearML user, or the id if the user has no email.
func named(u target.User) string {
	if u.Email == "" {
		return report.Name(u.ID)
	}
	return report.Name(u.Email)
}
