package clearmlenv

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzRead reads a file of each form, and one environment variable. Each value is for a key of
// groupsync and names its variable. A second read gives equal facts.
func FuzzRead(f *testing.F) {
	const pre = "CLEARML__services__login__sso__oauth_client__keycloak__"
	f.Add(0, prefix+service+"=x\n", "")
	f.Add(0, "export "+pre+"groups__claim='groups'\n# no\n"+pre+"admin_role=\"admin\"\n", pre+"client_id=clearml")
	f.Add(1, "services:\n  apiserver:\n    environment:\n      - "+pre+"client_id=clearml\n", "")
	f.Add(1, "services: {apiserver: {environment: {"+pre+"groups__enabled: true}}}\n", pre+"groups__enabled=false")
	f.Add(1, "apiserver:\n  additionalConfigs: {}\n  extraEnvs:\n  - name: "+pre+"admin_role\n    value: x\n", "")
	f.Add(1, "a: &a [*a]\n", "")
	names := []string{"clearml.env", "values.yaml"}
	f.Fuzz(func(t *testing.T, form int, text, env string) {
		file := filepath.Join(t.TempDir(), names[uint(form)%2])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		facts, err := Read(file, []string{env})
		again, errAgain := Read(file, []string{env})
		if !reflect.DeepEqual(facts, again) || (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Errorf("read again it differs: %v, %v", err, errAgain)
		}
		if err != nil && !reflect.DeepEqual(facts, Facts{}) {
			t.Errorf("facts beside an error: %+v", facts)
		}
		for _, v := range facts.Values {
			if section, _, is := strings.Cut(v.Key, "."); !is || !slices.Contains([]string{"keycloak", "clearml", "groups", "admins"}, section) || v.From == "" {
				t.Errorf("a value for no key of groupsync, or from nowhere: %+v", v)
			}
		}
	})
}
