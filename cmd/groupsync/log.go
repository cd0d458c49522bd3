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
	_ = level.UnmarshalText([]byte(c.Level)) // no error is possible, because the configuration has checked the level
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(escaped{p.stderr, report.EscapeJSON}, options))
	}
	text := func(line []byte) []byte { return []byte(report.EscapeLines(string(line))) }
	return slog.New(slog.NewTextHandler(escaped{p.stderr, text}, options))
}

// escaped writes each log record with escape applied, so that no character of the record can
// control a terminal. This is needed, because slog leaves some such characters as they are in its
// text format, and most of them in JSON.
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
