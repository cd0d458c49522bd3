package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
	"groupsync/internal/preflight/signin"
)

// TestSignInOf checks that the options of the sign-in checks come from groupsync's own keys
// and from ClearML's variables.
func TestSignInOf(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		env        []string
		want       signin.Options
	}{
		{"nothing is said", "keycloak: {url: https://auth.example.com, realm: r, client_secret: x}\nclearml: {url: https://api.example.com, access_key: x, secret_key: x}\n", nil,
			signin.Options{Own: "groupsync", Claim: "groups"}},
		{"by groupsync's keys", "keycloak: {url: https://auth.example.com, realm: r, client_secret: x, client_id: sync, clearml_client_id: web}\nclearml: {url: https://api.example.com, access_key: x, secret_key: x}\ngroups: {claim: teams, full_path: true}\nadmins: {role: boss}\n", nil,
			signin.Options{ClientID: "web", Own: "sync", Claim: "teams", FullPath: true, AdminRole: "boss"}},
		{"by ClearML's variables", "keycloak: {url: https://auth.example.com, realm: r, client_secret: x}\nclearml: {url: https://api.example.com, access_key: x, secret_key: x}\n",
			[]string{secure + "client_id=web", services + "groups__enabled=true", services + "groups__claim=teams", services + "admin_role=boss", services + "claims__name=preferred_username", services + "get_info_from_access_token=false"},
			signin.Options{ClientID: "web", Own: "groupsync", Claim: "teams", AdminRole: "boss", Userinfo: true, NameClaim: "preferred_username"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			traced, err := config.Trace(config.Options{File: file(t, "config.yaml", tt.yaml), Env: tt.env})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, signInOf(traced.Config, traced.SignIn)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
