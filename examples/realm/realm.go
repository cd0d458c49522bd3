// Package realm holds a small example realm in the form of a Keycloak export. The demo uses
// it, and the documentation and the compose example import it.
package realm

import _ "embed"

// Export is the JSON of the realm clearml.
//
//go:embed clearml-realm.json
var Export []byte
