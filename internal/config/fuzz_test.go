package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzLoad: a configuration that Load accepts is valid, and a second Load returns an equal one.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"../../config.example.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("keycloak: {url: https://k, realm: r, client_id: c, client_secret: secret}\nclearml: {url: https://c, access_key: a, secret_key: s}\n")
	f.Add("keycloak: [\n")
	f.Add("a: &a [*a, *a]\n")
	f.Add("guards: {max_removals: -1, window: 5y}\nmapping: {a: b}\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Options{File: file})
		if err != nil {
			if !utf8.ValidString(err.Error()) {
				t.Errorf("the error is no text: %q", err)
			}
			return
		}
		if err := c.Validate(time.Now()); err != nil {
			t.Errorf("accepted, and not valid: %v", err)
		}
		if again, err := Load(Options{File: file}); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("loaded again it differs: %v", err)
		}
	})
}
