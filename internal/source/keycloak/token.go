package keycloak

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"
	"golang.org/x/sync/semaphore"

	"groupsync/internal/fault"
	"groupsync/internal/transport"
)

// token is one access token that carries the roles that a reading needs.
type token struct {
	access string
	renew  time.Time       // from this time on, no new request uses the token
	roles  map[string]bool // the roles of the management client (see management), by name
}

// tokens holds the current token. A goroutine holds the semaphore turn while it uses the
// other fields, also while it fetches a new token. In this way, all requests that wait for a
// token cause only one token request. turn is not a mutex, because a goroutine that waits for a
// mutex does not stop when its context ends.
type tokens struct {
	turn    *semaphore.Weighted
	current *token
	method  method // the method that the next sign-in tries first; empty: post
}

// takeTurn waits until no other goroutine uses the tokens. The caller must call release.
func (s *Source) takeTurn(ctx context.Context) (release func(), err error) {
	if err := s.tokens.turn.Acquire(ctx, 1); err != nil {
		return nil, fault.New(fault.Keycloak, fault.OfNetwork(err), "%s: given up: %w", signingIn, context.Cause(ctx))
	}
	return func() { s.tokens.turn.Release(1) }, nil
}

// token returns the current token. It fetches a new one if the current one is about to
// expire.
func (s *Source) token(ctx context.Context) (*token, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if t := s.tokens.current; t != nil && time.Now().Before(t.renew) {
		return t, nil
	}
	return s.fetchToken(ctx)
}

// renew returns another token than the refused one. If another goroutine has fetched a token
// since, renew returns that token. If not, renew fetches a token.
func (s *Source) renew(ctx context.Context, refused *token) (*token, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if t := s.tokens.current; t != nil && t != refused {
		return t, nil
	}
	return s.fetchToken(ctx)
}

// fresh always fetches a new token. Only a new token shows the roles that the service account
// has now.
func (s *Source) fresh(ctx context.Context) (*token, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.fetchToken(ctx)
}

const signingIn = "signing in to Keycloak"

func (s *Source) fetchToken(ctx context.Context) (*token, error) {
	g, err := s.fetchGrant(ctx)
	if err != nil {
		return nil, err
	}
	t := &token{access: g.access, renew: g.asked.Add(g.life - min(g.life/4, 30*time.Second))}
	if t.roles, err = s.rolesOf(g.claims); err != nil {
		return nil, err
	}
	s.tokens.current = t
	return t, nil
}

// issued is an access token as Keycloak issued it, with or without the needed roles.
type issued struct {
	access string
	asked  time.Time
	life   time.Duration
	claims claims
}

