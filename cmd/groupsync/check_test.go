package main

import (
	"log/slog"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
)

// Every check has its section in docs/check.md, in the order of the checks, and there is
// no other section of that level.
func TestEveryCheckIsDocumented(t *testing.T) {
	c := config.Default()
	c.Keycloak.URL, c.Keycloak.Realm, c.ClearML.URL = "https://auth.example.com", "clearml", "https://api.clearml.example.com"
	checks, err := checksOf(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, check := range checks {
		want = append(want, check.Name)
	}
	page, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, heading := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(string(page), -1) {
		got = append(got, heading[1])
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-checks +sections\n%s", d)
	}
}

// A check may only need checks that are made before it.
func TestChecksNeedOnlyEarlierOnes(t *testing.T) {
	c := config.Default()
	c.Keycloak.URL, c.Keycloak.Realm, c.ClearML.URL = "https://auth.example.com", "clearml", "https://api.clearml.example.com"
	checks, err := checksOf(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	made := make(map[string]bool)
	for _, check := range checks {
		for _, needed := range check.After {
			if !made[needed] {
				t.Errorf("%s needs %s, which is not made before it", check.Name, needed)
			}
		}
		if made[check.Name] {
			t.Errorf("there are two checks %s", check.Name)
		}
		made[check.Name] = true
	}
}
