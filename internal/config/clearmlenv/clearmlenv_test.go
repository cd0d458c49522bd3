package clearmlenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// long replaces the abbreviations of the tests, such as KC_, by the long names of the variables.
func long(text string) string {
	return strings.NewReplacer("KC_", prefix+service, "SECURE_", prefix+secure, "KQ_", klique+service).Replace(text)
}

// read returns the facts from a file with this text and from these environment variables. Both use
// the abbreviations of long.
func read(t *testing.T, text string, env ...string) (Facts, error) {
	t.Helper()
	path := ""
	if text != "" {
		path = filepath.Join(t.TempDir(), "clearml.env")
		if err := os.WriteFile(path, []byte(long(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range env {
		env[i] = long(env[i])
	}
	return Read(path, env)
}

// says returns the facts as lines, for a comparison.
func says(f Facts) []string {
	var lines []string
	short := strings.NewReplacer(prefix+service, "KC_", prefix+secure, "SECURE_", klique+service, "KQ_")
	for _, v := range f.Values {
		text := fmt.Sprintf("%q", v.Value)
		switch value := v.Value.(type) {
		case *string:
			text = fmt.Sprintf("%q", *value)
		case bool:
			text = fmt.Sprint(value)
		}
		lines = append(lines, fmt.Sprintf("%s = %s from %s", v.Key, text, short.Replace(v.From)))
	}
	if f.GroupsOff != "" {
		lines = append(lines, "off: "+short.Replace(f.GroupsOff))
	}
	for _, r := range f.Remarks {
		lines = append(lines, fmt.Sprintf("remark%s: %s", r.Key, short.Replace(r.Text)))
	}
	return lines
}

// settled sets the administrators' role to "", so that a test gets no remark about a missing role.
const settled = "KC_admin_role="

func TestWhatIsDerived(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
		want []string
	}{
		{"nothing where nothing is about Keycloak", []string{"CLEARML__secure__http__session_secret=hidden", "CLEARML_HOST=x", "PATH=/bin", "GROUPSYNC_KEYCLOAK_URL=x"}, nil},
		{"everything that the set-up page names", []string{
			"KC_base_url=https://auth.example.com/realms/clearml",
			"KC_authorize_url=https://auth.example.com/realms/clearml/protocol/openid-connect/auth",
			"KC_access_token_url=https://auth.example.com/realms/clearml/protocol/openid-connect/token",
			"SECURE_client_id=web", "SECURE_client_secret=hidden", "SECURE_default_company=d1bd92a3",
			"KC_groups__enabled=true", "KC_groups__claim=groups", "KC_claims__name=preferred_username", `KC_groups__admins=["boss", "/b c"]`,
			"KC_groups__case_sensitive=false", "KC_groups__prohibit_user_signup_if_not_in_group=true", "KC_admin_role=admin", "KC_idp_logout=true", "KC_get_info_from_access_token=false",
		}, []string{
			`keycloak.url = "https://auth.example.com" from KC_base_url (environment)`,
			`keycloak.realm = "clearml" from KC_base_url (environment)`,
			`keycloak.clearml_client_id = "web" from SECURE_client_id (environment)`,
			`groups.claim = "groups" from KC_groups__claim (environment)`,
			`groups.case_sensitive = false from KC_groups__case_sensitive (environment)`,
			`admins.groups = ["boss" "/b c"] from KC_groups__admins (environment)`,
			`admins.role = "admin" from KC_admin_role (environment)`,
		}},
		{"the realm of an endpoint, below a path prefix", []string{"KC_authorize_url=https://auth.example.com:8443/x/auth/realms/my%20realm/protocol/openid-connect/auth", settled}, []string{
			`keycloak.url = "https://auth.example.com:8443/x/auth" from KC_authorize_url (environment)`,
			`keycloak.realm = "my realm" from KC_authorize_url (environment)`,
			`admins.role = "" from KC_admin_role (environment)`,
		}},
		{"URLs that differ in spelling agree", []string{"KC_base_url=https://AUTH.example.com:443/auth/", "KC_access_token_url=https://auth.example.com/auth/realms/r/protocol/openid-connect/token", settled}, []string{
			`keycloak.url = "https://auth.example.com/auth" from KC_base_url (environment)`,
			`keycloak.realm = "r" from KC_access_token_url (environment)`,
			`admins.role = "" from KC_admin_role (environment)`,
		}},
		{"a base URL may end in a slash", []string{"KC_base_url=https://auth.example.com/realms/r/", "KC_access_token_url=https://auth.example.com/realms/r/protocol/openid-connect/token/", settled}, []string{
			`keycloak.url = "https://auth.example.com" from KC_base_url (environment)`,
			`keycloak.realm = "r" from KC_base_url (environment)`,
			`admins.role = "" from KC_admin_role (environment)`,
		}},
		{"a base URL may end in the protocol", []string{"KC_base_url=http://auth.example.com:80/realms/r/protocol/openid-connect", settled}, []string{
			`keycloak.url = "http://auth.example.com" from KC_base_url (environment)`,
			`keycloak.realm = "r" from KC_base_url (environment)`,
			`admins.role = "" from KC_admin_role (environment)`,
		}},
		{"names after the prefix in any case, values as HOCON has them", []string{"CLEARML__SERVICES__login__sso__OAUTH_client__keycloak__admin_role= \"a # b\" ", "SECURE_client_secret=\"not looked at", "KC_base_url=null"}, []string{
			`admins.role = "a # b" from CLEARML__SERVICES__login__sso__OAUTH_client__keycloak__admin_role (environment)`,
		}},
		{"no administrators where the list is empty", []string{"KC_groups__enabled=True", "KC_groups__admins=[]", settled}, []string{
			`admins.groups = [] from KC_groups__admins (environment)`,
			`admins.role = "" from KC_admin_role (environment)`,
		}},
		{"nothing of the role where it is not set", []string{"KC_idp_logout=true"}, []string{
			`remarkadmins.role: KC_admin_role is not set, so ClearML uses its default role claim, which groupsync does not know: set the variable, or set admins.role`,
		}},
		{"a realm role, if admins.role would read the name as a client's", []string{"KC_admin_role=a/b"}, []string{
			`admins.role = "realm:a/b" from KC_admin_role (environment)`,
		}},
		{"a realm role, if the name begins as one", []string{"KC_admin_role=realm:a"}, []string{
			`admins.role = "realm:realm:a" from KC_admin_role (environment)`,
		}},
		{"the same of the other prefix", []string{"KQ_groups__enabled=true", "KQ_groups__case_sensitive=True", "KQ_admin_role=admin", "KC_admin_role=admin"}, []string{
			`groups.case_sensitive = true from KQ_groups__case_sensitive (environment)`,
			`admins.role = "admin" from KC_admin_role (environment)`,
		}},
		{"nothing of groups that are switched off", []string{"KC_groups__enabled=false", `KC_groups__admins=["boss"]`, settled}, []string{
			`admins.role = "" from KC_admin_role (environment)`,
			`off: KC_groups__enabled (environment)`,
			`remark: KC_groups__admins (environment) has no effect in ClearML unless KC_groups__enabled is true, so groupsync derives nothing from it`,
		}},
		{"nothing of groups that are not switched on", []string{"KC_groups__claim=teams", "KC_groups__case_sensitive=false", settled}, []string{
			`admins.role = "" from KC_admin_role (environment)`,
			`remark: KC_groups__claim (environment) has no effect in ClearML unless KC_groups__enabled is true, so groupsync derives nothing from it`,
			`remark: KC_groups__case_sensitive (environment) has no effect in ClearML unless KC_groups__enabled is true, so groupsync derives nothing from it`,
		}},
		{"unknown names are said, and their values are not", []string{"KC_group__admins=hidden", "SECURE_base_url=hidden", "CLEARML__services__login__sso__keycloak__x=hidden", settled}, []string{
			`admins.role = "" from KC_admin_role (environment)`,
			`remark: SECURE_base_url (environment) is unknown to groupsync, which ignores it: correct the name if it is mistyped`,
			`remark: CLEARML__services__login__sso__keycloak__x (environment) is unknown to groupsync, which ignores it: correct the name if it is mistyped`,
			`remark: KC_group__admins (environment) is unknown to groupsync, which ignores it: correct the name if it is mistyped`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := read(t, "", tt.env...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, says(f)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestFiles reads the same variables from each kind of file.
func TestFiles(t *testing.T) {
	role := func(value string, line int) []string {
		return []string{fmt.Sprintf("admins.role = %q from KC_admin_role (clearml.env:%d)", value, line)}
	}
	elsewhere := func(line int) []string {
		return []string{fmt.Sprintf("remarkadmins.role: KC_admin_role (clearml.env:%d) refers to a value that groupsync cannot see, so groupsync derives nothing from it: write the value into groupsync's own configuration", line)}
	}
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"an env file", "# ours\n\nPATH=/bin\nKC_admin_role=boss # the one\n", role("boss", 4)},
		{"an env file that exports", "export KC_admin_role=boss\r\n", role("boss", 1)},
		{"an env file in single quotes", "KC_admin_role='\"a $b # c\"' # d\n", role("a $b # c", 1)},
		{"an env file in double quotes", `KC_groups__enabled="true"` + "\n" + `KC_groups__admins="[\"boss\"]"` + "\n" + settled, []string{
			`admins.groups = ["boss"] from KC_groups__admins (clearml.env:2)`, `admins.role = "" from KC_admin_role (clearml.env:3)`,
		}},
		{"an env file with a reference", "A=1\nKC_admin_role=${ROLE}\n", elsewhere(2)},
		{"compose with a list", "services:\n  web: {image: x}\n  apiserver:\n    environment:\n      - KC_admin_role=boss\n      - A=$B\n", role("boss", 5)},
		{"compose with a mapping", "services:\n  apiserver:\n    environment:\n      A: 1\n      KC_admin_role: boss\n", role("boss", 5)},
		{"compose with an empty value", "services: {apiserver: {environment: {KC_admin_role: \"\"}}}\n", role("", 1)},
		{"compose with a merged mapping", "x-sso: &sso\n  KC_admin_role: boss\nservices:\n  apiserver:\n    environment:\n      <<: *sso\n      A: b\n", role("boss", 2)},
		{"compose with an aliased mapping", "x-sso: &sso\n  KC_admin_role: boss\nservices: {apiserver: {environment: *sso}}\n", role("boss", 2)},
		{"compose with an escaped dollar", "services: {apiserver: {environment: [KC_admin_role=a$$b]}}\n", role("a$b", 1)},
		{"compose with a reference", "services: {apiserver: {environment: [\"KC_admin_role=${ROLE:-x}\"]}}\n", elsewhere(1)},
		{"compose that takes a value from the shell, in a list", "services: {apiserver: {environment: [KC_admin_role]}}\n", elsewhere(1)},
		{"compose that takes a value from the shell, in a mapping", "services: {apiserver: {environment: {KC_admin_role: }}}\n", elsewhere(1)},
		{"Helm values", "clearml: {}\napiserver:\n  extraEnvs:\n    - name: A\n      value: 1\n    - name: KC_admin_role\n      value: \"boss\"\n", role("boss", 7)},
		{"Helm values with an empty value", "apiserver: {extraEnvs: [{name: KC_admin_role, value: \"\"}]}\n", role("", 1)},
		{"Helm values without a value", "apiserver: {extraEnvs: [{name: KC_admin_role}]}\n", role("", 1)},
		{"Helm values with a reference to a Secret", "apiserver:\n  extraEnvs:\n  - name: KC_admin_role\n    valueFrom: {secretKeyRef: {name: a, key: b}}\n", elsewhere(3)},
		{"Helm values with the client's id from a Secret", "apiserver:\n  extraEnvs:\n  - {name: KC_admin_role, value: \"\"}\n  - name: SECURE_client_id\n    valueFrom: {secretKeyRef: {name: a, key: b}}\n", []string{
			`admins.role = "" from KC_admin_role (clearml.env:3)`,
			"remarkkeycloak.clearml_client_id: SECURE_client_id (clearml.env:4) refers to a value that groupsync cannot see, so groupsync derives nothing from it: write the value into groupsync's own configuration",
		}},
		{"Helm values with a reference to a variable", "apiserver: {extraEnvs: [{name: KC_admin_role, value: $(ROLE)}]}\n", elsewhere(1)},
		{"Helm values with a list as text", "apiserver:\n  extraEnvs:\n  - {name: KC_groups__enabled, value: \"true\"}\n  - name: KC_groups__admins\n    value: \"[\\\"boss\\\"]\"\n  - {name: KC_admin_role, value: x}\n", []string{
			`admins.groups = ["boss"] from KC_groups__admins (clearml.env:5)`, `admins.role = "x" from KC_admin_role (clearml.env:6)`,
		}},
		{"a name with a space is another name", "services: {apiserver: {environment: [\"KC_idp_logout =true\", KC_admin_role=]}}\n", []string{
			`admins.role = "" from KC_admin_role (clearml.env:1)`,
			`remark: "KC_idp_logout " (clearml.env:1) is unknown to groupsync, which ignores it: correct the name if it is mistyped`,
		}},
		{"the other prefix", "KQ_admin_role=boss\n", []string{`admins.role = "boss" from KQ_admin_role (clearml.env:1)`}},
		{"a variable that does not matter is recognized", "KC_idp_logout=true\n", []string{
			`remarkadmins.role: KC_admin_role is not set, so ClearML uses its default role claim, which groupsync does not know: set the variable, or set admins.role`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := read(t, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, says(f)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	const unknown = " is unknown to groupsync. It may change groups or administrators at ClearML's login, so groupsync cannot ignore it: correct the name if it is mistyped. Otherwise set groupsync's keys groups.* and admins.* to the same effect, and do not give the variable to groupsync. Do not remove it from ClearML: if ClearML reads the same file, give groupsync a copy without the variable"
	const nothingKnown = "clearml.env: sets no known variable of ClearML's sign-in through Keycloak (KC_…, SECURE_… and the same with KLIQUE__): name the right file with --clearml-env, or leave the flag out"
	const kinds = "give --clearml-env an env file (NAME=value lines), a docker-compose override (services.apiserver.environment) or Helm values (apiserver.extraEnvs)"
	for _, tt := range []struct {
		name, file string
		env        []string
		want       string
	}{
		{"a file of nothing", "# none\n", nil, "clearml.env: is not a file that sets ClearML's variables: " + kinds},
		{"a file of something else", "keycloak: {url: x}\n", nil, "clearml.env: is not a file that sets ClearML's variables: " + kinds},
		{"a file of prose", "ClearML is set up elsewhere.\n", nil, "clearml.env: is not a file that sets ClearML's variables: " + kinds},
		{"what is no YAML", "a: b\n\tc: d\n", nil, "clearml.env: is neither an env file nor YAML (line 2): " + kinds},
		{"what is no YAML is not quoted", "a: *hidden\n", nil, "clearml.env: is neither an env file nor YAML: " + kinds},
		{"an env file with a line that is none", "A=b\nKC_admin_role: hidden\n", nil, "clearml.env:2: is not NAME=value: correct the line, or begin it with #"},
		{"an env file with an open quote", "SECURE_client_secret='hidden\nA=\"hidden\" x\n", nil,
			"clearml.env:1: SECURE_client_secret begins with a quote and does not end with one: correct the quotes\nclearml.env:2: A begins with a quote and does not end with one: correct the quotes"},
		{"compose without the API server", "services: {web: {}}\n", nil, "clearml.env: has services, but no services.apiserver.environment: " + kinds},
		{"compose whose lines lack their dash", "services:\n  apiserver:\n    environment:\n      KC_admin_role=a\n      KC_idp_logout=b\n", nil,
			`clearml.env:4: services.apiserver.environment is neither a list nor a mapping with each name once: write "- NAME=value" or "NAME: value" lines`},
		{"compose with a name twice", "services:\n  apiserver:\n    environment: {A: hidden, A: hidden}\n", nil,
			`clearml.env:3: services.apiserver.environment is neither a list nor a mapping with each name once: write "- NAME=value" or "NAME: value" lines`},
		{"compose with a list in the list", "services: {apiserver: {environment: [[a]]}}\n", nil, "clearml.env:1: expected NAME=value in services.apiserver.environment: correct it"},
		{"compose with a list for a text", "services: {apiserver: {environment: {KC_groups__admins: [boss], A: [b]}}}\n", nil, "clearml.env:1: KC_groups__admins: expected text: put it in quotes"},
		{"Helm values without the list", "apiserver: {replicas: 1}\n", nil, "clearml.env: has apiserver, but no list apiserver.extraEnvs: " + kinds},
		{"Helm values with a mapping", "apiserver: {extraEnvs: {A: b}}\n", nil, "clearml.env: has apiserver, but no list apiserver.extraEnvs: " + kinds},
		{"Helm values without a name", "apiserver:\n  extraEnvs:\n    - value: hidden\n", nil, "clearml.env:3: expected name and value in apiserver.extraEnvs: correct it"},
		{"Helm values with a list for a text", "apiserver:\n  extraEnvs:\n    - name: KC_groups__admins\n      value: [boss]\n", nil, "clearml.env:4: KC_groups__admins: expected text: put it in quotes"},

		{"two values in a file", "KC_admin_role=a\nKC_admin_role=b\n", nil, "KC_admin_role (clearml.env:2) has another value than KC_admin_role (clearml.env:1): keep one of them"},
		{"two values, one in the environment", "KC_admin_role=a\n", []string{"KC_admin_role=b"}, "KC_admin_role (clearml.env:1) has another value than KC_admin_role (environment): keep one of them"},
		{"two values of one variable under the two prefixes", "", []string{"KC_groups__enabled=true", "KQ_groups__enabled=false"}, "KQ_groups__enabled (environment) has another value than KC_groups__enabled (environment): keep one of them"},
		{"a variable of groups that is not understood", "KC_admin_role=\nKC_groups__mapping=hidden\n", nil, "KC_groups__mapping (clearml.env:2)" + unknown},
		{"groups in one variable", "", []string{"KC_groups={enabled: true}"}, "KC_groups (environment)" + unknown},
		{"a variable of the admin role that is not understood", "", []string{"KQ_admin_roles=hidden", "SECURE_admin_role=hidden"},
			"SECURE_admin_role (environment)" + unknown + "\nKQ_admin_roles (environment)" + unknown},
		{"a variable of groups in another section", "", []string{"CLEARML__services__login__sso__keycloak__groups__admins=hidden"}, "CLEARML__services__login__sso__keycloak__groups__admins (environment)" + unknown},
		{"a file of other variables", "PATH=/bin\nCLEARML__secure__http__session_secret=hidden\n", nil, nothingKnown},
		{"a file of variables that are not understood", "KC_group__admins=hidden\n", []string{"KC_admin_role="}, nothingKnown},
		{"case-sensitive or not", "", []string{"KC_groups__enabled=true", "KC_groups__case_sensitive=0"}, `KC_groups__case_sensitive (environment): "0" is neither true nor false: write one of them`},
		{"two realms", "", []string{"KC_base_url=https://a.example.com/realms/a", "KC_access_token_url=https://a.example.com/realms/b/protocol/openid-connect/token"},
			`KC_access_token_url (environment) says "b" for keycloak.realm, but KC_base_url (environment) says "a": correct one of them, because a sign-in has one realm`},
		{"two servers", "", []string{"KC_authorize_url=https://a.example.com/realms/a", "KC_access_token_url=http://a.example.com/realms/a"},
			`KC_access_token_url (environment) says "http://a.example.com" for keycloak.url, but KC_authorize_url (environment) says "https://a.example.com": correct one of them, because a sign-in has one realm`},
		{"an endpoint without a realm", "", []string{"KC_access_token_url=https://a.example.com/token"},
			`KC_access_token_url (environment): "https://a.example.com/token" has no /realms/NAME: write the endpoint of the realm, https://auth.example.com/realms/NAME/protocol/openid-connect/… for example`},
		{"a URL of another page", "", []string{"KC_base_url=https://a.example.com/realms/a/account"},
			`KC_base_url (environment): "https://a.example.com/realms/a/account" has a path after the realm that is not /protocol/openid-connect: write https://auth.example.com/realms/NAME for example`},
		{"a URL whose realm is empty", "", []string{"KC_base_url=https://a.example.com/realms//protocol/openid-connect/"},
			`KC_base_url (environment): "https://a.example.com/realms//protocol/openid-connect/" names no realm: write https://auth.example.com/realms/NAME for example`},
		{"a placeholder", "", []string{"KC_base_url=<base url>"}, `KC_base_url (environment): "<base url>" is not a URL: write https://auth.example.com/realms/NAME for example`},
		{"a URL with credentials is not quoted", "", []string{"KC_base_url=https://me:hidden@a.example.com/realms/a"}, `KC_base_url (environment): contains an @. Remove credentials from the URL`},
		{"an open quote", "", []string{`KC_admin_role="web`}, `KC_admin_role (environment): begins with a quote and does not end with one: correct the quotes`},
		{"administrators that are no list", "", []string{"KC_groups__enabled=true", "KC_groups__admins=boss"},
			`KC_groups__admins (environment): "boss" is not a list: write it as JSON, ["clearml-admins"] for example, or [] for none`},
		{"administrators that are a list of another kind", "", []string{"KC_groups__enabled=true", "KC_groups__admins=[boss]"},
			`KC_groups__admins (environment): "[boss]" is not a list: write it as JSON, ["clearml-admins"] for example, or [] for none`},
		{"groups neither on nor off", "", []string{"KC_groups__enabled=maybe"}, `KC_groups__enabled (environment): "maybe" is neither true nor false: write one of them`},
		{"all at once", "", []string{"KC_groups__enabled=maybe", "KC_base_url=x", "KC_admin_role=\"x"},
			`KC_base_url (environment): "x" is not a URL: write https://auth.example.com/realms/NAME for example
KC_groups__enabled (environment): "maybe" is neither true nor false: write one of them
KC_admin_role (environment): begins with a quote and does not end with one: correct the quotes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := read(t, tt.file, tt.env...)
			if err == nil {
				t.Fatalf("no error, but %q", says(f))
			}
			if d := cmp.Diff(long(tt.want), err.Error()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	_, err := Read(path, nil)
	want := "reading ClearML's variables: open " + path + ": no such file or directory: name an existing file with --clearml-env"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestAgrees(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, tt := range []struct {
		name string
		mine Value
		told any
		want bool
	}{
		{"one URL in two spellings", Value{Key: "keycloak.url", Value: "https://a.example.com/auth"}, "https://A.example.com:443/auth/", true},
		{"two URLs", Value{Key: "keycloak.url", Value: "https://a.example.com/auth"}, "https://a.example.com", false},
		{"a realm in another case", Value{Key: "keycloak.realm", Value: "a"}, "A", false},
		{"the same groups in another order", Value{Key: "admins.groups", Value: []string{"a", "b"}}, []string{"b", "a", "b"}, true},
		{"fewer groups", Value{Key: "admins.groups", Value: []string{"a", "b"}}, []string{"a"}, false},
		{"the same role", Value{Key: "admins.role", Value: text("a")}, text("a"), true},
		{"the role of some client", Value{Key: "admins.role", Value: text("a")}, text("web/a"), true},
		{"a role that ends alike", Value{Key: "admins.role", Value: text("a")}, text("ba"), false},
		{"the realm role of that name", Value{Key: "admins.role", Value: text("a")}, text("realm:a"), true},
		{"another realm role", Value{Key: "admins.role", Value: text("a")}, text("realm:b/a"), false},
		{"the realm role with a slash", Value{Key: "admins.role", Value: text("realm:a/b")}, text("realm:a/b"), true},
		{"the client's role that looks like it", Value{Key: "admins.role", Value: text("realm:a/b")}, text("a/b"), false},
		{"a client's role with a slash", Value{Key: "admins.role", Value: text("realm:a/b")}, text("web/a/b"), true},
		{"a realm role whose name begins as one", Value{Key: "admins.role", Value: text("realm:realm:a")}, text("realm:a"), false},
		{"a path to each group", Value{Key: "admins.groups", Value: []string{"a", "b"}}, []string{"/x/a", "/b"}, true},
		{"two paths to one group's name", Value{Key: "admins.groups", Value: []string{"a"}}, []string{"/x/a", "/y/a"}, true},
		{"a path to another group", Value{Key: "admins.groups", Value: []string{"a"}}, []string{"/a/x"}, false},
		{"a path that only ends alike", Value{Key: "admins.groups", Value: []string{"a"}}, []string{"/ba"}, false},
		{"a path where ClearML has paths", Value{Key: "admins.groups", Value: []string{"/x/a"}}, []string{"/x/a"}, true},
		{"another path", Value{Key: "admins.groups", Value: []string{"/x/a"}}, []string{"/a"}, false},
		{"a path that goes on further up", Value{Key: "admins.groups", Value: []string{"/x/a"}}, []string{"/y/x/a"}, false},
		{"case-sensitive, both", Value{Key: "groups.case_sensitive", Value: true}, true, true},
		{"case-sensitive, one", Value{Key: "groups.case_sensitive", Value: false}, true, false},
		{"no role and some role", Value{Key: "admins.role", Value: text("")}, text("web/"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.mine.Agrees(tt.told, false); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

// TestAgreesWithFullPath: if the groups claim holds full paths, a leaf name agrees with no path.
func TestAgreesWithFullPath(t *testing.T) {
	for _, tt := range []struct {
		mine, told []string
		want       bool
	}{
		{[]string{"/x/a"}, []string{"/x/a"}, true},
		{[]string{"a"}, []string{"/x/a"}, false},
		{[]string{"a"}, []string{"a"}, true},
	} {
		if got := (Value{Key: "admins.groups", Value: tt.mine}).Agrees(tt.told, true); got != tt.want {
			t.Errorf("%q and %q agree: got %t, want %t", tt.mine, tt.told, got, tt.want)
		}
	}
}

// TestSignIn: the variables that only groupsync check uses give remarks, and never an error.
func TestSignIn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		file   string
		want   SignIn
		remark string
	}{
		{"nothing is said", "", SignIn{}, ""},
		{"the access token, as by default", "KC_get_info_from_access_token=true\n", SignIn{}, ""},
		{"the user-info endpoint", "KC_get_info_from_access_token=False\n", SignIn{FromUserinfo: true}, ""},
		{"the claim of the name", "KC_claims__name=\"preferred_username\" # as documented\n", SignIn{NameClaim: "preferred_username"}, ""},
		{"a value from elsewhere", "KC_claims__name=${NAME}\nKC_get_info_from_access_token=${FROM}\n", SignIn{}, ""},
		{"people without a group are refused", "KC_groups__enabled=true\nKC_groups__prohibit_user_signup_if_not_in_group=true\n", SignIn{NeedsGroup: On}, ""},
		{"people without a group may sign in, as by default", "KC_groups__enabled=true\n", SignIn{NeedsGroup: Off}, ""},
		{"the sync of groups is off, so nobody is refused", "KC_groups__enabled=false\n", SignIn{NeedsGroup: Off}, ""},
		{"whether people without a group are refused comes from elsewhere", "KC_groups__enabled=true\nKC_groups__prohibit_user_signup_if_not_in_group=${PROHIBIT}\n", SignIn{}, ""},
		{"a refusal of people without a group that cannot be read", "KC_groups__enabled=true\nKC_groups__prohibit_user_signup_if_not_in_group=maybe\n", SignIn{},
			`KC_groups__prohibit_user_signup_if_not_in_group (clearml.env:2): "maybe" is neither true nor false: write one of them; until then the command groupsync check does not know whether ClearML refuses people without a group`},
		{"a refusal of people without a group, and no sync of groups", "KC_groups__prohibit_user_signup_if_not_in_group=true\n", SignIn{},
			`KC_groups__prohibit_user_signup_if_not_in_group (clearml.env:1) has no effect in ClearML unless CLEARML__services__login__sso__oauth_client__keycloak__groups__enabled is true, so groupsync derives nothing from it`},
		{"what is neither true nor false", "KC_get_info_from_access_token=off\n", SignIn{},
			`KC_get_info_from_access_token (clearml.env:1): "off" is neither true nor false: write one of them; until then the command groupsync check assumes that this variable is true, which is ClearML's default`},
		{"an open quote", "KC_claims__name='\"x'\n", SignIn{},
			`KC_claims__name (clearml.env:1): begins with a quote and does not end with one: correct the quotes; until then the command groupsync check does not know the claim that holds names`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := read(t, tt.file, settled)
			if err != nil {
				t.Fatal(err)
			}
			if f.SignIn != tt.want {
				t.Errorf("got %+v, want %+v", f.SignIn, tt.want)
			}
			var got string
			for _, r := range f.Remarks {
				got += r.Text
			}
			if d := cmp.Diff(long(tt.remark), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestThePage: the example files in docs/clearml-variables.md give the same facts, and the
// page names every variable.
func TestThePage(t *testing.T) {
	data, err := os.ReadFile("../../../docs/clearml-variables.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), "```\n")
	if len(parts) != 7 {
		t.Fatalf("%d examples, want 3", len(parts)/2)
	}
	for i := 1; i < len(parts); i += 2 {
		f, err := read(t, parts[i])
		if err != nil {
			t.Errorf("%v\n%s", err, parts[i])
		}
		var got []string
		for _, line := range says(f) {
			what, _, _ := strings.Cut(line, " from ")
			got = append(got, what)
		}
		want := []string{`keycloak.url = "https://auth.example.com"`, `keycloak.realm = "clearml"`, `admins.groups = ["clearml-admins"]`, `admins.role = ""`}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s\n%s", d, parts[i])
		}
	}
	for name := range names {
		short := "`" + strings.NewReplacer(service, "services…", secure, "secure…").Replace(name) + "`"
		if !strings.Contains(string(data), short) {
			t.Errorf("the page lacks %s", short)
		}
	}
}
