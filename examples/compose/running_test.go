package compose

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"groupsync/internal/processtest"
	"groupsync/internal/source/keycloaktest"
)

// TestItRuns runs the example's containers as processes, except Prometheus and Grafana: the
// stand-in with the command of its service, Keycloak with the mounted realm, and groupsync
// with its configuration. It runs the commands that README.md shows, in README's order.
func TestItRuns(t *testing.T) {
	p := load(t)
	program := processtest.Groupsync(t, "../..")

	port, err := processtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	standIn, clearml := fmt.Sprintf("127.0.0.1:%d", port), p.Services["clearml"]
	check := relocate(clearml.HealthCheck.Test, "127.0.0.1:8008", standIn)
	serve(t, program, relocate(clearml.Command, ":8008", standIn), check[2:])

	export := read(t, p.outside(t, "keycloak", "/opt/keycloak/data/import/clearml-realm.json"))
	realm := keycloaktest.Shared(t).ImportRealm(t, []byte(export))

	path := p.configuration(t)
	groupsync := func(args string) (string, int) {
		cmd := exec.Command(program, strings.Fields(strings.ReplaceAll(args, "/etc/groupsync/config/config.yaml", path))...)
		cmd.Env = append(os.Environ(), "GROUPSYNC_KEYCLOAK_URL="+realm.Server.URL, "GROUPSYNC_CLEARML_URL=http://"+standIn+"/api")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	shown := regexp.MustCompile(`(?m)^    docker compose exec groupsync /groupsync (.*)$`).FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(shown) != 2 {
		t.Fatalf("README.md shows %q, the test knows two", shown)
	}
	look, apply := shown[0][1], shown[1][1]
	for _, step := range []struct {
		name, args string
		before     func()
		code       int
		want       string
	}{
		{name: "there is nothing to do", args: look, code: 0, want: "in_sync (dry run): 0 to add, 0 to remove; 1 person waits for the first login"},
		{
			name: "ken is taken out of platform", args: look, code: 2, want: "- Ken Thompson <ken@example.com>  planned  not_member",
			before: func() { realm.Leave(t, "ken", "/platform") },
		},
		{name: "it is applied", args: apply, code: 0, want: "applied (apply): 0 added, 1 removed, 0 failed; drift left: 0 to add, 0 to remove"},
		{name: "and stays applied", args: look, code: 0, want: "in_sync (dry run): 0 to add, 0 to remove"},
	} {
		if step.before != nil {
			step.before()
		}
		if out, code := groupsync(step.args); code != step.code || !strings.Contains(out, step.want) {
			t.Errorf("%s: exit %d, want %d and %q in\n%s", step.name, code, step.code, step.want, out)
		}
	}
}

// TestKeycloaksHealthCheck: the health check's bash reads the status from the answer.
func TestKeycloaksHealthCheck(t *testing.T) {
	check := load(t).Services["keycloak"].HealthCheck.Test
	for _, row := range []struct {
		name    string
		status  int
		healthy bool
	}{
		{"Keycloak is ready", http.StatusOK, true},
		{"Keycloak starts", http.StatusServiceUnavailable, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/health/ready" {
					t.Errorf("it asks for %s", r.URL.Path)
				}
				w.WriteHeader(row.status)
			}))
			defer server.Close()
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			args := relocate(check[1:], "/9000", "/"+port)
			if err := run(exec.Command(args[0], args[1:]...)); (err == nil) != row.healthy {
				t.Errorf("the check ends with %v", err)
			}
		})
	}
}

// relocate returns the arguments with the address from replaced by the address to.
func relocate(args []string, from, to string) (moved []string) {
	for _, a := range args {
		moved = append(moved, strings.Replace(a, from, to, 1))
	}
	return moved
}

// serve runs the program until the test ends, and waits until its health check succeeds.
func serve(t *testing.T, program string, args, check []string) {
	t.Helper()
	p, err := processtest.Start(filepath.Join(t.TempDir(), "log"), nil, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.End(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	if err := p.Await(20*time.Second, func() bool { return run(exec.Command(program, check...)) == nil }); err != nil {
		t.Fatal(err)
	}
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}
