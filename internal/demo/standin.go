package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"groupsync/examples/realm"
	"groupsync/internal/source/realmfile"
	"groupsync/internal/target/clearmltest"
)

// standIn reads the example realm into export, and starts a ClearML stand-in. In the stand-in, the
// people of the realm have already signed in (see populate). The caller closes the stand-in.
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

// Serve serves the stand-in until ctx is done, for examples/compose. The page of the
// web server is at /, and the calls are below /api. The access key is "access", and the secret
// key is "secret".
func Serve(ctx context.Context, out io.Writer, address string) error {
	server, err := standIn(new(realmfile.Realm), clearmltest.Options{Listen: address, Base: "/api"})
	if err != nil {
		return fmt.Errorf("%w: name a free address, such as 127.0.0.1:8008", err)
	}
	defer server.Close()
	fmt.Fprintf(out, "The ClearML stand-in: %s (Ctrl-C ends)\n", server.URL)
	forget := time.NewTicker(time.Minute) // the stand-in records every request for tests; here the record is dropped, so that memory does not grow
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
