package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape replaces the characters that could begin a new line, change the direction of the
// text, hide something or control a terminal. It writes each of them as in a Go string: \n,
// \x1b, \u202e. Bytes that are not UTF-8 become \ufffd. Escape does not change other
// characters.
func Escape(text string) string {
	if isPlain(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		b.WriteString(escapeRune(r))
	}
	return b.String()
}

// EscapeLines is Escape for a text with several lines. It keeps line breaks and tabs.
func EscapeLines(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || r == '\t' {
			b.WriteRune(r)
			continue
		}
		b.WriteString(escapeRune(r))
	}
	return b.String()
}

// EscapeJSON makes the JSON in data safe to show in a terminal. It writes \uXXXX for each
// character that Escape would replace, so a JSON parser reads the same value as before.
func EscapeJSON(data []byte) []byte {
	text := string(data)
	if isPlain(strings.ReplaceAll(text, "\n", "")) {
		return data
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || plain(r): // a JSON string holds no raw line break
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

// Name returns a name as the text report shows it. Name quotes it if it needs escapes, or if
// it could be mistaken for another part of its line.
func Name(s string) string { return name(s) }

// name is Name under a short name, for this package.
func name(s string) string { return quotedWith(s, "") }

// quotedWith quotes a name as Name does. It also quotes a name that contains one of the ASCII
// characters in special, and writes each of these characters as \xNN.
func quotedWith(s, special string) string {
	confusing := s == "" || strings.HasPrefix(s, `"`) || strings.TrimSpace(s) != s ||
		strings.Contains(s, "  ") || strings.ContainsAny(s, "<>"+special)
	if isPlain(s) && !confusing {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case strings.ContainsRune(special, r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteString(escapeRune(r))
		}
	}
	b.WriteByte('"')
	return b.String()
}

func names(list []string) string {
	shown := make([]string, len(list))
	for i, s := range list {
		shown[i] = name(s)
	}
	return strings.Join(shown, ", ")
}

func isPlain(s string) bool {
	for _, r := range s {
		if !plain(r) {
			return false
		}
	}
	return true
}

// plain reports whether a character can be shown unchanged: a letter, mark, number, symbol or
// space that does not control lines, direction or the terminal.
func plain(r rune) bool {
	if r < utf8.RuneSelf { // a fast path: most of a long report is ASCII
		return ' ' <= r && r <= '~'
	}
	return unicode.IsGraphic(r) && r != utf8.RuneError && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

func escapeRune(r rune) string {
	if plain(r) {
		return string(r)
	}
	quoted := strconv.QuoteRuneToASCII(r)
	return quoted[1 : len(quoted)-1]
}
