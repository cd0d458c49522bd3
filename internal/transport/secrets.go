package transport

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Secrets holds the texts that no message may contain, and masks them. groupsync's messages quote
// the answers of servers, and a server or a proxy may repeat the credentials of the request in
// its answer. The zero Secrets is ready for use. Several goroutines may use one Secrets.
type Secrets struct {
	mu    sync.Mutex
	known []string // oldest first
	forms []string // every spelling of every known secret
}

const (
	// keptSecrets is how many known secrets are kept. If there are more, the oldest is dropped.
	// Each renewal of a token adds a secret, and groupsync does not send an old token again.
	keptSecrets = 16

	// shortSecret is the smallest number of bytes of a text that is masked. A shorter text
	// can be a part of ordinary words. A reader could then guess the secret from the places
	// that are masked.
	shortSecret = 4

	// longPiece is the smallest number of bytes of a piece of a secret that is masked. An
	// answer can contain a piece instead of the whole secret, because proxies cut the texts
	// that they quote.
	longPiece = 12

	hidden = "[hidden]"
)

// looksSecret matches texts that look like a token (JWT), and the credentials after "bearer"
// or "basic". With looksSecret, Mask also finds secrets that Add did not get.
var looksSecret = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,4}|` +
	`(?i:\b(bearer|basic)(\s|%20|\+)+)[A-Za-z0-9._~+/=%-]{8,}`)

// Add adds a text to the known secrets. It ignores a text shorter than shortSecret.
func (s *Secrets) Add(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(secret) < shortSecret {
		return
	}
	if i := slices.Index(s.known, secret); i >= 0 { // still in use, so it becomes the newest
		s.known = append(slices.Delete(s.known, i, i+1), secret)
		return
	}
	s.known = append(s.known, secret)
	s.known = s.known[max(0, len(s.known)-keptSecrets):]
	s.forms = nil
	for _, k := range s.known {
		s.forms = append(s.forms, spellings(k)...)
	}
	// Longer forms come first, because a longer form may contain a shorter one.
	slices.SortFunc(s.forms, func(a, b string) int { return len(b) - len(a) })
	s.forms = slices.Compact(s.forms)
}

// addProxies adds the passwords in the proxy variables of the environment, for example
// HTTPS_PROXY. It adds each password alone, and encoded with its user name for HTTP Basic
// authentication.
func (s *Secrets) addProxies() {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		u, err := url.Parse(os.Getenv(name))
		if err != nil {
			continue
		}
		if password, is := u.User.Password(); is {
			s.Add(password)
			s.Add(base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password)))
		}
	}
}

// spellings returns the forms in which an answer may contain a secret, for example with URL
// escapes or in base64.
func spellings(secret string) []string {
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	all := []string{
		secret, query, path, lowerEscapes(query), lowerEscapes(path), html.EscapeString(secret),
		strings.Trim(strconv.Quote(secret), `"`), strings.Trim(strconv.QuoteToASCII(secret), `"`),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
		hex.EncodeToString([]byte(secret)),
	}
	for _, escape := range []bool{true, false} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(escape)
		if e.Encode(secret) == nil {
			all = append(all, strings.Trim(strings.TrimSpace(b.String()), `"`))
		}
	}
	return all
}

var escape = regexp.MustCompile(`%[0-9A-F]{2}`)

func lowerEscapes(text string) string { return escape.ReplaceAllStringFunc(text, strings.ToLower) }

// Mask returns the text with [hidden] instead of secrets. It masks every known secret in each
// usual spelling, pieces of a secret of longPiece bytes or more, and texts that look like a token.
// The caller must mask the whole text before it cuts the text, because Mask does not find a
// shorter piece of a secret.
func (s *Secrets) Mask(text string) string {
	s.mu.Lock()
	forms := s.forms
	s.mu.Unlock()
	for _, form := range forms {
		text = strings.ReplaceAll(text, form, hidden)
	}
	for _, form := range forms {
		text = maskPieces(text, form)
	}
	return looksSecret.ReplaceAllString(text, hidden)
}

// maskPieces masks each piece of longPiece or more bytes that is in both the text and the
// secret.
func maskPieces(text, secret string) string {
	if len(secret) <= longPiece || len(text) < longPiece {
		return text
	}
	pieces := make(map[string]bool, len(secret))
	for i := range len(secret) - longPiece + 1 {
		pieces[secret[i:i+longPiece]] = true
	}
	var b strings.Builder
	masked := 0 // text[:masked] is already in b
	for i := 0; i+longPiece <= len(text); i++ {
		if !pieces[text[i:i+longPiece]] {
			continue
		}
		end := i + longPiece
		for end < len(text) && pieces[text[end-longPiece+1:end+1]] {
			end++
		}
		b.WriteString(text[masked:i] + hidden)
		masked, i = end, end-1
	}
	return b.String() + text[masked:]
}

// Error returns err unchanged if its text holds no secret. If it holds a secret, Error returns
// a new error with the masked text. The new error does not wrap err, because err still holds
// the secret. For example, an error of net/http can quote an answer that is not HTTP.
func (s *Secrets) Error(err error) error {
	if err == nil {
		return nil
	}
	if masked := s.Mask(err.Error()); masked != err.Error() {
		return errors.New(masked)
	}
	return err
}
