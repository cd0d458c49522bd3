package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout is well below the timeouts that container engines set for a health check.
const healthTimeout = 5 * time.Second

// newHealth returns the command for a container's health check. The image has no shell and no
// other HTTP client.
func newHealth() *cobra.Command {
	return &cobra.Command{
		Use:   "health URL",
		Short: "Get the URL, and exit with 0 if the answer is 200: a container's health check",
		Args:  hinted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			// The error of net/url is not shown, because it repeats the address with its
			// password.
			address, err := url.Parse(args[0])
			if err != nil || address.Host == "" {
				return errors.New("asking for the health: the argument is not a URL: write http://127.0.0.1:8080/healthz")
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, address.String(), nil)
			if err != nil {
				return fmt.Errorf("asking for the health: %s is not a valid URL: write http://127.0.0.1:8080/healthz", address.Redacted())
			}
			client := http.Client{
				Timeout:       healthTimeout,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("asking for the health: %w: check that groupsync runs, and check web.listen", err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("asking for the health: %s answers %s: see the log of groupsync", address.Redacted(), resp.Status)
			}
			return nil
		},
	}
}
