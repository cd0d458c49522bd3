package plantest

import (
	"math/rand/v2"
	"strings"

	"pgregory.net/rapid"

	"groupsync/internal/match"
)

// Draw returns the lines of a small random World, for New. Its people are of every kind, and
// their ids, emails and names overlap. Its groups have overlapping names. The member lists and
// the own side of federated accounts can differ.
func Draw(t *rapid.T) string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	people := []string{"a", "b", "c", "d", "e", "f"}
	some := func(label string, of []string) []string {
		var picked []string
		for _, p := range of {
			if rapid.IntRange(0, 2).Draw(t, label) > 0 {
				picked = append(picked, p)
			}
		}
		return picked
	}

	line("federation corp", one("federation", "", "", "away", "off", "unanswered", "trusted away", "foreign"))
	if rapid.IntRange(0, 3).Draw(t, "duplicates") == 0 {
		line("duplicates")
	}
	line("both anchor")
	var accounts, federated []string
	for _, p := range people {
		if rapid.IntRange(0, 3).Draw(t, "account") > 0 {
			flags := one("account", "", "", "", "disabled", "email=one@x", "email=two@x", "email=ONE@x", "name=b_", "service")
			if rapid.Bool().Draw(t, "federated") {
				flags += " ldap"
				federated = append(federated, p)
			}
			line("keycloak", p, flags)
			accounts = append(accounts, p)
		}
		if rapid.IntRange(0, 3).Draw(t, "user") > 0 {
			line("clearml", p, one("user", "", "", "id=kc-"+p, "id=kc-"+p, "id=kc-"+p, "local", "google", "also=google", "service", "email=one@x", "email=two@x", "email=", "id=kc-a", "id=kc-old", "id=kc-a,kc-b", "id=f:fed-corp:x", "name=b"))
		}
	}
	paths := []string{"/team", "/x/team", "/teams", "/ops", "/x/ops", "/Team"}
	for _, path := range paths {
		if path == "/team" || rapid.IntRange(0, 3).Draw(t, "has "+path) > 0 {
			line(append([]string{path + ":"}, some("member", accounts)...)...)
			if rapid.Bool().Draw(t, "views differ") {
				line(append([]string{"hides", path, "nobody"}, some("hidden", federated)...)...)
				line(append([]string{"shows", path, "nobody"}, some("shown", federated)...)...)
			}
		}
	}
	line(append([]string{"role", "boss:", "/x"}, some("holder", accounts)...)...)
	if rapid.IntRange(0, 9).Draw(t, "unreadable") == 0 {
		line("unreadable", one("unreadable", paths[:3]...))
	}
	for _, g := range []string{"team", "teams", "x", "/x/team", "Admins!", "Users!"} {
		line(append([]string{g, "="}, some("in "+g, append([]string{"anchor", "groupsync", "ghost"}, people...))...)...)
	}
	return b.String()
}

// DrawRules returns a random change of the rules. The rules name groups, roles and people that Draw
// makes, so the change often has an effect.
func DrawRules(t *rapid.T) func(*match.Options) {
	drawn := match.Options{
		FullPath: rapid.Bool().Draw(t, "full_path"), CaseInsensitive: rapid.Bool().Draw(t, "case_insensitive"), KeepGone: rapid.IntRange(0, 4).Draw(t, "keep gone") == 0,
		AdminGroups: rapid.SampledFrom([][]string{nil, {"ops"}, {"/ops"}, {"/ops", "ops"}}).Draw(t, "admins"), AdminRole: rapid.SampledFrom([]string{"", "boss"}).Draw(t, "role"),
		Protect: rapid.SampledFrom([][]string{nil, {"f"}, {"one@*"}}).Draw(t, "protect"), Exclude: rapid.SampledFrom([][]string{nil, {"teams"}}).Draw(t, "exclude"),
	}
	return func(o *match.Options) {
		o.FullPath, o.CaseInsensitive, o.KeepGone, o.AdminGroups, o.AdminRole = drawn.FullPath, drawn.CaseInsensitive, drawn.KeepGone, drawn.AdminGroups, drawn.AdminRole
		o.Protect, o.Exclude = drawn.Protect, drawn.Exclude
	}
}

// Shuffled returns the lines of a World, world, in another order, so that New makes the same
// World from them. A test can then check that the order makes no difference. Shuffled moves
// the lines that do not depend on each other, and the members in the line of each group.
func Shuffled(world string, r *rand.Rand) string {
	var first, rest []string
	for l := range strings.Lines(world) {
		words := strings.Fields(l)
		switch {
		case words[0] == "federation" || words[0] == "duplicates" || words[0] == "both":
			first = append(first, l)
			continue
		case strings.HasSuffix(words[0], ":"):
			shuffle(words[1:], r)
		case len(words) > 1 && words[1] == "=", words[0] == "hides", words[0] == "shows":
			shuffle(words[2:], r)
		}
		rest = append(rest, strings.Join(words, " ")+"\n")
	}
	shuffle(rest, r)
	return strings.Join(append(first, rest...), "")
}

func shuffle(s []string, r *rand.Rand) {
	r.Shuffle(len(s), func(i, k int) { s[i], s[k] = s[k], s[i] })
}
