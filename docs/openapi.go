// Package docs holds the description of the API that the daemon serves, and the
// tests of the pages beside it that are not transcripts.
package docs

import _ "embed"

// OpenAPI is the OpenAPI 3.1 description of /api/v1/, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
