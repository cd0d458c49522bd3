package keycloak

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/go-resty/resty/v2"

	"groupsync/internal/fault"
)

// refusal returns the error for an answer to the call whose status is not 2xx. The error says who
// refused (Keycloak or a proxy), why, and what to do.
func (s *Source) refusal(c call, resp *resty.Response) error {
	code := resp.StatusCode()
	why, own := keycloakErrorIn(resp)
	cause := s.cause(why, code)
	switch {
	case code >= 500 || code == http.StatusTooManyRequests:
		return fault.New(fault.Keycloak, fault.Server, "%s: Keycloak answered %d: %s; look into Keycloak's log", c.doing, code, s.piece(resp))
	case code < 400:
		return fault.New(fault.Keycloak, fault.Shape, "%s: Keycloak answered with a redirect (%d) to %q; set keycloak.url to an address that answers without a redirect", c.doing, code, s.location(resp))
	case !own && refusesPath(code):
		return s.refusedOnTheWay(c.doing, resp)
	case why.Text == httpsRequired:
		return s.refusedPlainHTTP(c.doing, cause)
	case why.Text == realmOff:
		return refused(fault.Rejected, c.doing, fmt.Sprintf("the realm %q is switched off (%s)", s.config.Realm, cause),
			`switch on "Enabled" in the realm's Realm settings, or check keycloak.realm`)
	case code == http.StatusUnauthorized:
		return refused(fault.Auth, c.doing, fmt.Sprintf("Keycloak refuses its own new token (%s)", cause),
			"set keycloak.url to the address that Keycloak knows itself by (its option hostname), and check that the client is still enabled")
	case code == http.StatusForbidden:
		role := fmt.Sprintf("the role %s of %s", c.role, s.management())
		return refused(fault.Forbidden, c.doing, fmt.Sprintf("Keycloak refuses the call (%s). The call needs %s", cause, role),
			fmt.Sprintf("give the service account of the client %q %s in %s. If it has the role, switch on %s",
				s.config.ClientID, role, s.console("Service account roles"), s.fullScope()))
	case code == http.StatusNotFound:
		return s.notFound(c.doing, why, cause)
	}
	return fault.New(fault.Keycloak, fault.Rejected, "%s: Keycloak answered %d: %s; look into Keycloak's log", c.doing, code, s.piece(resp))
}

// Values of error_description with which Keycloak refuses every request to a realm.
const (
	httpsRequired = "HTTPS required"
	realmOff      = "Realm not enabled"
)

// refused returns the error of a refusal. Its text has four parts: what groupsync was doing,
// what happened, what groupsync did not do because of it, and what to do now.
func refused(reason fault.Reason, doing, what, todo string) error {
	undone := "groupsync did not complete this read"
	if beforeRead(doing) {
		undone = "groupsync did not read the realm"
	}
	return fault.New(fault.Keycloak, reason, "%s: %s. %s. To fix it, %s", doing, what, undone, todo)
}

// beforeRead reports whether the request is the sign-in or the read of the discovery document.
// These two come before every read of the realm. They go to the path /realms, and all other
// requests go to /admin.
func beforeRead(doing string) bool { return doing == signingIn || doing == discovering }

// refusesPath reports whether the status is one by which a proxy refuses a path.
func refusesPath(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return true
	}
	return false
}

// refusedOnTheWay returns the error for a refusal by a proxy or firewall in front of Keycloak. The
// error does not quote the body of the answer, because a body may repeat the URL, and the URL may
// contain an email.
func (s *Source) refusedOnTheWay(doing string, resp *resty.Response) error {
	seen := fmt.Sprintf("%d, content type %q", resp.StatusCode(), s.header(resp, "Content-Type"))
	if server := s.header(resp, "Server"); server != "" {
		seen += fmt.Sprintf(", server %q", server)
	}
	path := s.base.Path + "/admin"
	if beforeRead(doing) {
		path = s.base.Path + "/realms"
	}
	todo := fmt.Sprintf("let the proxy pass %s from groupsync to Keycloak, or set keycloak.url to an address behind the proxy", path)
	if beforeRead(doing) && resp.StatusCode() == http.StatusNotFound { // if the path prefix is wrong, Keycloak itself answers with an HTML page
		return refused(fault.NotFound, doing, fmt.Sprintf("there is no Keycloak at %s (%s). The path prefix is wrong, or a proxy in front of Keycloak refuses the path %s", s.base, seen, path),
			"check the path prefix in keycloak.url, for example /auth. If it is right, "+todo)
	}
	return refused(fault.Shape, doing, fmt.Sprintf("the answer (%s) does not come from Keycloak. A proxy or firewall in front of Keycloak refuses the path %s; this is not a missing role", seen, path), todo)
}

