package keycloak

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"

	"groupsync/internal/fault"
	"groupsync/internal/transport"
)

// token is one access token that carries the roles a reading needs.
type token struct {
	access string
	renew  time.Time // from when on it is not used for a new request
	roles  map[string]bool
}

// tokens hold the current one; the lock is held while a new one is fetched, so
// that however many requests need one, one is asked for.
type tokens struct {
	mu      sync.Mutex
	current *token
}

// token returns the current token, renewed where it is close to its end.
func (s *Source) token(ctx context.Context) (*token, error) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	if t := s.tokens.current; t != nil && time.Now().Before(t.renew) {
		return t, nil
	}
	return s.fetchToken(ctx)
}

// renew returns a token other than the one that was refused.
func (s *Source) renew(ctx context.Context, refused *token) (*token, error) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	if t := s.tokens.current; t != nil && t != refused {
		return t, nil
	}
	return s.fetchToken(ctx)
}

// fresh fetches a new token whatever the age of the current one: the roles are
// those of now only in a token of now.
func (s *Source) fresh(ctx context.Context) (*token, error) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	return s.fetchToken(ctx)
}

const signingIn = "signing in to Keycloak"

func (s *Source) fetchToken(ctx context.Context) (*token, error) {
	s.tokens.current = nil
	secret, err := s.config.ClientSecret()
	if err != nil {
		return nil, fault.New(fault.Keycloak, fault.Auth, "%s: reading the client secret: %w; check keycloak.client_secret_file", signingIn, err)
	}
	ctx = transport.WithCall(ctx, "token")
	asked := time.Now()
	// As form values: Keycloak's releases differ in how they decode Basic.
	resp, err := s.cloak.GetRequest(ctx).SetFormData(map[string]string{
		"grant_type": "client_credentials", "client_id": s.config.ClientID, "client_secret": secret,
	}).Post(s.address("realms", s.config.Realm, "protocol", "openid-connect", "token"))
	if err = s.broken(ctx, signingIn, resp, err); err != nil {
		return nil, err
	}
	if err := s.tokenRefusal(resp); err != nil {
		return nil, err
	}
	var grant struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := decode(signingIn, resp, &grant); err != nil {
		return nil, err
	}
	life := time.Duration(grant.ExpiresIn) * time.Second
	t := &token{access: grant.AccessToken, renew: asked.Add(life - min(life/4, 30*time.Second))}
	if t.roles, err = s.rolesOf(grant.AccessToken); err != nil {
		return nil, err
	}
	s.tokens.current = t
	return t, nil
}

func (s *Source) tokenRefusal(resp *resty.Response) error {
	switch code := resp.StatusCode(); {
	case code >= 200 && code <= 299:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusBadRequest:
		var why struct {
			Code string `json:"error"`
			Text string `json:"error_description"`
		}
		_ = json.Unmarshal(resp.Body(), &why) // without a reason the sentence still stands
		return fault.New(fault.Keycloak, fault.Auth, "%s: the realm %q refuses the client %q (%d %s: %s); check keycloak.client_id and the client secret, and that the client has service accounts enabled",
			signingIn, s.config.Realm, s.config.ClientID, code, why.Code, why.Text)
	case code == http.StatusNotFound:
		return fault.New(fault.Keycloak, fault.NotFound, "%s: there is no realm %q at %s (404); check keycloak.realm, and the path prefix in keycloak.url", signingIn, s.config.Realm, s.base)
	}
	return s.refusal(call{doing: signingIn, role: viewUsers}, resp)
}

// management is the client whose roles open the admin calls.
func (s *Source) management() string {
	if s.config.Realm == "master" {
		return "master-realm"
	}
	return "realm-management"
}

// rolesOf reads the roles that the token carries and refuses one that lacks
// what every reading needs: with less, Keycloak hides people behind a 200
// (reference/keycloak-traps.md). The signature is not looked at: the token came
// from its issuer just now.
func (s *Source) rolesOf(access string) (map[string]bool, error) {
	var claims struct {
		ResourceAccess map[string]struct {
			Roles []string `json:"roles"`
		} `json:"resource_access"`
	}
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return nil, fault.New(fault.Keycloak, fault.Shape, "%s: the access token is not a JWT, so its roles cannot be told; check the client %q", signingIn, s.config.ClientID)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		return nil, fault.New(fault.Keycloak, fault.Shape, "%s: the access token's claims cannot be read; check the client %q", signingIn, s.config.ClientID)
	}
	if len(claims.ResourceAccess) == 0 {
		return nil, fault.New(fault.Keycloak, fault.Forbidden,
			"%s: the access token carries no client roles; give the service account of the client %q the roles %s and %s of %s, and, where it has them, switch off \"Use lightweight access token\" and keep the client scope \"roles\"",
			signingIn, s.config.ClientID, viewUsers, viewRealm, s.management())
	}
	roles := make(map[string]bool)
	for _, r := range claims.ResourceAccess[s.management()].Roles {
		roles[r] = true
	}
	var missing []string
	for _, r := range []string{viewUsers, viewRealm} {
		if !roles[r] {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.Keycloak, fault.Forbidden,
			"%s: the access token lacks %s of %s, and with less Keycloak hides people without an error; give them to the service account of the client %q",
			signingIn, strings.Join(missing, " and "), s.management(), s.config.ClientID)
	}
	return roles, nil
}
