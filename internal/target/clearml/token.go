package clearml

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

const loginCall = "auth.login"

// tokenLife is how long groupsync asks ClearML to make a token valid. A token keeps the role that
// its user had at the login, so a short time is safer.
const tokenLife = time.Hour

// token is the result of a login.
type token struct {
	text     string
	renewAt  time.Time     // from then on groupsync does not use the token; by this machine's clock; zero: the server refused the token
	life     time.Duration // from the token's issue to its end
	identity target.Identity
	server   ServerInfo
}

// ServerInfo is what a token says about the server that issued it. A field is empty if the
// server leaves it out.
type ServerInfo struct {
	Version    string // the server's version, for example 3.30.0
	APIVersion string
	FeatureSet string
}

// lasts reports whether the token needs no renewal within d. If d is longer than a fifth of the
// token's life, lasts uses that fifth instead of d, because a token with a short life would never
// last for d.
func (t token) lasts(d time.Duration) bool {
	return t.text != "" && time.Now().Add(min(d, t.life/5)).Before(t.renewAt)
}

// current returns a token that needs no renewal within d (see lasts). It logs in if the client
// has no such token.
func (c *Client) current(ctx context.Context, d time.Duration) (token, error) {
	t := c.held()
	if t.lasts(d) {
		return t, nil
	}
	return c.renew(ctx, t)
}

// held returns the last token, which may have expired, or the zero token.
func (c *Client) held() token {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// forget marks the token t as refused, so that the next read logs in. It does nothing if another
// goroutine has already replaced t.
func (c *Client) forget(t token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token.text == t.text {
		c.token.renewAt = time.Time{}
	}
}

// renew logs in, replaces the token old by the new token, and returns the new token. If another
// goroutine has already replaced old, renew returns that goroutine's token. Two goroutines may
// log in at the same time, which does no harm.
func (c *Client) renew(ctx context.Context, old token) (token, error) {
	if t := c.held(); t.text != old.text {
		return t, nil
	}
	t, err := c.login(ctx)
	if err != nil {
		return token{}, err
	}
	c.mu.Lock()
	c.token = t
	c.mu.Unlock()
	return t, nil
}

// login logs in and returns the token. If the role of the credentials may not read and write user
// groups, the error has the reason forbidden.
func (c *Client) login(ctx context.Context) (token, error) {
	t, err := c.signIn(ctx)
	if err != nil {
		return token{}, err
	}
	if role := t.identity.Role; !slices.Contains([]string{"admin", "superuser", "system", "root"}, role) {
		return token{}, failf(fault.Forbidden, loginCall, "the role of these credentials is %q: user groups need the access key of a ClearML administrator", role)
	}
	return t, nil
}

// signIn logs in and returns the token, whatever the role of the credentials is.
func (c *Client) signIn(ctx context.Context) (token, error) {
	keys, err := c.keys()
	if err != nil {
		return token{}, failf(fault.Auth, loginCall, "reading the credentials: %w", err)
	}
	c.secrets.Add(keys.Access)
	c.secrets.Add(keys.Secret)
	asked := time.Now()
	a, err := c.send(ctx, request{
		call: loginCall,
		body: map[string]int{"expiration_sec": int(tokenLife.Seconds())},
		auth: "Basic " + keys.basic(),
	})
	if err != nil {
		return token{}, err
	}
	var data struct {
		Token string `json:"token"`
	}
	// The decoder's own error may quote the token.
	if json.Unmarshal(a.data, &data) != nil || data.Token == "" {
		return token{}, failf(fault.Shape, loginCall, "the answer holds no token; is this a ClearML API server? Check clearml.url")
	}
	c.secrets.Add(data.Token)
	return parseToken(data.Token, asked)
}

// parseToken reads groupsync's identity from a token. It does not check the signature, because
// the server checks it with every request. asked is when the login was sent, and the token's life
// is counted from asked.
func parseToken(text string, asked time.Time) (token, error) {
	var c struct {
		jwt.RegisteredClaims
		Identity struct {
			User string `json:"user"`
			Name string `json:"user_name"`
			Role string `json:"role"`
		} `json:"identity"`
		ServerVersion string `json:"server_version"`
		APIVersion    string `json:"api_version"`
		FeatureSet    string `json:"feature_set"`
	}
	if _, _, err := jwt.NewParser().ParseUnverified(text, &c); err != nil || c.Identity.User == "" || strings.TrimSpace(text) != text {
		return token{}, failf(fault.Shape, loginCall, "the token does not name groupsync's user (it is not a JWT with an identity): groupsync does not know this version of ClearML")
	}
	life := tokenLife
	if c.ExpiresAt != nil && c.IssuedAt != nil { // only the difference counts, because the clocks of both sides may differ
		life = c.ExpiresAt.Sub(c.IssuedAt.Time)
	}
	if life <= 0 {
		return token{}, failf(fault.Shape, loginCall, "the token ends before it begins (%s of life): check the clock of the API server", life)
	}
	return token{
		text: text, renewAt: asked.Add(life - min(life/5, 5*time.Minute)), life: life,
		identity: target.Identity(c.Identity),
		server:   ServerInfo{Version: c.ServerVersion, APIVersion: c.APIVersion, FeatureSet: c.FeatureSet},
	}, nil
}
