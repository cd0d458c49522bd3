package match

import (
	"testing"

	"pgregory.net/rapid"
)

func TestScope(t *testing.T) {
	base := Options{Include: []string{"*"}, Exclude: []string{"a", "b"}, Mapping: map[string][]string{"x": {"y", "z"}}, AdminGroups: []string{"ops", "/sec"}, AdminRole: "boss"}
	for _, tt := range []struct {
		name   string
		change func(*Options)
		same   bool
	}{
		{"nothing", func(*Options) {}, true},
		{"the order of a list", func(o *Options) { o.Exclude = []string{"b", "a"}; o.AdminGroups = []string{"/sec", "ops"} }, true},
		{"the order of a mapping's groups", func(o *Options) { o.Mapping = map[string][]string{"x": {"z", "y"}} }, true},
		{"an entry written twice", func(o *Options) { o.Include = []string{"*", "*"} }, true},
		{"whom to protect", func(o *Options) { o.Protect = []string{"a"} }, true},
		{"an exception", func(o *Options) { o.Exceptions = []Exception{{Match: "a"}} }, true},
		{"the provider", func(o *Options) { o.Provider = "other" }, true},
		{"users.gone", func(o *Options) { o.KeepGone = true }, true},
		{"full_path", func(o *Options) { o.FullPath = true }, false},
		{"case_sensitive", func(o *Options) { o.CaseInsensitive = true }, false},
		{"include", func(o *Options) { o.Include = []string{"a*"} }, false},
		{"exclude", func(o *Options) { o.Exclude = nil }, false},
		{"a mapping", func(o *Options) { o.Mapping = map[string][]string{"x": {"y"}} }, false},
		{"an admin group", func(o *Options) { o.AdminGroups = []string{"ops"} }, false},
		{"the admin role", func(o *Options) { o.AdminRole = "" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := base
			tt.change(&o)
			a, b := compile(t, base).Scope(), compile(t, o).Scope()
			if same := a == b; same != tt.same {
				t.Errorf("the scopes are the same: %v, want %v\n%s\n%s", same, tt.same, a, b)
			}
		})
	}
}

func TestScopeText(t *testing.T) {
	const want = `{"full_path":false,"case_insensitive":false,"include":["*"],"exclude":[],"mapping":{},"admin_groups":[],"admin_role":""}`
	if got := compile(t, Options{}).Scope(); got != want {
		t.Errorf("a memory keeps this text, so an upgrade must not change it\ngot  %s\nwant %s", got, want)
	}
}

// TestWithScopeRestoresTheScope: WithScope replaces the scope of any rules, and keeps the rest
// of the rules.
func TestWithScopeRestoresTheScope(t *testing.T) {
	names := rapid.SliceOfN(rapid.StringMatching("[a-c<>/é]{1,2}"), 0, 3)
	draw := rapid.Custom(func(t *rapid.T) Options {
		return Options{
			FullPath: rapid.Bool().Draw(t, "full_path"), CaseInsensitive: rapid.Bool().Draw(t, "case"), Include: names.Draw(t, "include"), Exclude: names.Draw(t, "exclude"),
			Mapping: rapid.MapOfN(rapid.StringMatching("[a-c]"), names, 0, 2).Draw(t, "mapping"), AdminGroups: names.Draw(t, "admins"),
			AdminRole: rapid.SampledFrom([]string{"", "boss", "a/b"}).Draw(t, "role"), Provider: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "provider"),
			Protect: names.Draw(t, "protect"), KeepGone: rapid.Bool().Draw(t, "gone"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		before, now := compile(t, draw.Draw(rt, "before")), compile(t, draw.Draw(rt, "now"))
		got, err := now.WithScope(before.Scope())
		if err != nil {
			rt.Fatal(err)
		}
		if got.Scope() != before.Scope() {
			rt.Errorf("got  %s\nwant %s", got.Scope(), before.Scope())
		}
		if got.Provider != now.Provider || got.KeepGone != now.KeepGone || len(got.Protect) != len(now.Protect) {
			rt.Errorf("what is not of the scope changed: %+v, was %+v", got.Options, now.Options)
		}
		for _, name := range []string{"a", "B", "c<", "/é"} {
			if got.Included(name) != before.Included(name) {
				rt.Errorf("Included(%q) = %v, under the rules before %v", name, got.Included(name), before.Included(name))
			}
		}
	})
}

func TestAScopeThatCannotBeRead(t *testing.T) {
	_, err := compile(t, Options{}).WithScope(`{"include":`)
	const want = "the rules that the memory keeps of the last accepted pass cannot be read: unexpected end of JSON input"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = compile(t, Options{}).WithScope(`{"include":["[a"]}`)
	if err == nil || err.Error()[:len(`groups.include: "[a" is not a glob`)] != `groups.include: "[a" is not a glob` {
		t.Errorf("got %v", err)
	}
}
