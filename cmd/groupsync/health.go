package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout is well below the timeouts that container engines have.
const healthTimeout = 5 * time.Second

// newHealth is for a container's health check, since the image has no shell and
// no HTTP client but groupsync itself.
func newHealth() *cobra.Command {
	return &cobra.Command{
		Use:   "health URL",
		Short: "Get the URL, and exit with 0 where the answer is 200: a container's health check",
		Args:  hinted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, args[0], nil)
			if err != nil {
				return fmt.Errorf("asking for the health: %w: write http://127.0.0.1:8080/healthz", err)
			}
			client := http.Client{Timeout: healthTimeout}
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("asking for the health: %w: see that groupsync runs, and web.listen", err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("asking for the health: %s answers %s: see the log of groupsync", args[0], resp.Status)
			}
			return nil
		},
	}
}
