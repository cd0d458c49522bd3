// Package web serves the daemon's metrics and health, the status page with its API
// and, if the configuration enables it, requests to make a pass, to approve changes
// and to reload. Only the page and /api/v1/ show people's names, and only to requests
// that may see them. exporter-toolkit does TLS and authentication.
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

// Server is an HTTP server that listens.
type Server struct {
	listener net.Listener
	config   string
	log      *slog.Logger
	http     http.Server
}

// Options say what is served, and where.
type Options struct {
	Address    string
	ConfigFile string       // exporter-toolkit's, for TLS and authentication of every path; empty: neither
	Metrics    http.Handler // served at /metrics
	Status     *Status      // shown by / and /api/v1/status; nil: neither is served, nor /api/v1/explain
	Explainer  Explainer    // asked by / and /api/v1/explain; nil: nothing can be explained
	Public     bool         // whoever reaches the address may see people's names
	Control    Control      // asked by POST /-/…; nil: these are not served
	Log        *slog.Logger
}

// Listen binds the address, so that a port that is taken, and a ConfigFile that
// makes no sense, are errors at start. Serve answers 200 at /healthz and
// /readyz: a process that answers is alive, and it listens only once its
// configuration is loaded. Everything else is 404.
func Listen(o Options) (*Server, error) {
	if err := toolkit.Validate(o.ConfigFile); err != nil {
		return nil, fmt.Errorf("web.config_file: %s: %s: see exporter-toolkit's documentation of the web configuration", o.ConfigFile, unquoted(err))
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP: %w: free the port or set web.listen to another address", err)
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

// routes returns the handler of a server that listens on the address.
func routes(o Options, at net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok)
	if o.Status != nil {
		names(mux, o, at)
	}
	if o.Control != nil {
		control(mux, o.Control, o.ConfigFile)
	}
	return mux
}

// warn logs a warning for each thing that everybody who reaches the address can do.
func warn(o Options, at net.Addr) {
	if isLoopback(at) || keepsOut(o.ConfigFile) {
		return
	}
	const open = ", and web.config_file asks for neither a password nor a certificate that is verified: whoever reaches web.listen can "
	if o.Control != nil {
		o.Log.Warn("web.enable_lifecycle is set"+open+"make passes, approve changes and suspend writing", "listen", at.String())
	}
	if o.Status != nil && o.Public {
		o.Log.Warn("web.public_status is set"+open+"read people's names", "listen", at.String())
	}
}

// names routes the paths that show people's names.
func names(mux *http.ServeMux, o Options, at net.Addr) {
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

// keepsOut reports whether a valid web configuration authenticates everybody. Of
// the values of client_auth_type only RequireAndVerifyClientCert does: the others
// accept any certificate, or none.
func keepsOut(file string) bool {
	c := readAuth(file)
	return len(c.Users) > 0 || c.TLS.ClientAuth == "RequireAndVerifyClientCert"
}

// auth is the part of exporter-toolkit's web configuration that says who has access.
type auth struct {
	Users map[string]string `yaml:"basic_auth_users"`
	TLS   struct {
		ClientAuth string `yaml:"client_auth_type"`
	} `yaml:"tls_server_config"`
}

// readAuth reads the web configuration, which exporter-toolkit reads again for every
// request, too. It is empty if the file cannot be read.
func readAuth(file string) auth {
	var c auth
	data, err := os.ReadFile(file) // #nosec G304 -- the operator names the file with web.config_file
	if err != nil || yaml.Unmarshal(data, &c) != nil {
		return auth{}
	}
	return c
}

// quoted is what YAML's errors quote of a value, which may be a password's hash.
var quoted = regexp.MustCompile("`[^`]*`")

func unquoted(err error) string { return quoted.ReplaceAllString(err.Error(), "a value") }

func ok(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n") // a client that went away is no error of ours
}

// Addr returns the address that is listened on, with the port that was bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until ctx ends, then lets answers that are under way finish
// for up to five seconds. It returns nil after that, or the error that ended
// it. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	log := s.log
	if s.config == "" {
		log = slog.New(slog.DiscardHandler) // it would only say that there is no TLS
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
		_ = s.http.Close() // cut off what did not finish
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("HTTP requests that were under way are cut off")
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
