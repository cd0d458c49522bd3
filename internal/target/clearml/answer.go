package clearml

import (
	"bytes"
	"cmp"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"groupsync/internal/fault"
)

// maxID is the largest number of bytes in an id of a call (meta.id) that groupsync stores.
// ClearML's ids have 32 characters. A text longer than maxID is no id and would only fill the log.
const maxID = 128

// answer is the response to one call. ClearML sends each answer in an envelope: a JSON object
// with the fields meta and data. groupsync uses no answer without the envelope.
type answer struct {
	code       int    // the HTTP status; 0: no answer
	retryAfter string // the header Retry-After; empty: absent
	location   string // the header Location; empty: absent
	kind       string // media type, without parameters; empty: absent or malformed
	body       []byte

	enveloped bool
	id        string // ClearML's id of the call (meta.id); empty: absent, or longer than maxID
	subcode   int
	text      string
	data      json.RawMessage
}

// parse returns the answer, and sets enveloped if the body has ClearML's envelope. The body must
// be one JSON object whose meta holds a result_code equal to the HTTP status. With the status
// 200, data must be an object. parse does not check the versions in meta, because ClearML sends
// them as strings, numbers or null.
func parse(resp *http.Response, body []byte) answer {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	a := answer{code: resp.StatusCode, kind: kind, body: body,
		location: resp.Header.Get("Location"), retryAfter: resp.Header.Get("Retry-After")}
	var e struct {
		Meta struct {
			ID      any    `json:"id"`
			Code    *int   `json:"result_code"`
			Subcode int    `json:"result_subcode"`
			Text    string `json:"result_msg"`
		} `json:"meta"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &e) != nil || e.Meta.Code == nil || *e.Meta.Code != a.code {
		return a
	}
	data := bytes.TrimSpace(e.Data)
	a.enveloped = a.code != http.StatusOK || len(data) > 0 && data[0] == '{'
	if id, is := e.Meta.ID.(string); is && len(id) <= maxID {
		a.id = id
	}
	a.subcode, a.text, a.data = e.Meta.Subcode, e.Meta.Text, e.Data
	return a
}

// check returns nil for an answer with the envelope and the status 200. For any other answer
// it returns an error that says what the answer means and what to do.
func (c *Client) check(call string, a answer) error {
	switch {
	case a.code >= 300 && a.code < 400:
		return c.redirected(call, a)
	case !a.enveloped:
		return c.foreign(call, a)
	case a.code == http.StatusOK:
		return nil
	}
	text := piece(c.secrets.Mask(a.text))
	switch a.code {
	case http.StatusUnauthorized:
		return unauthorized(call, a, text)
	case http.StatusForbidden:
		return failf(fault.Forbidden, call, "the role of these credentials may not make this call (403/%d, %s): give groupsync the access key of a ClearML administrator", a.subcode, text)
	case http.StatusNotFound:
		return noCall(call)
	case http.StatusTooManyRequests:
		return failf(fault.Server, call, "too many requests, also after waiting (429/%d, %s): run passes less often", a.subcode, text)
	}
	if a.code >= 500 {
		advice := "look at the log of the API server"
		if a.subcode == 1 {
			advice = "ClearML's database is not reachable; " + advice
		}
		return failf(fault.Server, call, "the server failed (%d/%d, %s): %s", a.code, a.subcode, text, advice)
	}
	return failf(fault.Rejected, call, "the request was refused (%d/%d, %s): look at the log of the API server", a.code, a.subcode, text)
}

func unauthorized(call string, a answer, text string) error {
	switch a.subcode {
	case 20:
		return failf(fault.Auth, call, "the server received no credentials (401/20, %s): a proxy removes the Authorization header; check clearml.url", text)
	case 22:
		return failf(fault.Auth, call, "wrong credentials (401/22, %s): check clearml.access_key and clearml.secret_key", text)
	case 30:
		return failf(fault.Auth, call, "a new token is refused too (401/30, %s): check the clocks of the API servers, and that all of them sign tokens with the same secret", text)
	}
	return failf(fault.Auth, call, "the credentials are refused (401/%d, %s): check clearml.access_key and clearml.secret_key", a.subcode, text)
}

func noCall(call string) error {
	if call == groupsCall || call == writeCall {
		return fault.New(fault.ClearML, fault.NotFound, "ClearML has no call %s: user groups are part of ClearML Enterprise, and this server does not have them; check clearml.url, and the server's licence and version", call)
	}
	return fault.New(fault.ClearML, fault.NotFound, "ClearML has no call %s: check clearml.url, and the server's version", call)
}

func (c *Client) redirected(call string, a answer) error {
	if a.location == "" {
		return failf(fault.NotFound, call, "the server has withdrawn this call (status %d without the header Location), and groupsync does not know this version of ClearML: look for a newer groupsync", a.code)
	}
	host := "another path"
	if u, err := url.Parse(a.location); err == nil && u.Host != "" {
		host = c.secrets.Mask(u.Host)
	}
	return failf(fault.Shape, call, "redirected (%d) to %s, and groupsync does not follow redirects: set clearml.url to the API server's own address", a.code, host)
}

// foreign returns the error for an answer without the envelope, which is not from ClearML.
func (c *Client) foreign(call string, a answer) error {
	shown := cmp.Or(c.secrets.Mask(a.kind), "no content type")
	// The body of an answer to a login may hold a new token, which Mask may not recognize. So the
	// error shows this body only if it is HTML or plain text.
	if call != loginCall || a.kind == "text/html" || a.kind == "text/plain" {
		shown += ", " + piece(c.secrets.Mask(string(a.body[:min(len(a.body), mostMasked)])))
	}
	fail := func(reason fault.Reason, advice string) error {
		return failf(reason, call, "%d without ClearML's envelope (%s): %s", a.code, shown, advice)
	}
	switch a.code {
	case http.StatusNotFound:
		return fail(fault.Server, "the API server behind the web server is not reachable, or clearml.url lacks /api")
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return fail(fault.Auth, "a server in front of the API server asks for credentials; set clearml.url to the API server's own address")
	case http.StatusForbidden:
		return fail(fault.Forbidden, "a server in front of the API server refuses the request; set clearml.url to the API server's own address")
	case http.StatusTooManyRequests:
		return fail(fault.Server, "too many requests, also after waiting; run passes less often")
	case http.StatusUnsupportedMediaType:
		return fail(fault.Rejected, "a proxy has encoded the request's body; set clearml.url to the API server's own address")
	}
	if a.code >= 500 {
		return fail(fault.Server, "the API server is not reachable or fails; try later, and look at the log of the proxy in front of it")
	}
	return fail(fault.Shape, "another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api")
}

// mostMasked is how many bytes of a body are searched for secrets. The secrets are masked, and then
// the function piece shortens the text to 160 bytes. Masking can make a text shorter, so mostMasked
// is much larger than 160.
const mostMasked = 64 << 10

// piece returns the first 160 bytes of a text on one line, or "empty".
func piece(text string) string {
	const most = 160
	cutOff := len(text) > most
	line := strings.Join(strings.Fields(strings.ToValidUTF8(text[:min(len(text), most)], "")), " ")
	switch {
	case line == "":
		return "empty"
	case cutOff:
		return line + "…"
	}
	return line
}
