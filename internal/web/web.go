// Package web is the daemon's HTTP server. It serves metrics, health, and the status page with
// its API. If the configuration enables it, it also accepts requests to run a pass, approve
// changes, suspend writing and reload. Only the page and /api/v1/ show people's names, and
// only to requests that may see them. exporter-toolkit does TLS and authentication.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
)

// Server is an HTTP server that already listens on its address. Serve answers the requests.
type Server struct {
	listener net.Listener
	config   string
	log      *slog.Logger
	http     http.Server
}

// Options says what the server serves, and at which address.
type Options struct {
	Address    string
	ConfigFile string       // exporter-toolkit's web configuration, for TLS and authentication of every path; empty: no TLS and no authentication
	Metrics    http.Handler // served at /metrics
	Status     *Status      // shown by / and /api/v1/status; nil: the page and /api/v1/ are not served
	Explainer  Explainer    // used by / and /api/v1/explain; nil: nothing can be explained
	Public     bool         // everybody who reaches the address may see people's names
	Control    Control      // used by POST /-/…; nil: these paths are not served
	Log        *slog.Logger
}

// Listen binds the address. It returns an error if the address is in use or ConfigFile is
// invalid.
//
// The server always answers 200 at /healthz and /readyz. No check is needed there: a process that
// answers is alive, and the daemon listens only after it has loaded its configuration. The server
// answers 404 for a path that Options does not enable.
func Listen(o Options) (*Server, error) {
	if err := toolkit.Validate(o.ConfigFile); err != nil {
		return nil, fmt.Errorf("web.config_file: %s: %s: see exporter-toolkit's documentation of the web configuration", o.ConfigFile, unquoted(err))
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP: %w. Free the port or set web.listen to another address", err)
	}
	warn(o, l.Addr())
	return &Server{listener: l, config: o.ConfigFile, log: o.Log, http: http.Server{
		Handler:           routes(o, l.Addr()),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}, nil
}

// routes returns the handler of a server that listens on the address at.
func routes(o Options, at net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok)
	if o.Status != nil {
		registerNames(mux, o, at)
	}
	if o.Control != nil {
		control(mux, o.Control, o.ConfigFile)
	}
	return mux
}

// warn logs a warning if everybody who can connect may control the process. It logs another one if
// everybody who can connect may read people's names. It logs nothing if the address at is
// loopback, or if the server authenticates every request.
func warn(o Options, at net.Addr) {
	if isLoopback(at) || keepsOut(o.ConfigFile) {
		return
	}
	const open = ", and web.config_file requires neither a password nor a verified client certificate. Anybody who can connect to web.listen can "
	const secure = ". Set basic_auth_users in web.config_file, or listen on loopback only"
	if o.Control != nil {
		o.Log.Warn("web.enable_lifecycle is set"+open+"make passes, approve changes and suspend writing"+secure, "listen", at.String())
	}
	if o.Status != nil && o.Public {
		o.Log.Warn("web.public_status is set"+open+"read people's names"+secure, "listen", at.String())
	}
}

// registerNames registers the paths that show people's names.
func registerNames(mux *http.ServeMux, o Options, at net.Addr) {
	a := access{at: at, listen: o.Address, file: o.ConfigFile, public: o.Public}
	e := newExplaining(o.Explainer, o.Log)
	page := page{status: o.Status, explaining: e, approve: approveBy(o, at)}
	api := api{status: o.Status, explaining: e}
	for path, h := range map[string]http.HandlerFunc{
		"/{$}":                 page.serve,
		"/page.js":             serveScript,
		"/api/v1/status":       api.serveStatus,
		"/api/v1/explain":      api.serveExplain,
		"/api/v1/openapi.yaml": serveOpenAPI,
	} {
		mux.HandleFunc("GET "+path, a.guarded(h))
	}
}

// keepsOut reports whether exporter-toolkit authenticates every request. file is the name of a
// valid web configuration, or empty. Among the values of client_auth_type, only
// RequireAndVerifyClientCert is enough. Every other value accepts an unverified certificate, or a
// request without a certificate.
func keepsOut(file string) bool {
	c := readAuth(file)
	return len(c.Users) > 0 || c.TLS.ClientAuth == "RequireAndVerifyClientCert"
}

// auth is the part of exporter-toolkit's web configuration that decides who has access.
type auth struct {
	Users map[string]string `yaml:"basic_auth_users"`
	TLS   struct {
		ClientAuth string `yaml:"client_auth_type"`
	} `yaml:"tls_server_config"`
}

// readAuth reads the web configuration from the file. exporter-toolkit reads the file for every
// request, and so do the callers of readAuth. If the file cannot be read, readAuth returns an
// empty auth: no users, and no client certificates.
func readAuth(file string) auth {
	var c auth
	data, err := os.ReadFile(file) // #nosec G304 -- the operator names the file with web.config_file
	if err != nil || yaml.Unmarshal(data, &c) != nil {
		return auth{}
	}
	return c
}

// quoted matches the values that a YAML error quotes. unquoted replaces them with "a value",
// because one of them may be the hash of a password.
var quoted = regexp.MustCompile("`[^`]*`")

func unquoted(err error) string { return quoted.ReplaceAllString(err.Error(), "a value") }

func ok(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n") // an error only means that the client has gone away
}

// Addr returns the address of the listener, with the port that was bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers requests until ctx ends. It then waits up to five seconds for requests that are
// under way, closes the rest, and returns nil. If the server stops before ctx ends, Serve returns
// the error that stopped the server. Call Serve only once.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	log := s.log
	if s.config == "" {
		log = slog.New(slog.DiscardHandler) // exporter-toolkit would only log that there is no TLS
	}
	go func() {
		failed <- toolkit.Serve(s.listener, &s.http, &toolkit.FlagConfig{WebConfigFile: &s.config}, log)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := s.http.Shutdown(end)
	if err != nil {
		_ = s.http.Close() // cut off the requests that did not finish
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("HTTP requests did not finish within 5 seconds of the shutdown, and were closed")
		err = nil
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stopping HTTP: %w", err)
	}
	return nil
}
