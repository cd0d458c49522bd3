// Package clearml reads the users and user groups of a ClearML Enterprise
// server, whole or not at all, and replaces the members of one group. It knows
// nothing of plans: whether a write may be made is decided elsewhere.
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

// Config says where the server is and who we are there.
type Config struct {
	URL                string               // of the API: https://api.<domain>, or https://<web host>/api
	Keys               func() (Keys, error) // read for every login, so that they may rotate
	CAFile             string
	InsecureSkipVerify bool
	Timeout            time.Duration           // of one attempt; 0: transport.ClearMLTimeout
	RetryWait          time.Duration           // first pause between attempts, the longest is 60 times it; 0: 500 ms
	AdminRole          bool                    // the role admin stands among the user groups, and is written
	Observe            func(transport.Attempt) // told of every request; may be nil
	Transport          http.RoundTripper       // sends the requests in place of the network (transport.Options.Base); nil: the network
	Log                *slog.Logger            // may be nil
}

// Keys are the credentials of a ClearML administrator.
type Keys struct{ Access, Secret string }

// Client is a client of one server. It may be used by several goroutines.
type Client struct {
	base      string // without a trailing slash
	keys      func() (Keys, error)
	timeout   time.Duration
	adminRole bool
	http      *retryablehttp.Client
	log       *slog.Logger
	secrets   *transport.Secrets // the keys and tokens that were used: no message shows them

	mu       sync.Mutex
	token    token
	probed   map[string]bool // calls that are known to exist
	warnedOf string          // what was warned of already
}

// New returns a client for the configuration, or an error that names the key
// of the configuration which is wrong. It sends nothing.
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
		Connections: 0, // the server closes each one
		RetryMax:    4, WaitMin: wait, WaitMax: 60 * wait,
		Retry: retry, Observe: c.Observe, Log: c.Log, Secrets: cl.secrets, Base: c.Transport,
	})
	if err != nil {
		return nil, fault.New(fault.ClearML, fault.Connection, "clearml.ca_file: %w", err)
	}
	return cl, nil
}

// basic is the keys as the Basic scheme sends them.
func (k Keys) basic() string {
	return base64.StdEncoding.EncodeToString([]byte(k.Access + ":" + k.Secret))
}

// failf returns an error of one call.
func failf(reason fault.Reason, call, format string, args ...any) error {
	return fault.New(fault.ClearML, reason, "ClearML %s: %w", call, fmt.Errorf(format, args...))
}
