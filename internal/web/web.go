// Package web serves what Kubernetes and Prometheus ask for: /metrics, /healthz
// and /readyz, and nothing that shows a person's name.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Server is a listening HTTP server.
type Server struct {
	http     *http.Server
	listener net.Listener
	failed   chan error
}

// Listen opens the address and serves until Shutdown. Once it returns, the
// configuration is loaded and the port is open, which is all that /readyz says:
// a process that waits for its turn is ready too.
func Listen(address string, metrics http.Handler) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on web.listen %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok)
	s := &Server{
		listener: listener, failed: make(chan error, 1),
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute},
	}
	go func() { s.failed <- s.http.Serve(listener) }()
	return s, nil
}

func ok(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "ok\n")
}

// Addr returns the address that is listened on, with the port that was chosen
// where the configured one was 0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Shutdown closes the port, lets requests in hand end within ctx, and returns
// why serving ended where that was not this call.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if served := <-s.failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
