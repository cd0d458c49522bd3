package config

import "testing"

func TestASecretThatLooksLikeAnAliasIsNotQuoted(t *testing.T) {
	_, err := decodeYAML("config.yaml", []byte("keycloak:\n  client_secret: *hunter2\n"))
	if want := "config.yaml: a value begins with * and names no anchor of the file: put it in quotes"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
