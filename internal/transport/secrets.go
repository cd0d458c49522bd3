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

// Secrets are the texts that must appear in no message. A server, or a proxy before it,
// may repeat a request in its answer, and messages quote answers. The zero Secrets is
// ready for use. It may be used by several goroutines.
type Secrets struct {
	mu    sync.Mutex
	known []string // oldest first
	forms []string // every spelling of every known secret
}

const (
	// keptSecrets limits how many are known: each renewal of a token adds one, and an old
	// token does not come back.
	keptSecrets = 16

	// shortSecret is the length below which a text is not masked. It would be found
	// inside ordinary words, and the mask would give it away.
	shortSecret = 4

	// longPiece is the length from which a piece of a secret is masked too: proxies cut
	// what they quote.
	longPiece = 12

	hidden = "[hidden]"
)

// looksSecret finds tokens that nobody knows yet, and what follows the names under which
// secrets travel.
var looksSecret = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,4}|` +
	`(?i:\b(bearer|basic)(\s|%20|\+)+)[A-Za-z0-9._~+/=%-]{8,}`)

// Add makes a text known as a secret.
func (s *Secrets) Add(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(secret) < shortSecret {
		return
	}
	if i := slices.Index(s.known, secret); i >= 0 { // in use: it is the last to be forgotten
		s.known = append(slices.Delete(s.known, i, i+1), secret)
		return
	}
	s.known = append(s.known, secret)
	s.known = s.known[max(0, len(s.known)-keptSecrets):]
	s.forms = nil
	for _, k := range s.known {
		s.forms = append(s.forms, spellings(k)...)
	}
	// A longer form first: it may hold a shorter one.
	slices.SortFunc(s.forms, func(a, b string) int { return len(b) - len(a) })
	s.forms = slices.Compact(s.forms)
}

// addProxies makes the credentials known that the environment holds for proxies.
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

// spellings returns the ways in which an answer may write a secret.
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

// Mask returns a text that the other side wrote, without the secrets: without every known
// one in each usual spelling, without long pieces of one, and without what looks like a
// token. Mask the whole text before it is cut.
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

// maskPieces masks each piece of longPiece or more bytes that the text and the secret
// have in common.
func maskPieces(text, secret string) string {
	if len(secret) <= longPiece || len(text) < longPiece {
		return text
	}
	pieces := make(map[string]bool, len(secret))
	for i := range len(secret) - longPiece + 1 {
		pieces[secret[i:i+longPiece]] = true
	}
	var b strings.Builder
	masked := 0 // up to where the text is dealt with
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

// Error returns err, or an error without the chain if err's text holds a secret: the chain
// would still hold it. net/http quotes an answer that is not HTTP.
func (s *Secrets) Error(err error) error {
	if err == nil {
		return nil
	}
	if masked := s.Mask(err.Error()); masked != err.Error() {
		return errors.New(masked)
	}
	return err
}