func (s *Source) refusedPlainHTTP(doing, cause string) error {
	todo := `put the https:// address of Keycloak into keycloak.url. "Require SSL" in the realm's Realm settings says who may use plain HTTP`
	if s.base.Scheme == "https" {
		todo = "let the proxy that ends TLS in front of Keycloak send X-Forwarded-Proto: https, and start Keycloak with --proxy-headers=xforwarded"
	}
	return refused(fault.Rejected, doing, fmt.Sprintf("the realm %q requires HTTPS, and the request reached Keycloak as plain HTTP (%s)", s.config.Realm, cause), todo)
}

// notFound returns the error for a 404 of Keycloak. The error has the reason not_found only if
// the requested object is missing, because a removal may rely on a missing account.
func (s *Source) notFound(doing string, why keycloakError, cause string) error {
	switch why.Code {
	case "Realm not found.":
		return refused(fault.Incomplete, doing, fmt.Sprintf("the realm %q is no longer there (%s)", s.config.Realm, cause),
			"check in Keycloak whether the realm was deleted or renamed, and check keycloak.realm")
	case "HTTP 404 Not Found", "Unable to find matching target resource method":
		return refused(fault.Shape, doing, fmt.Sprintf("this Keycloak does not have the call (%s)", cause),
			"check that Keycloak's feature admin-api is enabled and that groupsync supports this version of Keycloak")
	}
	return refused(fault.NotFound, doing, fmt.Sprintf("Keycloak does not find the requested object (%s)", cause), "run again. If that does not help, check keycloak.realm and keycloak.url")
}

// keycloakError holds Keycloak's own error from the body of a refusal.
type keycloakError struct {
	Code    string `json:"error"`
	Text    string `json:"error_description"`
	Message string `json:"errorMessage"`
}

// keycloakErrorIn returns Keycloak's error from the body of an answer. own is false if another
// program, for example a proxy, wrote the answer. Such an answer is no JSON (an HTML page), has
// other fields (gateways), or has the field "path" besides "error" (Spring servers). An empty
// object {} counts as an answer of Keycloak.
func keycloakErrorIn(resp *resty.Response) (why keycloakError, own bool) {
	var fields map[string]json.RawMessage
	if !isJSON(resp) || json.Unmarshal(resp.Body(), &fields) != nil || json.Unmarshal(resp.Body(), &why) != nil {
		return keycloakError{}, false
	}
	_, foreign := fields["path"]
	return why, !foreign && (why.Code != "" || why.Message != "" || len(fields) == 0)
}

// cause returns the status and the text of Keycloak's error, on one line and shortened.
func (s *Source) cause(w keycloakError, code int) string {
	const most = 160
	words := strings.Join(slices.DeleteFunc([]string{w.Code, w.Text, w.Message}, func(part string) bool { return part == "" }), ": ")
	words = s.secrets.Mask(words)
	words = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, words)
	if len(words) > most {
		words = strings.ToValidUTF8(words[:most], "") + "…"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, words))
}

// console returns the way to a page of groupsync's client in Keycloak's admin console.
func (s *Source) console(place string) string {
	return "Clients > " + s.config.ClientID + " > " + place
}

// fullScope returns the name and the place of the switch "Full scope allowed". If the switch is
// off, a token carries only roles in the client's scope, not every assigned role.
func (s *Source) fullScope() string {
	return `"Full scope allowed" in ` + s.console("Client scopes > "+s.config.ClientID+"-dedicated > Scope")
}
