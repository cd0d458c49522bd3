package keycloaktest

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Organization is an organization of a realm. It has an identity provider of its own, which is
// a second realm of the same server.
type Organization struct {
	ID, Name string
	Provider *Realm

	realm *Realm
}

// AddOrganization adds an organization with that name and the email domain NAME.example.org. Its
// members are managed members: each has an account in the organization's identity provider, and
// has signed in to ClearML through that provider. The realm needs Spec.Organizations, and
// AddClearML must have been called.
func (r *Realm) AddOrganization(tb testing.TB, name string, members ...string) *Organization {
	tb.Helper()
	domain := name + ".example.org"
	spec := Spec{}
	for _, m := range members {
		spec.Users = append(spec.Users, User{Username: m, Email: m + "@" + domain, FirstName: m, LastName: "Example"})
	}
	o := &Organization{Name: name, Provider: r.Server.NewRealm(tb, spec), realm: r}
	o.Provider.Do(tb, http.MethodPost, "/clients", object{
		"clientId": brokerClient, "secret": Secret, "enabled": true, "publicClient": false,
		"standardFlowEnabled": true, "redirectUris": []string{r.Server.URL + "/realms/" + r.Name + "/broker/" + name + "/endpoint*"},
	}, nil)
	for _, m := range members {
		o.Provider.SetPassword(tb, m, memberPassword)
	}
	protocol := o.Provider.Server.URL + "/realms/" + o.Provider.Name + "/protocol/openid-connect/"
	r.Do(tb, http.MethodPost, "/identity-provider/instances", object{
		"alias": name, "providerId": "oidc", "enabled": true, "trustEmail": true, "firstBrokerLoginFlowAlias": "first broker login",
		"config": object{
			"clientId": brokerClient, "clientSecret": Secret, "clientAuthMethod": "client_secret_post", "syncMode": "IMPORT",
			"authorizationUrl": protocol + "auth", "tokenUrl": protocol + "token", "userInfoUrl": protocol + "userinfo",
			"jwksUrl": protocol + "certs", "useJwksUrl": "true", "validateSignature": "true", "defaultScope": "openid profile email",
			"issuer": o.Provider.Server.URL + "/realms/" + o.Provider.Name,
		},
	}, nil)
	o.ID = r.Do(tb, http.MethodPost, "/organizations", object{
		"name": name, "alias": name, "enabled": true, "domains": []object{{"name": domain, "verified": true}},
	}, nil)
	r.Do(tb, http.MethodPost, "/organizations/"+o.ID+"/identity-providers", []byte(name), nil)
	for _, m := range members {
		r.SignInBy(tb, name, m, memberPassword)
	}
	return o
}

const (
	brokerClient   = "organizations"
	memberPassword = "member-test-password"
)

// SetEnabled switches the organization on or off.
func (o *Organization) SetEnabled(tb testing.TB, enabled bool) {
	tb.Helper()
	var organization map[string]any
	o.realm.Do(tb, http.MethodGet, "/organizations/"+o.ID, nil, &organization)
	organization["enabled"] = enabled
	o.realm.Do(tb, http.MethodPut, "/organizations/"+o.ID, organization, nil)
}

// SetPassword gives the account a password.
func (r *Realm) SetPassword(tb testing.TB, username, password string) {
	tb.Helper()
	r.Do(tb, http.MethodPut, "/users/"+r.UserID(tb, username)+"/reset-password",
		object{"type": "password", "value": password, "temporary": false}, nil)
}

// SignInBy signs the person in to ClearML as a browser does, through the identity provider with
// that alias. The identity provider must be a realm of the same server.
func (r *Realm) SignInBy(tb testing.TB, alias, username, password string) {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	must(tb, err)
	browser := &http.Client{
		Jar: jar, Transport: plainCookies{}, Timeout: time.Minute,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if strings.HasPrefix(req.URL.String(), landing) || len(via) > 20 {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	page := fetch(tb, browser, http.MethodGet, r.Server.URL+"/realms/"+r.Name+"/protocol/openid-connect/auth?"+url.Values{
		"client_id": {ClearML}, "redirect_uri": {landing}, "response_type": {"code"}, "scope": {"openid"}, "kc_idp_hint": {alias},
	}.Encode(), nil)
	form := loginForm.FindStringSubmatch(page.body)
	if form == nil {
		tb.Fatalf("signing %s in by %s: %s is no login page:\n%s", username, alias, page.url, page.body)
	}
	page = fetch(tb, browser, http.MethodPost, html.UnescapeString(form[1]), url.Values{"username": {username}, "password": {password}})
	if !strings.HasPrefix(page.location, landing) || !strings.Contains(page.location, "code=") {
		tb.Fatalf("signing %s in by %s ended at %s, not at ClearML:\n%s", username, alias, page.url, page.body)
	}
}

var loginForm = regexp.MustCompile(`(?s)<form[^>]*id="kc-form-login"[^>]*action="([^"]*)"`)

// page is the last page that a browser received. location is the target of a redirect that the
// browser did not follow, or empty.
type page struct{ url, location, body string }

func fetch(tb testing.TB, browser *http.Client, method, address string, form url.Values) page {
	tb.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	must(tb, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := browser.Do(req)
	must(tb, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(tb, err)
	return page{
		url: fmt.Sprintf("%s (%s)", resp.Request.URL.Redacted(), resp.Status), location: resp.Header.Get("Location"), body: string(body),
	}
}

// plainCookies is a transport that removes the attribute Secure from cookies. Keycloak sets
// this attribute even on 127.0.0.1 without TLS. A browser sends such cookies to 127.0.0.1, but
// Go's cookie jar does not.
type plainCookies struct{}

func (plainCookies) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		for i, cookie := range resp.Header["Set-Cookie"] {
			resp.Header["Set-Cookie"][i] = secureMark.ReplaceAllString(cookie, "")
		}
	}
	return resp, err
}

var secureMark = regexp.MustCompile(`(?i);\s*secure`)
