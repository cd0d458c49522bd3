package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape returns the text without characters that could begin a new line, change
// the direction of the text, hide something or control a terminal. It writes each
// of them as in a Go string: \n, \x1b, \u202e. Bytes that are not UTF-8 become
// \ufffd. All other characters stay as they are.
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

// EscapeLines is Escape for a text that has several lines on purpose: line breaks
// and tabs stay.
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

// EscapeJSON returns the same JSON with the characters that Escape replaces
// written as \uXXXX, so that JSON can be shown in a terminal, too.
func EscapeJSON(data []byte) []byte {
	text := string(data)
	if isPlain(strings.ReplaceAll(text, "\n", "")) {
		return data
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || plain(r): // in a string JSON has no raw line break
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

// Name returns a name as the text report shows it: quoted if it needs escapes or could be
// mistaken for another part of its line.
func Name(s string) string { return name(s) }

// name returns a name as the text report shows it. A name that needs escapes, or
// that could be mistaken for another part of its line, is quoted.
func name(s string) string { return quotedWith(s, "") }

// quotedWith is name for a place where more characters of ASCII need escapes.
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

// plain reports whether a character shows as itself: a letter, mark, number,
// symbol or space that takes part in no control of lines, direction or terminals.
func plain(r rune) bool {
	if r < utf8.RuneSelf { // nearly all of a long report
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
