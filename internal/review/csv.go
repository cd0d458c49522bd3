package review

import (
	"encoding/csv"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"groupsync/internal/report"
)

// columns are the columns of the CSV, in order. Programs read them by name.
var columns = []struct {
	name string
	of   func(Row) string
}{
	{"name", func(r Row) string { return r.Name }},
	{"email", func(r Row) string { return r.Email }},
	{"user_id", func(r Row) string { return r.UserID }},
	{"username", func(r Row) string { return r.Username }},
	{"account_id", func(r Row) string { return r.AccountID }},
	{"group", func(r Row) string { return r.Group }},
	{"group_id", func(r Row) string { return r.GroupID }},
	{"status", func(r Row) string { return string(r.Status) }},
	{"reason", func(r Row) string { return r.Reason }},
	{"by", func(r Row) string { return strings.Join(r.By, "; ") }},
	{"matched", func(r Row) string { return r.Matched }},
	{"since", func(r Row) string { return clock(r.Since) }},
	{"why", func(r Row) string { return r.Why }},
	{"evidence", func(r Row) string { return r.Evidence }},
	{"doubt", func(r Row) string { return r.Doubt }},
	{"guard", func(r Row) string { return r.Guard }},
	{"detail", func(r Row) string { return r.Detail }},
}

// CSV writes the rows in the format of RFC 4180: a line of column names first, and CR LF at
// the end of each line. It changes cells that a spreadsheet would run as a formula, and
// escapes control characters and the Unicode characters that change the direction of the text.
func CSV(w io.Writer, r Review) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.name
	}
	// A csv.Writer keeps its first error, and Error returns it.
	_ = out.Write(record)
	for _, row := range r.Rows {
		for i, c := range columns {
			record[i] = cell(c.of(row))
		}
		_ = out.Write(record)
	}
	out.Flush()
	return out.Error()
}

// formula holds the characters with which spreadsheets begin a formula, and their full-width
// forms, which some spreadsheets treat as the plain characters. Tab and carriage return are
// missing, because report.Escape replaces them.
const formula = "=+-@＝＋－＠"

// cell returns a text that no spreadsheet takes for a formula. It puts an apostrophe before
// each part of the text that begins with a formula character. The parts end at semicolons,
// because spreadsheets of many languages split lines there. Spaces and quotes at the beginning
// of a part do not count, because some importers drop them.
func cell(text string) string {
	parts := strings.Split(report.Escape(text), ";")
	for i, part := range parts {
		begin := strings.TrimLeftFunc(part, func(r rune) bool { return r == '"' || unicode.IsSpace(r) })
		if first, size := utf8.DecodeRuneInString(begin); size > 0 && strings.ContainsRune(formula, first) {
			parts[i] = "'" + part
		}
	}
	return strings.Join(parts, ";")
}

// clock returns the time in UTC, to the second. It returns an empty text for nil.
func clock(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