// fetchGrant signs in and returns the token, whatever its roles are. It forgets the current token.
// The caller must hold tokens.turn.
func (s *Source) fetchGrant(ctx context.Context) (issued, error) {
	s.tokens.current = nil
	secret, err := s.config.ClientSecret()
	if err != nil {
		return issued{}, fault.New(fault.Keycloak, fault.Auth, "%s: reading the client secret: %w; check keycloak.client_secret_file", signingIn, err)
	}
	s.secrets.Add(secret)
	g := issued{asked: time.Now()}
	resp, err := s.signIn(ctx, secret)
	if err != nil {
		return issued{}, err
	}
	if err := s.tokenRefusal(resp); err != nil {
		return issued{}, err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := s.decode(signingIn, resp, &answer); err != nil {
		return issued{}, err
	}
	s.secrets.Add(answer.AccessToken)
	g.access, g.life = answer.AccessToken, time.Duration(answer.ExpiresIn)*time.Second
	g.claims, err = s.claimsOf(g.access)
	return g, err
}

// method is a way to send the client secret (RFC 6749, section 2.3.1). The value is the name
// of the method in the discovery document.
type method string

const (
	post  method = "client_secret_post"  // as form values; the default, because releases of Keycloak decode Basic differently
	basic method = "client_secret_basic" // in the header Authorization; a client of the realm can be set to accept only this method
)

// signIn requests a token with the method that worked last. If Keycloak refuses the client
// and offers the other method, signIn tries that method once.
func (s *Source) signIn(ctx context.Context, secret string) (*resty.Response, error) {
	first, other := post, basic
	if s.tokens.method == basic {
		first, other = basic, post
	}
	refusal, err := s.signInBy(ctx, first, secret)
	if err != nil || !isClientRefused(refusal) || !s.offers(ctx, other) {
		return refusal, err
	}
	second, err := s.signInBy(ctx, other, secret)
	if err != nil {
		return nil, err
	}
	if code := second.StatusCode(); code >= 200 && code <= 299 {
		s.tokens.method = other
		return second, nil
	}
	// signIn returns the refusal that names the real cause. If the first refusal was about the
	// method, the second one is about the secret. Otherwise the first one is about the secret or
	// the client, and the second one may be only about the method.
	if why, _ := keycloakErrorIn(refusal); isMethodRefused(why) {
		return second, nil
	}
	return refusal, nil
}

func (s *Source) signInBy(ctx context.Context, m method, secret string) (*resty.Response, error) {
	ctx = transport.WithCall(ctx, "token")
	req, form := s.cloak.GetRequest(ctx), map[string]string{"grant_type": "client_credentials"}
	if m == basic {
		req.SetBasicAuth(url.QueryEscape(s.config.ClientID), url.QueryEscape(secret))
	} else {
		form["client_id"], form["client_secret"] = s.config.ClientID, secret
	}
	resp, err := req.SetFormData(form).Post(s.address("realms", s.config.Realm, "protocol", "openid-connect", "token"))
	return resp, s.incompleteAnswer(ctx, signingIn, resp, err)
}

// isClientRefused reports whether Keycloak refuses the client. One possible cause is the method
// by which groupsync sends the client's secret.
func isClientRefused(resp *resty.Response) bool {
	why, own := keycloakErrorIn(resp)
	code := resp.StatusCode()
	return own && (code == http.StatusUnauthorized || code == http.StatusBadRequest) &&
		(why.Code == "invalid_client" || why.Code == "unauthorized_client")
}

// isMethodRefused reports whether Keycloak's error says that the client must send its secret by
// another method.
func isMethodRefused(why keycloakError) bool {
	return strings.HasPrefix(why.Text, "Invalid method used")
}

// offers reports whether the realm's discovery document lists the method. If the document cannot
// be read, offers returns false, so signIn does not try the method.
func (s *Source) offers(ctx context.Context, m method) bool {
	d, err := s.Discover(ctx)
	return err == nil && slices.Contains(d.Methods, string(m))
}

func (s *Source) tokenRefusal(resp *resty.Response) error {
	code := resp.StatusCode()
	why, own := keycloakErrorIn(resp)
	switch {
	case code >= 200 && code <= 299:
		return nil
	case own && code == http.StatusNotFound:
		return s.noRealm(signingIn, s.cause(why, code))
	case own && code < 500 && code >= 400 && code != http.StatusTooManyRequests && why.Text != httpsRequired && why.Text != realmOff:
		return s.clientRefusal(why, s.cause(why, code))
	}
	return s.refusal(call{doing: signingIn, role: viewUsers}, resp)
}

func (s *Source) noRealm(doing, cause string) error {
	return refused(fault.NotFound, doing, fmt.Sprintf("there is no realm %q at %s (%s)", s.config.Realm, s.base, cause),
		"check keycloak.realm, and the path prefix in keycloak.url")
}

// clientRefusal returns the error that says why Keycloak refuses the client, and what to do. It
// finds the cause by the code and the text of Keycloak's error.
func (s *Source) clientRefusal(why keycloakError, cause string) error {
	credentials, capability := s.console("Credentials"), s.console("Settings > Capability config")
	var what, todo string
	switch {
	case strings.Contains(why.Text, "client_assertion"):
		what = "The client is set to sign in by a signed JWT, and groupsync has only a client secret"
		todo = `set "Client Authenticator" to "Client Id and Secret" in ` + credentials
	case isMethodRefused(why):
		what = "The client must show its secret in another way, and Keycloak's discovery document does not offer that way"
		todo = `allow client_secret_post or client_secret_basic under "Allowed authentication method" in ` + credentials
	case strings.Contains(why.Text, "authentication method not allowed"):
		what = "A client policy of the realm does not allow the way in which the client is set to sign in"
		todo = "let the policy allow the authenticator client-secret for this client (Realm settings > Client policies, executor secure-client-authenticator)"
	case strings.Contains(why.Text, "not enabled to retrieve service account"):
		what = "The client has no service account"
		todo = fmt.Sprintf(`switch on "Service account roles" in %s, and assign %s and %s of %s to the service account`, capability, viewUsers, viewRealm, s.management())
	case strings.HasPrefix(why.Text, "Public client"):
		what = "The client is public, so it has no secret and no service account"
		todo = `switch on "Client authentication" and "Service account roles" in ` + capability
	case why.Code == "invalid_client":
		what = "There is no such client, or it is disabled, or it is set to sign in without a client secret"
		todo = fmt.Sprintf(`check keycloak.client_id, and that the client is enabled with the "Client Authenticator" "Client Id and Secret" in %s`, credentials)
	case why.Code == "unauthorized_client":
		what = "The client exists, but Keycloak does not accept the secret"
		todo = "check keycloak.client_id and the client secret, which Keycloak shows in " + credentials
	default:
		what = "groupsync does not know this reason"
		todo = "check keycloak.client_id and the client secret, and look into Keycloak's log"
	}
	return refused(fault.Auth, signingIn, fmt.Sprintf("the realm %q refuses the client %q (%s). %s", s.config.Realm, s.config.ClientID, cause, what), todo)
}

// management returns the client id of the management client: the client whose roles allow the
// calls of the admin API.
func (s *Source) management() string {
	if s.config.Realm == "master" {
		return "master-realm"
	}
	return "realm-management"
}

// claims are the roles in an access token, and its id.
type claims struct {
	ID          string `json:"jti"`
	RealmAccess struct {
		Roles []string `json:"roles"`
	} `json:"realm_access"`
	ResourceAccess map[string]struct {
		Roles []string `json:"roles"`
	} `json:"resource_access"`
}

// kind matches the prefix of a token's id (claim jti). Keycloak writes the prefix since release
// 26.2. The prefix has two letters for the session, two for the token and two for the grant. For
// the token, "rt" means regular and "lt" means lightweight.
var kind = regexp.MustCompile(`^[a-z]{2}(rt|lt)[a-z]{2}:`)

// kind returns "rt" or "lt", or "" if the token's id has no such prefix.
func (c claims) kind() string {
	if found := kind.FindStringSubmatch(c.ID); found != nil {
		return found[1]
	}
	return ""
}

// claimsOf decodes the claims of the access token. It does not check the signature, because
// Keycloak has just sent the token.
func (s *Source) claimsOf(access string) (claims, error) {
	var c claims
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return c, fault.New(fault.Keycloak, fault.Shape, "%s: the access token is not a JWT, so groupsync cannot read its roles; check that keycloak.url leads to Keycloak itself, and that no extension of Keycloak changes the access tokens of the client %q", signingIn, s.config.ClientID)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		return c, fault.New(fault.Keycloak, fault.Shape, "%s: the claims of the access token cannot be decoded, so groupsync cannot read its roles; check that keycloak.url leads to Keycloak itself, and that no extension of Keycloak changes the access tokens of the client %q", signingIn, s.config.ClientID)
	}
	return c, nil
}

