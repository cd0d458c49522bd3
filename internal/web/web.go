// Package web serves the daemon's metrics and health and, if the configuration
// enables it, requests to make a pass, to approve changes and to reload. It shows
// no managed person's name. exporter-toolkit does TLS and authentication.
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
	Control    Control      // asked by POST /-/sync, /-/approve and /-/reload; nil: these are not served
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
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok)
	if o.Control != nil {
		warn(o, l.Addr())
		control(mux, o.Control, o.ConfigFile)
	}
	return &Server{listener: l, config: o.ConfigFile, log: o.Log, http: http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}, nil
}

// warn logs a warning if everybody who reaches the address can use the control.
func warn(o Options, at net.Addr) {
	if tcp, is := at.(*net.TCPAddr); is && tcp.IP.IsLoopback() || keepsOut(o.ConfigFile) {
		return
	}
	o.Log.Warn("web.enable_lifecycle is set, and web.config_file asks for neither a password nor a certificate that is verified: whoever reaches web.listen can make passes and approve changes", "listen", at.String())
}

// keepsOut reports whether a valid web configuration authenticates everybody. Of
// the values of client_auth_type only RequireAndVerifyClientCert does: the others
// accept any certificate, or none.
func keepsOut(file string) bool {
	c := access(file)
	return len(c.Users) > 0 || c.TLS.ClientAuth == "RequireAndVerifyClientCert"
}

// accessConfig is the part of exporter-toolkit's web configuration that says who
// has access.
type accessConfig struct {
	Users map[string]string `yaml:"basic_auth_users"`
	TLS   struct {
		ClientAuth string `yaml:"client_auth_type"`
	} `yaml:"tls_server_config"`
}

// access reads the web configuration, which exporter-toolkit reads again for
// every request, too. It is empty if the file cannot be read.
func access(file string) accessConfig {
	var c accessConfig
	data, err := os.ReadFile(file)
	if err != nil || yaml.Unmarshal(data, &c) != nil {
		return accessConfig{}
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
