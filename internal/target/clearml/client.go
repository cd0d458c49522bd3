// Package clearml is the client of a ClearML Enterprise server. It reads the users and user
// groups completely or returns an error. It replaces the members of one group at a time. Its
// caller decides whether a write may be made (target.Fence).
package clearml

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"groupsync/internal/fault"
	"groupsync/internal/transport"
)

// Config says how to reach the server, and with which credentials.
type Config struct {
	URL                string               // of the API: https://api.<domain>, or https://<web host>/api
	Keys               func() (Keys, error) // called for every login, so that the keys can rotate
	CAFile             string
	InsecureSkipVerify bool
	Timeout            time.Duration           // of one attempt; 0: transport.ClearMLTimeout
	RetryWait          time.Duration           // first pause between attempts; the longest pause is 60 times as long; 0: 500 ms
	AdminRole          bool                    // the snapshot has the role admin as a group, and a write can set the role
	Observe            func(transport.Attempt) // called after every attempt; may be nil
	Transport          http.RoundTripper       // sends the requests instead of the network (transport.Options.Base); nil: the network is used
	Log                *slog.Logger            // may be nil
}

// Keys are the credentials of a ClearML administrator.
type Keys struct{ Access, Secret string }

// Client is a client of one server. Several goroutines may use it.
type Client struct {
	base      string // without a trailing slash
	keys      func() (Keys, error)
	timeout   time.Duration
	adminRole bool
	http      *retryablehttp.Client
	log       *slog.Logger
	secrets   *transport.Secrets // the keys and tokens that were used; messages mask them

	mu       sync.Mutex
	token    token
	probed   map[string]bool // calls that the server has, by their names
	warnedOf string          // the last warning that was logged
}

// New returns a client of the server that c describes. It sends no request. An error names the
// key of the configuration that is wrong.
func New(c Config) (*Client, error) {
	base, err := transport.ServerURL(c.URL, "https://api.clearml.example.com")
	if err != nil {
		return nil, fault.New(fault.ClearML, fault.Connection, "clearml.url: %w", err)
	}
	if c.Keys == nil {
		return nil, fault.New(fault.ClearML, fault.Auth, "no credentials: set clearml.access_key (or access_key_file) and clearml.secret_key (or secret_key_file) to those of a ClearML administrator")
	}
	cl := &Client{
		base: base.String(), keys: c.Keys, adminRole: c.AdminRole, log: c.Log, probed: make(map[string]bool), secrets: new(transport.Secrets),
		timeout: cmp.Or(c.Timeout, transport.ClearMLTimeout),
	}
	if cl.log == nil {
		cl.log = slog.New(slog.DiscardHandler)
	}
	wait := cmp.Or(c.RetryWait, 500*time.Millisecond)
	cl.http, err = transport.New(transport.Options{
		CAFile: c.CAFile, InsecureSkipVerify: c.InsecureSkipVerify, Timeout: cl.timeout,
		Connections: 0, // the server closes every connection
		RetryMax:    4, WaitMin: wait, WaitMax: 60 * wait,
		Retry: retry, Observe: c.Observe, Log: c.Log, Secrets: cl.secrets, Base: c.Transport,
	})
	if err != nil {
		return nil, fault.New(fault.ClearML, fault.Connection, "clearml.ca_file: %w", err)
	}
	return cl, nil
}

// basic returns the keys encoded for an Authorization header of the scheme Basic.
func (k Keys) basic() string {
	return base64.StdEncoding.EncodeToString([]byte(k.Access + ":" + k.Secret))
}

// failf returns a *fault.Error whose text begins with the name of the call.
func failf(reason fault.Reason, call, format string, args ...any) error {
	return fault.New(fault.ClearML, reason, "ClearML %s: %w", call, fmt.Errorf(format, args...))
}
