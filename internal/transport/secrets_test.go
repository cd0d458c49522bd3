package transport

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-retryablehttp"
)

func TestMask(t *testing.T) {
	const (
		client = `k3y+"<&>/ä canary`
		long   = "0f8fad5b-d9cb-469f-a165-70867728950e"
		token  = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
	)
	rows := []struct{ name, text, want string }{
		{"a text without a secret stays", "invalid_client: Invalid client", "invalid_client: Invalid client"},
		{"the secret itself", "secret=" + client + "!", "secret=[hidden]!"},
		{"as a form writes it", "client_secret=k3y%2B%22%3C%26%3E%2F%C3%A4+canary&x", "client_secret=[hidden]&x"},
		{"as a path writes it", "/k3y+%22%3C&%3E%2F%C3%A4%20canary/x", "/[hidden]/x"},
		{"with escapes in lower case", "k3y%2b%22%3c%26%3e%2f%c3%a4+canary", "[hidden]"},
		{"as HTML writes it", "<b>k3y+&#34;&lt;&amp;&gt;/ä canary</b>", "<b>[hidden]</b>"},
		{"as JSON writes it", `{"a":"k3y+\"<&>/ä canary"}`, `{"a":"[hidden]"}`},
		{"as Go's JSON writes it", `{"a":"k3y+\"\u003c\u0026\u003e/ä canary"}`, `{"a":"[hidden]"}`},
		{"in base64", base64.StdEncoding.EncodeToString([]byte(client)), "[hidden]"},
		{"in hexadecimal", fmt.Sprintf("%x", client), "[hidden]"},
		{"a proxy cut it off", "id " + long[:20], "id [hidden]"},
		{"a proxy shows its end", "…" + long[15:] + ")", "…[hidden])"},
		{"a short common piece is none", "id " + long[:8], "id 0f8fad5b"},
		{"twice", long + " and " + long, "[hidden] and [hidden]"},
		{"a token that nobody knows", `{"access_token":"` + token + `"}`, `{"access_token":"[hidden]"}`},
		{"the beginning of such a token", `"` + token[:17], `"[hidden]`},
		{"a header that nobody knows", "Authorization: Basic Z3JvdXBzeW5jOmNhbmFyeQ==", "Authorization: [hidden]"},
		{"a scheme without credentials stays", `Bearer realm="x"`, `Bearer realm="x"`},
	}
	var s Secrets
	s.Add(client)
	s.Add(long)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := s.Mask(row.text); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

// TestWhatIsInUseStaysKnown checks that the client secret is still masked after many tokens. Each
// new token uses the client secret, so the client secret stays among the newest secrets.
func TestWhatIsInUseStaysKnown(t *testing.T) {
	var s Secrets
	for i := range 100 {
		s.Add("the client's secret")
		s.Add(fmt.Sprintf("token number %d of a hundred", i))
	}
	if got := s.Mask("the client's secret"); got != hidden {
		t.Error("the secret is shown")
	}
	if len(s.known) != keptSecrets {
		t.Errorf("%d secrets are kept, want %d", len(s.known), keptSecrets)
	}
}

func TestATextTooShortForASecretIsNotMasked(t *testing.T) {
	var s Secrets
	s.Add("x")
	s.Add("")
	if got := s.Mask("no proxy"); got != "no proxy" {
		t.Error(got)
	}
}

// echo starts a server that does not speak HTTP, and returns its URL. The server answers with
// the body of the request and then with its Authorization header.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				body, _ := io.ReadAll(req.Body)
				fmt.Fprintf(conn, "%s Authorization: %s\r\n\r\n", body, req.Header.Get("Authorization"))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestAnAnswerThatIsNoHTTPShowsNoSecret checks the error of net/http, which quotes the first
// line of such an answer.
func TestAnAnswerThatIsNoHTTPShowsNoSecret(t *testing.T) {
	s := new(Secrets)
	s.Add("canary-client-secret")
	c := client(t, Options{Secrets: s, Retry: func(context.Context, *http.Response, error) bool { return false }})
	req, err := retryablehttp.NewRequest(http.MethodPost, echo(t), []byte("client_secret=canary-client-secret"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer canary-access-token")
	_, err = c.Do(req)
	if err == nil || !strings.Contains(err.Error(), "malformed HTTP") {
		t.Fatalf("got %v, want what net/http says of an answer that is no HTTP", err)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if text := fmt.Sprintf("%+v %#v", err, err); strings.Contains(text, "canary") {
			t.Errorf("the error shows a secret: %s", text)
		}
	}
}

func TestABrokenTrailerShowsNoSecret(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%s\r\n\r\n", r.Header.Get("Authorization"))
	}))
	defer srv.Close()
	req, err := retryablehttp.NewRequest(http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer canary-access-token")
	resp, err := client(t, Options{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err = io.ReadAll(resp.Body); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v, want an error without the token", err)
	}
}

// TestAProxysRefusalShowsNoPassword checks the error of net/http, which quotes the proxy's
// status line.
func TestAProxysRefusalShowsNoPassword(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 407 you sent %s\r\n\r\n", r.Header.Get("Proxy-Authorization"))
	}))
	defer proxy.Close()
	credentials := "ann:canary-proxy-password"
	t.Setenv("HTTPS_PROXY", strings.Replace(proxy.URL, "http://", "http://"+credentials+"@", 1))
	s := new(Secrets)
	s.addProxies()
	for _, text := range []string{"canary-proxy-password", base64.StdEncoding.EncodeToString([]byte(credentials))} {
		if got := s.Mask("407 " + text); strings.Contains(got, text) {
			t.Errorf("shown: %s", got)
		}
	}
}

// TestAnErrorWithoutASecretKeepsItsChain checks that errors.Is and errors.As still work,
// because the clients need them.
func TestAnErrorWithoutASecretKeepsItsChain(t *testing.T) {
	s := new(Secrets)
	s.Add("canary-secret")
	if err := fmt.Errorf("reading: %w", io.ErrUnexpectedEOF); s.Error(err) != err {
		t.Error("the error was replaced")
	}
	if err := fmt.Errorf("canary-secret: %w", io.ErrUnexpectedEOF); s.Error(err).Error() != "[hidden]: unexpected EOF" || errors.Unwrap(s.Error(err)) != nil {
		t.Errorf("got %v", s.Error(err))
	}
	if s.Error(nil) != nil {
		t.Error("an error out of nothing")
	}
}
