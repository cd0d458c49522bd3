package keycloak

import (
	"reflect"
	"testing"

	"groupsync/internal/fault"
)

// FuzzRead replaces one of Keycloak's answers. Either the reading is complete, with each
// account and group once and with an id, or Read returns an error of the system keycloak.
// The same answer gives an equal snapshot again.
func FuzzRead(f *testing.F) {
	paths := []string{"/realms/demo/protocol/openid-connect/token", "/groups", "/groups/g1/children", "/groups/count", "", "/components", "/groups/g1/members", "/users"}
	codes := []int{200, 204, 302, 400, 401, 403, 404, 500}
	kinds := []string{"application/json", "text/html", ""}
	f.Add(1, 0, 0, `[{"id":"g1","name":"eng","subGroupCount":0}]`)
	f.Add(6, 0, 0, `[{"id":"u1","username":"ann","enabled":true},{"id":"u1"}]`)
	f.Add(3, 0, 0, `{"count":1e400}`)
	f.Add(0, 0, 0, `{"access_token":"a.e30.c","expires_in":-1}`)
	f.Add(0, 3, 0, `{"error":"invalid_client","error_description":"Invalid client or Invalid client credentials"}`)
	f.Add(5, 0, 0, `[{"id":"f","name":"corp","providerId":"ldap","providerType":"org.keycloak.storage.UserStorageProvider","config":{"enabled":["true"]}}]`)
	f.Add(2, 7, 1, `<html>`)
	f.Add(4, 0, 0, `null`)
	f.Fuzz(func(t *testing.T, path, code, kind int, body string) {
		at := func(i, n int) int { return int(uint(i) % uint(n)) }
		fake, s := newFake(t, nil)
		fake.answers[paths[at(path, len(paths))]] = status(codes[at(code, len(codes))], kinds[at(kind, len(kinds))], body)
		snap, err := read(t.Context(), s)
		again, errAgain := read(t.Context(), s)
		if (err == nil) == (snap == nil) || (err == nil) != (errAgain == nil) {
			t.Fatalf("snapshot %v, error %v; again %v, %v", snap != nil, err, again != nil, errAgain)
		}
		if err == nil {
			if !reflect.DeepEqual(snap.Users(), again.Users()) || !reflect.DeepEqual(snap.Catalog().Groups(), again.Catalog().Groups()) {
				t.Errorf("the same answers gave another snapshot")
			}
			ids := map[string]bool{}
			for _, u := range snap.Users() {
				if ids["account "+u.ID] || u.ID == "" {
					t.Errorf("the account %q is there twice, or has no id", u.ID)
				}
				ids["account "+u.ID] = true
			}
			for _, g := range snap.Catalog().Groups() {
				if ids["group "+g.ID] || g.ID == "" {
					t.Errorf("the group %q is there twice, or has no id", g.ID)
				}
				ids["group "+g.ID] = true
			}
		}
		if f := fault.Of(err); err != nil && (f == nil || f.System != fault.Keycloak || f.Reason == "") {
			t.Errorf("an error that is not Keycloak's: %v", err)
		}
	})
}