// rolesOf returns the roles of the management client that the token carries. It returns an
// error if the token lacks a role that every reading needs. With fewer roles, Keycloak hides
// people and still answers 200 (reference/keycloak-traps.md).
func (s *Source) rolesOf(c claims) (map[string]bool, error) {
	roles := make(map[string]bool)
	for _, r := range c.ResourceAccess[s.management()].Roles {
		roles[r] = true
	}
	var missing []string
	for _, r := range []string{viewUsers, viewRealm} {
		if !roles[r] {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 {
		return nil, s.rolesMissing(c, strings.Join(missing, " and ")+" of "+s.management())
	}
	return roles, nil
}

// rolesMissing returns the error for a token that lacks roles. It names the probable cause,
// if the token shows it:
//
//   - Since release 26.2, the id of a lightweight token shows that the token is lightweight.
//   - Every service account has default roles. If the token carries no role at all, the
//     probable cause is "Full scope allowed" or the client scope "roles".
//   - If the token carries realm roles or roles of other clients, both of these settings are
//     right. The missing roles are then probably not assigned.
func (s *Source) rolesMissing(c claims, missing string) error {
	assigned := s.console("Service account roles")
	if len(c.ResourceAccess) > 0 || len(c.RealmAccess.Roles) > 0 {
		what := fmt.Sprintf("the access token lacks %s, without which Keycloak hides people and reports no error", missing)
		if s.hasOthers(c) {
			what += ". The token carries other roles, so the missing roles are probably not assigned"
		}
		return refused(fault.Forbidden, signingIn, what,
			fmt.Sprintf("assign %s to the service account of the client %q in %s. If they are listed there, switch on %s", missing, s.config.ClientID, assigned, s.fullScope()))
	}
	lightweight := `"Always use lightweight access token" in ` + s.console("Advanced > Advanced settings")
	if c.kind() == "lt" {
		return refused(fault.Forbidden, signingIn,
			fmt.Sprintf("the client %q gets lightweight access tokens: the access token carries no client roles, so groupsync cannot tell what it may read", s.config.ClientID),
			fmt.Sprintf("switch off %s. If it is off, a client policy of the realm (executor use-lightweight-access-token) sets it", lightweight))
	}
	checks := []string{
		fmt.Sprintf("Assign %s in %s", missing, assigned),
		"Switch on " + s.fullScope(),
		`Keep "roles" among the default scopes in ` + s.console("Client scopes"),
	}
	if c.kind() == "" {
		checks = append(checks, "Switch off "+lightweight)
	}
	return refused(fault.Forbidden, signingIn, "the access token carries no client roles and no realm roles",
		fmt.Sprintf("check %d settings, each of which can be the cause. %s", len(checks), strings.Join(checks, ". ")))
}

// hasOthers reports whether the token carries a realm role, or a role of a client other than
// groupsync's client and the management client. A token has such roles only if "Full scope
// allowed" is on.
func (s *Source) hasOthers(c claims) bool {
	if len(c.RealmAccess.Roles) > 0 {
		return true
	}
	for client := range c.ResourceAccess {
		if client != s.config.ClientID && client != s.management() {
			return true
		}
	}
	return false
}
