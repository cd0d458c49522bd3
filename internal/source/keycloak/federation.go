package keycloak

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// probeTimeout bounds a probe: a federation that hangs may never answer.
const probeTimeout = 10 * time.Second

// probe asks every federation for a name that nobody can have, all at once, and
// returns the answers in the federations' order. Only Keycloak's own 404 says
// that a federation answered; a real name would import that person, so none is
// ever asked for (reference/keycloak-traps.md).
func (s *Source) probe(ctx context.Context, federations []source.Federation) []source.Probe {
	probes := make([]source.Probe, len(federations))
	var wait sync.WaitGroup
	for i, f := range federations {
		wait.Go(func() {
			probes[i] = source.Probe{Federation: f, Detail: s.probeOne(ctx, f)}
			probes[i].Up = probes[i].Detail == ""
		})
	}
	wait.Wait()
	return probes
}

// probeOne returns why the federation is not up, or nothing.
func (s *Source) probeOne(ctx context.Context, f source.Federation) string {
	if !f.Enabled {
		return "it is switched off in Keycloak, or was deleted since the read"
	}
	limit := min(s.config.Timeout, probeTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := call{name: "probe", doing: "probing the federation " + f.Name, role: viewUsers, path: []string{"users", "f:" + f.ID + ":groupsync-probe-" + rand.Text()}}
	resp, err := s.send(ctx, c)
	switch {
	case isReason(err, fault.Timeout):
		return fmt.Sprintf("Keycloak had no answer from it within %s", limit)
	case err != nil:
		return err.Error()
	}
	var own struct {
		Error string `json:"error"`
	}
	if resp.StatusCode() == http.StatusNotFound && json.Unmarshal(resp.Body(), &own) == nil && own.Error != "" {
		return ""
	}
	return fmt.Sprintf("a lookup through it answered %d in place of 404", resp.StatusCode())
}

// awayError is a failed read, explained by what the federations answer.
type awayError struct {
	err    error
	probes []source.Probe
}

func (e *awayError) Error() string {
	for _, p := range e.probes {
		if !p.Up {
			return fmt.Sprintf("%v; the federation %s is not up (%s): look after it first", e.err, p.Federation.Name, p.Detail)
		}
	}
	return fmt.Sprintf("%v; every federation is up", e.err)
}

func (e *awayError) Unwrap() error { return e.err }

// Probes returns what each federation answered after the failure.
func (e *awayError) Probes() []source.Probe { return e.probes }

// mayBeAway tells the failures that a federation can be the cause of.
func mayBeAway(err error) bool { return isReason(err, fault.Timeout, fault.Server) }

// blame asks the federations after a failure that one of them may have caused.
func (s *Source) blame(ctx context.Context, err error, federations []source.Federation) error {
	if !mayBeAway(err) || len(federations) == 0 || ctx.Err() != nil {
		return err
	}
	away := &awayError{err: err, probes: s.probe(ctx, federations)}
	return fault.New(fault.Keycloak, fault.Of(err).Reason, "%w", away)
}

func allUp(probes []source.Probe) bool {
	return !slices.ContainsFunc(probes, func(p source.Probe) bool { return !p.Up })
}

// union is every federation that the look must probe, sorted by id. One that
// the reading had and the realm now lacks counts as switched off; one that is
// only remembered is probed, and its absence is judged elsewhere.
func union(read, now, known []source.Federation) []source.Federation {
	byID := make(map[string]source.Federation)
	for _, f := range known {
		f.Enabled = true
		byID[f.ID] = f
	}
	for _, f := range read {
		f.Enabled = false
		byID[f.ID] = f
	}
	for _, f := range now {
		byID[f.ID] = f
	}
	all := make([]source.Federation, 0, len(byID))
	for _, f := range byID {
		f.Name = cmp.Or(f.Name, f.ID)
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b source.Federation) int { return strings.Compare(a.ID, b.ID) })
	return all
}
