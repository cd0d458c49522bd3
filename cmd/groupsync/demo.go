package main

import (
	"github.com/spf13/cobra"

	"groupsync/internal/demo"
)

func newDemo(p program) *cobra.Command {
	var exit bool
	var serve string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play a small story on an example realm and a ClearML stand-in, inside the process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if serve != "" {
				return demo.Serve(cmd.Context(), p.stdout, serve)
			}
			return demo.Play(cmd.Context(), demo.Options{Out: p.stdout, Color: p.colors(), Exit: exit, By: osUser(), Build: build()})
		},
	}
	cmd.Flags().BoolVar(&exit, "exit", false, "end by itself, without serving the metrics")
	cmd.Flags().StringVar(&serve, "serve", "", "do not play the story: serve the ClearML stand-in on this address; its clearml.url is then http://HOST:PORT/api")
	return cmd
}
