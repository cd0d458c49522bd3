package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/fault"
	"groupsync/internal/report"
	"groupsync/internal/web"
)

func newDemo(p program) *cobra.Command {
	var exit bool
	var serve string
	demo := &cobra.Command{
		Use:   "demo",
		Short: "Play a small story on an example realm and a ClearML stand-in, inside the process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if serve != "" {
				return serveStandIn(cmd.Context(), p, serve)
			}
			return runDemo(cmd.Context(), p, exit)
		},
	}
	demo.Flags().BoolVar(&exit, "exit", false, "end by itself, without serving the metrics")
	demo.Flags().StringVar(&serve, "serve", "", "play nothing: serve the ClearML stand-in on this address, with /api before its calls")
	return demo
}

// runDemo plays the story, then serves its metrics until ctx is done.
func runDemo(ctx context.Context, p program, exit bool) error {
	c := config.Default()
	c.Name = "demo"
	m := newMetrics(c)
	status := web.NewStatus(c.Name, nil)
	s, err := newStory(p.stdout, slog.New(slog.DiscardHandler), m.Observe(fault.ClearML), func(r report.Report) { m.Record(r); status.Record(r) })
	if err != nil {
		return err
	}
	defer s.clearml.Close()
	s.style.Color = p.colors()
	if err := s.play(ctx); err != nil {
		return err
	}
	fmt.Fprint(p.stdout, "\nWhat Prometheus would see of these passes, the zeros left out:\n\n")
	if err := printMetrics(p.stdout, m.Gatherer()); err != nil {
		return err
	}
	if exit {
		return nil
	}
	server, err := web.Listen(web.Options{Address: "127.0.0.1:0", Metrics: m.Handler(), Status: status, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\nThe status page: http://%[1]s/\nAll metrics: http://%[1]s/metrics (Ctrl-C ends)\n", server.Addr())
	return server.Serve(ctx)
}

// printMetrics writes the counters and gauges that are not zero. It leaves out those that
// differ from run to run.
func printMetrics(w io.Writer, g prometheus.Gatherer) error {
	families, err := g.Gather()
	if err != nil {
		return fmt.Errorf("gathering the metrics: %w", err)
	}
	for _, f := range families {
		if f.GetType() == dto.MetricType_HISTOGRAM || strings.HasSuffix(f.GetName(), "_timestamp_seconds") || strings.HasSuffix(f.GetName(), "_oldest_seconds") {
			continue
		}
		for _, m := range f.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if value == 0 || f.GetName() == "groupsync_build_info" {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(w, "%s{%s} %g\n", f.GetName(), strings.Join(labels, ","), value)
		}
	}
	return nil
}
