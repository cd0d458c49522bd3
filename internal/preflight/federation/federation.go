// Package federation holds the checks of the realm's user federations. One check is about their
// configuration. The other compares Keycloak's lists with the people's own side.
//
// A list is the member list of a group, or the list of holders of a role. The own side of a
// person is Keycloak's answer about the groups and roles of that one person. A login reads the
// own side.
package federation

import (
	"context"
	"slices"

	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/preflight/federation/trait"
	"groupsync/internal/preflight/reach"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/target"
)

// federationSource has the requests to Keycloak that the checks of the federations make.
type federationSource interface {
	// InspectFederations returns the configuration of the realm's federations.
	InspectFederations(ctx context.Context) (keycloak.FederationSettings, error)
	// ProbeFederations asks each federation about a name that nobody can have, and returns the
	// answers in the order of the federations.
	ProbeFederations(ctx context.Context, federations []source.Federation) []source.Probe
	Catalog(ctx context.Context) (source.Catalog, error)
	Read(ctx context.Context, catalog source.Catalog, selection source.Selection) (*source.Snapshot, error)
	LookUp(ctx context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error)
	Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error)
}

// federationTarget has the requests to ClearML that the checks of the federations make.
type federationTarget interface {
	UserGroups(ctx context.Context) ([]target.Group, error)
	Snapshot(ctx context.Context, groups []target.Group) (*target.Snapshot, error)
}

// Checks returns the two checks of the realm's user federations. keycloak lists the names of the
// checks that must find no error before Keycloak can be read. clearml lists the names of such
// checks for ClearML.
func Checks(src federationSource, tgt federationTarget, rules match.Rules, keycloak, clearml []string) []preflight.Check {
	f := &federations{source: src, target: tgt, rules: rules}
	return []preflight.Check{
		{Name: "federation", After: keycloak, Run: f.lint},
		{Name: "federation-lists", After: slices.Concat(clearml, keycloak), Run: f.measure},
	}
}

type federations struct {
	source federationSource
	target federationTarget
	rules  match.Rules

	read *both // nil: not read yet
}

// both holds what the checks have read of both sides: Keycloak's groups, ClearML's users and user
// groups, and which Keycloak group feeds which user group.
type both struct {
	target  *target.Snapshot
	catalog source.Catalog
	pairing match.Pairing
}

// pair reads both sides and finds out which Keycloak group feeds which user group. Only the first
// call reads; later calls return the same result. pair reads ClearML first, as a pass does.
func (f *federations) pair(ctx context.Context) (*both, error) {
	if f.read != nil {
		return f.read, nil
	}
	tgt, err := reach.Directory(ctx, f.target)
	if err != nil {
		return nil, err
	}
	catalog, err := f.source.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	pairing, err := match.Groups(catalog, tgt.Groups(), f.rules)
	if err != nil {
		return nil, err
	}
	f.read = &both{target: tgt, catalog: catalog, pairing: pairing}
	return f.read, nil
}

func (f *federations) lint(ctx context.Context) []preflight.Finding {
	settings, err := f.source.InspectFederations(ctx)
	if err != nil {
		return []preflight.Finding{preflight.Unchecked(err, uncheckedAdvice)}
	}
	if len(settings.Storages) == 0 {
		return preflight.Fine("the realm has no user federation")
	}
	// lists are the member lists of the groups that feed user groups. They stay nil if the realm or
	// ClearML cannot be read. The method Concerns of a trait then treats every group as a source, so
	// this check warns too often rather than too rarely. Another check reports the error.
	var lists []trait.List
	var catalog source.Catalog
	if sides, err := f.pair(ctx); err == nil {
		lists, catalog = append([]trait.List{}, trait.Lists(sides.pairing)...), sides.catalog
	}
	var findings []preflight.Finding
	for _, t := range trait.Of(settings, catalog) {
		if t.Concerns(lists) {
			findings = append(findings, t.Finding())
		}
	}
	if len(findings) > 0 {
		return findings
	}
	names := make([]string, len(settings.Storages))
	for i, s := range settings.Storages {
		names[i] = s.Name
	}
	return preflight.Fine("nothing in the configuration of " + preflight.These("federation", names) + " makes a list that feeds a ClearML group differ from what a login reads")
}
