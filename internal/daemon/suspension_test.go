package daemon

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"groupsync/internal/config"
	"groupsync/internal/memory"
	"groupsync/internal/metrics"
	"groupsync/internal/wire"
)

// scrapes is a log that reads the metrics at each line.
type scrapes struct {
	metrics *metrics.Metrics
	lines   map[string]string // the metrics, by the message of the line
}

func (s *scrapes) Write(line []byte) (int, error) {
	answer := httptest.NewRecorder()
	s.metrics.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	_, message, _ := strings.Cut(string(line), "msg=")
	s.lines[message] = answer.Body.String()
	return len(line), nil
}

// TestTheMetricsShowASuspensionBeforeTheLog reads the metrics at the moment of each log line.
// An alert that follows the log must not find the state of before.
func TestTheMetricsShowASuspensionBeforeTheLog(t *testing.T) {
	log := &scrapes{metrics: wire.Metrics(config.Default(), wire.Build{}), lines: make(map[string]string)}
	s := &replica{log: slog.New(slog.NewTextHandler(log, nil)), metrics: log.metrics, status: newStatus(config.Default(), nil), store: memory.NewProcess("https://api.example.com")}
	if _, err := s.Suspend(t.Context(), time.Hour, "LDAP move", false, "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resume(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	const metric = `groupsync_suspended_until_timestamp_seconds{action="remove",sync="default"} `
	for begin, want := range map[string]string{`"writing is suspended"`: metric + "1.", `"the suspension has ended: `: metric + "0\n"} {
		found := false
		for message, metrics := range log.lines {
			if strings.HasPrefix(message, begin) {
				found = true
				if !strings.Contains(metrics, want) {
					t.Errorf("at the line %s the metrics lack %s", message, want)
				}
			}
		}
		if !found {
			t.Errorf("no line begins with %s: %v", begin, log.lines)
		}
	}
}
