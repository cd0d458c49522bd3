// Package keycloak reads from a real Keycloak the part of a realm that a pass needs. It also
// takes the second look: after the plan is made, Confirm reads again and returns the evidence
// for each change.
//
// A probe looks up a name that no account can have, and so shows whether a federation answers. A
// federation that answers is up. A federation that does not answer is away. A doubt is a text
// that says why Keycloak's answers about a person prove nothing. A change of a person in doubt
// gets no evidence.
//
// A reading is complete, or it returns an error. Each answer must be complete JSON. The
// length of the list of groups must be the number that Keycloak counts. The token must carry
// the roles view-users and view-realm, because without them Keycloak shows less and still
// answers 200 (reference/keycloak-api.md, reference/keycloak-traps.md). Every error of Read
// and Confirm is a *fault.Error of the system keycloak.
package keycloak

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/Nerzal/gocloak/v13"
	"golang.org/x/sync/semaphore"

	"groupsync/internal/transport"
)

// Config says which realm a Source reads, and with which client.
type Config struct {
	URL      string // address of Keycloak, with its path prefix if it has one
	Realm    string
	ClientID string // of the client with which groupsync signs in; its service account does the reads

	// ClientSecret returns the client's secret. It is called before every token request, so
	// the secret may be rotated.
	ClientSecret func() (string, error)

	CAFile             string        // PEM file of additional certificate authorities
	InsecureSkipVerify bool          // accept any certificate
	Timeout            time.Duration // of one attempt of a request, body included; 0 means transport.KeycloakTimeout
	Concurrency        int           // most requests at the same time; 0 means 8
	Trusted            []string      // keycloak.trusted_federations: names of federations whose people are judged even if the federation is away

	Observe func(transport.Attempt) // called after every attempt; may be nil

	Transport http.RoundTripper // sends the requests instead of the network (transport.Options.Base); nil: the network is used

	// Progress is called after each read of a series, for example the member lists. done is
	// the number of finished reads, and of is the number of all reads in the series. Within a
	// series, calls do not overlap. Progress may be nil.
	Progress func(done, of int)

	Log *slog.Logger // may be nil
}

// Source reads one realm. It is safe for concurrent use.
type Source struct {
	config  Config
	cloak   *gocloak.GoCloak
	base    *url.URL
	tokens  tokens
	secrets *transport.Secrets // the client secrets and tokens that were used; messages mask them
	warned  sync.Once          // logs only once that groupsync cannot read the clients' roles
	late    late
}

// New returns a Source for the configuration, or an error that names the wrong key. New
// sends no request.
func New(c Config) (*Source, error) {
	base, err := transport.ServerURL(c.URL, "https://auth.example.com")
	if err != nil {
		return nil, fmt.Errorf("keycloak.url: %w", err)
	}
	switch {
	case c.Realm == "":
		return nil, errors.New("keycloak.realm is empty; name the realm whose groups are read")
	case c.ClientID == "":
		return nil, errors.New("keycloak.client_id is empty; name the client whose service account reads the realm")
	case c.ClientSecret == nil:
		return nil, errors.New("keycloak.client_secret is not set; set it, or keycloak.client_secret_file")
	}
	c.Timeout = cmp.Or(c.Timeout, transport.KeycloakTimeout)
	c.Concurrency = cmp.Or(c.Concurrency, 8)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Source{config: c, base: base, tokens: tokens{turn: semaphore.NewWeighted(1)}, secrets: new(transport.Secrets)}
	if s.cloak, err = newClient(c, base, s.secrets); err != nil {
		return nil, fmt.Errorf("keycloak: %w", err)
	}
	return s, nil
}

// counter returns a function that calls Config.Progress, if it is set. The caller must call the
// function after each read of a series. of is the number of reads in the series.
func (s *Source) counter(of int) func() {
	if s.config.Progress == nil {
		return func() {}
	}
	var mu sync.Mutex
	done := 0
	return func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		s.config.Progress(done, of)
	}
}
