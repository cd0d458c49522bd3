package main

import (
	"io"
	"log/slog"

	"groupsync/internal/config"
	"groupsync/internal/report"
)

// newLog returns the logger. It writes to stderr, so that stdout holds only the report.
func newLog(p program, c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the configuration has checked the level
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(escaped{p.stderr, report.EscapeJSON}, options))
	}
	text := func(line []byte) []byte { return []byte(report.EscapeLines(string(line))) }
	return slog.New(slog.NewTextHandler(escaped{p.stderr, text}, options))
}

// escaped writes each log record without the characters that could control a terminal. slog
// itself writes some of these characters in its text format, and most of them in JSON.
type escaped struct {
	io.Writer
	escape func([]byte) []byte
}

func (w escaped) Write(record []byte) (int, error) {
	if _, err := w.Writer.Write(w.escape(record)); err != nil {
		return 0, err
	}
	return len(record), nil
}
