package keycloaktest

import (
	"archive/zip"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

//go:embed storage/UserStorage.java
var storageSource []byte

// StoragePeople are the usernames of the people of a custom user storage: a federation that is
// not LDAP. Their emails have the domain example.org. Their ids are f:COMPONENT:1 and
// f:COMPONENT:2, with the id of the component.
var StoragePeople = []string{"stored-ann", "stored-bob"}

// ForeignID says how a custom user storage answers for an id that it does not know.
type ForeignID string

const (
	// ForeignParsed: the storage parses the id as a number. It answers an unknown number
	// with not found (404), and fails on every other id (500).
	ForeignParsed ForeignID = "parse"
	// ForeignThrown: the storage fails on every unknown id (500).
	ForeignThrown ForeignID = "throw"
)

// AddStorage adds a custom user storage with that name to the realm. group is the path of a Keycloak
// group. The StoragePeople are its members. foreign says how the storage answers for an id that it
// does not know.
func (r *Realm) AddStorage(tb testing.TB, name, group string, foreign ForeignID) *Federation {
	tb.Helper()
	return r.addStorage(tb, name, "groupsync-test-storage", map[string]string{
		"enabled": "true", "priority": "0", "cachePolicy": "DEFAULT", "group": group, "foreign": string(foreign),
	})
}

// storageVersion returns a name made from the hash of the storage's Java source. If the source
// changes, the name changes too, so that no test uses a distribution with the older storage.
func storageVersion() string { return fmt.Sprintf("storage-%.4x", sha256.Sum256(storageSource)) }

// buildStorage compiles the custom user storage and adds it to the providers of the distribution.
// The storage does nothing in a realm for which AddStorage was not called.
func buildStorage(dist string) error {
	work, err := os.MkdirTemp("", "keycloaktest-storage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	source, classes := filepath.Join(work, "UserStorage.java"), filepath.Join(work, "classes")
	if err := os.WriteFile(source, storageSource, 0o600); err != nil {
		return err
	}
	if err := run("javac", "-proc:none", "-nowarn", "--release", "17", "-cp", filepath.Join(dist, "lib", "lib", "main")+"/*", "-d", classes, source); err != nil {
		return err
	}
	services := filepath.Join(classes, "META-INF", "services")
	if err := os.MkdirAll(services, 0o750); err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(services, "org.keycloak.storage.UserStorageProviderFactory"), []byte("groupsync.UserStorage$Factory\n"), 0o600)
	if err != nil {
		return err
	}
	return writeJar(filepath.Join(dist, "providers", "groupsync-test-storage.jar"), os.DirFS(classes))
}

func writeJar(path string, from fs.FS) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	jar := zip.NewWriter(file)
	if err := errors.Join(jar.AddFS(from), jar.Close()); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
