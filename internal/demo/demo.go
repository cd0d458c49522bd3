// Package demo plays a small story with the example realm and a stand-in for ClearML, inside the
// process. Only the command demo uses this package. So the daemon never serves the stand-in, whose
// access key and secret key everybody knows.
package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"groupsync/internal/config"
	"groupsync/internal/fault"
	"groupsync/internal/report"
	"groupsync/internal/web"
	"groupsync/internal/wire"
)

// Options say how the story is shown.
type Options struct {
	Out   io.Writer
	Color bool
	Exit  bool   // end after the story, and serve no metrics
	By    string // the person who approves in the story
	Build wire.Build
}

// Play plays the story, and then serves its metrics until ctx is done.
func Play(ctx context.Context, o Options) error {
	c := config.Default()
	c.Name = "demo"
	m := wire.Metrics(c, o.Build)
	status := web.NewStatus(c.Name, nil)
	s, err := newStory(o.Out, slog.New(slog.DiscardHandler), m.Observe(fault.ClearML), func(r report.Report) { m.Record(r); status.Record(r) })
	if err != nil {
		return err
	}
	defer s.clearml.Close()
	s.style.Color, s.by = o.Color, o.By
	if err := s.play(ctx); err != nil {
		return err
	}
	fmt.Fprint(o.Out, "\nThe metrics of these passes, without those that are zero:\n\n")
	if err := printMetrics(o.Out, m.Gatherer()); err != nil {
		return err
	}
	if o.Exit {
		return nil
	}
	server, err := web.Listen(web.Options{Address: "127.0.0.1:0", Metrics: m.Handler(), Status: status, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "\nThe status page: http://%[1]s/\nAll metrics: http://%[1]s/metrics (Ctrl-C ends)\n", server.Addr())
	return server.Serve(ctx)
}

// printMetrics writes the counters and gauges that are not zero. It leaves out histograms, times
// and the build, because these differ from run to run.
func printMetrics(w io.Writer, g prometheus.Gatherer) error {
	families, err := g.Gather()
	if err != nil {
		return fmt.Errorf("gathering the metrics: %w", err)
	}
	var text bytes.Buffer
	for _, f := range families {
		name := f.GetName()
		if f.GetType() == dto.MetricType_HISTOGRAM || name == "groupsync_build_info" || strings.HasSuffix(name, "_timestamp_seconds") || strings.HasSuffix(name, "_oldest_seconds") {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			return fmt.Errorf("writing the metrics: %w", err)
		}
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "#") || strings.HasSuffix(line, " 0\n") {
			continue
		}
		if _, err := io.WriteString(w, line); err != nil {
			return fmt.Errorf("writing the metrics: %w", err)
		}
	}
	return nil
}
