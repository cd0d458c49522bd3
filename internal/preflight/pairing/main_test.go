package pairing_test

import (
	"os"
	"testing"

	"groupsync/internal/source/keycloaktest"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }
