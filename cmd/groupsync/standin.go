package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"groupsync/examples/realm"
	"groupsync/internal/source/realmfile"
	"groupsync/internal/target/clearmltest"
)

// standIn starts a ClearML stand-in on which everybody of the example realm
// has signed in, and gives the realm. The caller closes the stand-in.
func standIn(export *realmfile.Realm, o clearmltest.Options) (*clearmltest.Server, error) {
	if err := json.Unmarshal(realm.Export, export); err != nil {
		return nil, fmt.Errorf("reading the example realm: %w", err)
	}
	server, err := clearmltest.Start(o)
	if err != nil {
		return nil, err
	}
	populate(server, export)
	return server, nil
}

// serveStandIn serves the stand-in until ctx is done, for examples/compose: the
// web server's page at /, the calls below /api, for the access key "access" with
// the secret key "secret".
func serveStandIn(ctx context.Context, p program, address string) error {
	server, err := standIn(new(realmfile.Realm), clearmltest.Options{Listen: address, Base: "/api"})
	if err != nil {
		return fmt.Errorf("%w: name a free address, such as 127.0.0.1:8008", err)
	}
	defer server.Close()
	fmt.Fprintf(p.stdout, "The ClearML stand-in: %s (Ctrl-C ends)\n", server.URL)
	forget := time.NewTicker(time.Minute) // it keeps every request, for tests
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-forget.C:
			server.Forget()
		}
	}
}
