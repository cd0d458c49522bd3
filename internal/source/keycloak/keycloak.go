// Package keycloak reads what a pass needs of a realm from a real Keycloak, and
// takes the second look that gives a removal its evidence.
//
// A reading is whole or it is an error: each answer must be JSON to its last
// byte, the list of groups must add up to the realm's own count, and the token
// must carry the roles without which Keycloak shows less and still answers 200
// (reference/keycloak-api.md, reference/keycloak-traps.md). Every error of Read
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

// Config says which realm is read, and as whom.
type Config struct {
	URL      string // of the server, with its path prefix if there is one
	Realm    string
	ClientID string // of the client whose service account reads

	// ClientSecret returns the client's secret; it is asked before every token,
	// so that a secret may rotate.
	ClientSecret func() (string, error)

	CAFile             string        // PEM file of further authorities
	InsecureSkipVerify bool          // accept any certificate
	Timeout            time.Duration // of one request, body included; 0 means transport.KeycloakTimeout
	Concurrency        int           // requests at a time; 0 means 8
	Trusted            []string      // names of federations whose silence means nothing

	Observe func(transport.Attempt) // told of every attempt; may be nil

	Transport http.RoundTripper // sends the requests in place of the network (transport.Options.Base); nil: the network

	// Progress is told how many reads of how many are done, each time that one of
	// several equal reads is. It is called by one goroutine at a time. It may be nil.
	Progress func(done, of int)

	Log *slog.Logger // may be nil
}

// Source reads one realm. It is safe for concurrent use.
type Source struct {
	config  Config
	cloak   *gocloak.GoCloak
	base    *url.URL
	tokens  tokens
	secrets *transport.Secrets // the client secrets and tokens that were used: no message shows them
	warned  sync.Once          // of composites that cannot be followed
	late    late
}

// New returns a Source for the configuration, or an error that says which key
// is wrong; it sends no request.
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

// counter returns a function that tells Progress of one more read of that many.
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
