package clearml

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/target/clearmltest"
)

// TestConnections checks both forms of a connection, and that the secret is not returned.
func TestConnections(t *testing.T) {
	yes, no := true, false
	flat := map[string]any{
		"provider": "keycloak", "client_id": "web", "client_secret": "s3cr3t", "authorization_endpoint": "https://a/realms/r/protocol/openid-connect/auth",
		"token_endpoint": "https://a/realms/r/protocol/openid-connect/token", "group_enabled": true, "claim_groups": "groups",
		"group_prohibit_user_login_if_not_in_group": false, "claim_name": "name",
	}
	nested := map[string]any{"provider": "okta", "company": "c", "configuration": map[string]any{"client_id": "x", "group_enabled": false, "client_secret": "s3cr3t"}}
	s, c := setup(t, clearmltest.Options{})
	got, err := c.Connections(t.Context())
	if err != nil || got == nil || len(got) != 0 {
		t.Errorf("no connections: %v, %v", got, err)
	}
	s.SetConnections(flat, nested)
	got, err = c.Connections(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Connection{
		{Provider: "keycloak", ClientID: "web", Authorization: "https://a/realms/r/protocol/openid-connect/auth", Token: "https://a/realms/r/protocol/openid-connect/token", Groups: &yes, Claim: "groups", NeedsGroup: &no},
		{Provider: "okta", ClientID: "x", Groups: &no},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestConnectionsThatCannotBeRead(t *testing.T) {
	const call = "sso.get_provider_configurations"
	for _, tt := range []struct {
		name    string
		options clearmltest.Options
		fault   clearmltest.Fault
		want    string
		reason  fault.Reason
	}{
		{"the server has no such call", clearmltest.Options{NoConnections: true}, clearmltest.Fault{},
			"ClearML has no call " + call + ": check clearml.url, and the server's version", fault.NotFound},
		{"the caller may not", clearmltest.Options{}, clearmltest.Fault{Call: call, Code: 403, Subcode: 20, Text: "no"},
			"ClearML " + call + ": the role of these credentials may not make this call (403/20, no): give groupsync the access key of a ClearML administrator", fault.Forbidden},
		{"no list is no empty list", clearmltest.Options{}, clearmltest.Fault{Call: call, Data: `{}`},
			"ClearML " + call + ": the answer has no list of configurations; groupsync may not know this version of ClearML", fault.Shape},
		{"a switch that is text", clearmltest.Options{}, clearmltest.Fault{Call: call, Data: `{"configurations": [{"group_enabled": "s3cr3t"}]}`},
			"ClearML " + call + ": the answer's data does not have the documented form: json: cannot unmarshal string into Go struct field .configurations.Connection.group_enabled of type bool; groupsync may not know this version of ClearML", fault.Shape},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, tt.options)
			if tt.fault.Call != "" {
				s.Inject(tt.fault)
			}
			_, err := c.Connections(t.Context())
			refused(t, c, err, tt.want, tt.reason)
		})
	}
}
