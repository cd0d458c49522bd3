package keycloak

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// probeTimeout is the longest timeout of a probe, and of a request about one person. It is short,
// because a federation that hangs may never answer.
const probeTimeout = 10 * time.Second

// awayTimeout is the timeout of a request about one person while a federation is away. If an
// answer takes this long, groupsync probes the federations (see probeIfSlow).
const awayTimeout = 2 * time.Second

// probe looks up, in each of the federations, a name that no account can have. The look-ups
// run at the same time. probe returns the results in the order of the federations. Only Keycloak's
// own 404 shows that the federation answered. probe never uses a real name, because Keycloak would
// import that person (reference/keycloak-traps.md).
func (s *Source) probe(ctx context.Context, federations []source.Federation) []source.Probe {
	probes := make([]source.Probe, len(federations))
	var wait sync.WaitGroup
	for i, f := range federations {
		wait.Go(func() {
			detail := s.probeOne(ctx, f)
			f.Answered = f.Answered || detail == ""
			probes[i] = source.Probe{Federation: f, Detail: detail, Up: detail == "", Trusted: slices.Contains(s.config.Trusted, f.Name)}
		})
	}
	wait.Wait()
	return probes
}

// probeOne returns why the federation is not up, or "" if it is up. A federation that expects
// numbers as ids can fail on every other text. So if Keycloak answers 500 for a name, probeOne
// tries a number. If one of the two answers is 404, the federation is up.
func (s *Source) probeOne(ctx context.Context, f source.Federation) string {
	if !f.Enabled {
		return "it is switched off in Keycloak, or was deleted since the read"
	}
	detail, failed := s.probeFor(ctx, f, "groupsync-probe-"+rand.Text())
	if failed {
		if second, _ := s.probeFor(ctx, f, strconv.FormatUint(mathrand.Uint64N(9e8)+1e9, 10)); second == "" { // #nosec G404 -- the number is no secret; no account has it
			return ""
		}
	}
	return detail
}

// probeFor looks up one name in the federation. detail is "" if the answer shows that the
// federation is up. In all other cases, detail says what happened. failed reports that Keycloak
// answered 500.
func (s *Source) probeFor(ctx context.Context, f source.Federation, name string) (detail string, failed bool) {
	limit := min(s.config.Timeout, probeTimeout)
	ctx = withLimit(ctx, limit)
	c := call{name: "probe", doing: "probing the federation " + f.Name, role: viewUsers, path: []string{"users", "f:" + f.ID + ":" + name}}
	resp, err := s.send(ctx, c)
	switch {
	case isReason(err, fault.Timeout):
		return fmt.Sprintf("Keycloak did not answer the probe within %s", limit), false
	case err != nil:
		return err.Error(), false
	}
	var own struct {
		Error string `json:"error"`
	}
	if resp.StatusCode() == http.StatusNotFound && json.Unmarshal(resp.Body(), &own) == nil && own.Error != "" {
		return "", false
	}
	return fmt.Sprintf("the probe got %d instead of a 404 from Keycloak itself", resp.StatusCode()), resp.StatusCode() == http.StatusInternalServerError
}

// awayError is the error of a read that failed, with the probes of the federations after the
// failure.
type awayError struct {
	err    error
	probes []source.Probe
}

func (e *awayError) Error() string {
	for _, p := range e.probes {
		if !p.Up {
			return fmt.Sprintf("%v; the federation %s is not up (%s). Repair the federation first", e.err, p.Federation.Name, p.Detail)
		}
	}
	return fmt.Sprintf("%v; every federation is up", e.err)
}

func (e *awayError) Unwrap() error { return e.err }

// Probes returns the probe of each federation after the failure.
func (e *awayError) Probes() []source.Probe { return e.probes }

// mayBeAway reports whether a federation that is away can be the cause of the error: Keycloak did
// not answer in time, or answered with a server error.
func mayBeAway(err error) bool { return isReason(err, fault.Timeout, fault.Server) }

// blame returns the error of a read with more detail. If a federation may be the cause, blame
// probes the enabled federations, and adds to the error which federation is not up.
func (s *Source) blame(ctx context.Context, err error, federations []source.Federation) error {
	federations = slices.DeleteFunc(slices.Clone(federations), func(f source.Federation) bool { return !f.Enabled })
	if !mayBeAway(err) || len(federations) == 0 || ctx.Err() != nil {
		return err
	}
	away := &awayError{err: err, probes: s.probe(ctx, federations)}
	return fault.New(fault.Keycloak, fault.Of(err).Reason, "%w", away)
}

// union returns every federation that a look-up must consider, sorted by id. read are the
// federations of the pass's catalog, now are those that the realm has at this moment, and known
// are those of earlier passes. A federation in read and not in now is marked as vanished and not
// enabled, so it counts as not up. A federation only in known was deleted before this pass. It is
// marked as enabled and so it is probed. Keycloak answers 404, so the federation counts as up, and
// its people count as gone. In each user group whose last accepted pass had the federation, the
// guard "fall" withholds the removals of these people.
func union(read, now, known []source.Federation) []source.Federation {
	byID := make(map[string]source.Federation)
	answered := make(map[string]bool)
	for _, f := range known {
		answered[f.ID] = f.Answered
		f.Enabled = true
		byID[f.ID] = f
	}
	for _, f := range read {
		f.Enabled, f.Vanished = false, true
		byID[f.ID] = f
	}
	for _, f := range now {
		byID[f.ID] = f
	}
	all := make([]source.Federation, 0, len(byID))
	for _, f := range byID {
		f.Name = cmp.Or(f.Name, f.ID)
		f.Answered = answered[f.ID]
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b source.Federation) int { return strings.Compare(a.ID, b.ID) })
	return all
}
