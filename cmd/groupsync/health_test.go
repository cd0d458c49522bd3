package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
		case "/moved":
			http.Redirect(w, r, "/healthz", http.StatusFound)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	const said = "groupsync: asking for the health: "
	for _, row := range []struct {
		name string
		args []string
		code int
		want string // all of stderr, SERVER standing for the server
	}{
		{name: "a server that is well", args: []string{"SERVER/healthz"}},
		{
			name: "a server that is not", args: []string{"SERVER/readyz"}, code: 1,
			want: said + "SERVER/readyz answers 503 Service Unavailable: see the log of groupsync\n",
		},
		{
			name: "no server", args: []string{"http://127.0.0.1:1/healthz"}, code: 1,
			want: said + `Get "http://127.0.0.1:1/healthz": dial tcp 127.0.0.1:1: connect: connection refused: check that groupsync runs, and check web.listen` + "\n",
		},
		{
			name: "no address", args: []string{"127.0.0.1:8080"}, code: 1,
			want: said + "the argument is not a URL: write http://127.0.0.1:8080/healthz\n",
		},
		{
			name: "a password in the address is not shown", args: []string{"http://ann:canary@127.0.0.1:1/healthz"}, code: 1,
			want: said + `Get "http://ann:***@127.0.0.1:1/healthz": dial tcp 127.0.0.1:1: connect: connection refused: check that groupsync runs, and check web.listen` + "\n",
		},
		{
			name: "nor in one that is none", args: []string{"http://ann:canary@127.0.0.1:x/healthz"}, code: 1,
			want: said + "the argument is not a URL: write http://127.0.0.1:8080/healthz\n",
		},
		{
			name: "a redirect is not followed", args: []string{"SERVER/moved"}, code: 1,
			want: said + "SERVER/moved answers 302 Found: see the log of groupsync\n",
		},
		{
			name: "no argument", code: 1,
			want: "groupsync: accepts 1 arg(s), received 0: groupsync --help lists the commands and flags\n",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := []string{"health"}
			for _, a := range row.args {
				args = append(args, strings.ReplaceAll(a, "SERVER", server.URL))
			}
			got := inProcess(t, nil, args...)
			want := strings.ReplaceAll(row.want, "SERVER", server.URL)
			if got.code != row.code || got.stderr != want || got.stdout != "" {
				t.Errorf("exit %d\n%s%swant %d\n%s", got.code, got.stdout, got.stderr, row.code, want)
			}
		})
	}
}
