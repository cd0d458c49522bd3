// Package realm holds a small example realm, as Keycloak exports one. The demo
// plays on it, and the documentation and the compose example import it.
package realm

import _ "embed"

// Export is the JSON of the realm clearml.
//
//go:embed clearml-realm.json
var Export []byte
