package preflight_test

import (
	"io"
	"log"
	"os"
	"testing"

	"groupsync/internal/source/keycloaktest"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

// silent takes what net/http logs of handshakes that fail on purpose.
var silent = log.New(io.Discard, "", 0)
