package groupsync_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/config"
)

// TestWhatIsRefused: the mistakes that an operator makes first are reported before anything is
// installed. The report is a sentence that ends in what to do, or names the place of the
// value. Each case is least with further values.
func TestWhatIsRefused(t *testing.T) {
	for _, tt := range []struct{ name, values, want string }{
		{"no Secret", `existingSecret: ""`,
			`existingSecret: is missing: name a Secret with the keys client_secret, access_key and secret_key, or set secret.create with the three values`},
		{"a Secret of its own without a value", `{existingSecret: "", secret: {create: true, clientSecret: a, accessKey: b}}`,
			`secret.secretKey: is missing: set it, or name a Secret that holds it with existingSecret`},
		{"two Secrets", `secret: {create: true, clientSecret: a, accessKey: b, secretKey: c}`,
			`existingSecret: names a Secret, and secret.create makes another: keep one of the two`},
		{"a secret in the configuration", `config: {keycloak: {client_secret: hunter2}}`,
			`config.keycloak.client_secret: would be readable in the ConfigMap: take it out, and put it into the Secret (existingSecret, or secret.create with secret.clientSecret)`},
		{"a key in the configuration", `config: {clearml: {secret_key: hunter2}}`,
			`config.clearml.secret_key: would be readable in the ConfigMap: take it out, and put it into the Secret (existingSecret, or secret.create with secret.secretKey)`},
		{"a secret in a variable", `extraEnv: [{name: GROUPSYNC_CLEARML_ACCESS_KEY, value: x}]`,
			`extraEnv: GROUPSYNC_CLEARML_ACCESS_KEY sets a value that the Secret holds too: take it out, and name the Secret with existingSecret`},
		{"ClearML's secret in a variable", `clearmlEnv: {env: {CLEARML__secure__login__sso__oauth_client__keycloak__client_secret: x}}`,
			`clearmlEnv.env: CLEARML__secure__login__sso__oauth_client__keycloak__client_secret would be readable in the Deployment: leave it out, because groupsync does not use ClearML's client`},
		{"another variable among ClearML's", `clearmlEnv: {env: {HTTPS_PROXY: x}}`,
			`clearmlEnv.env: HTTPS_PROXY is not one of ClearML's variables, which begin with CLEARML__ or KLIQUE__: put it into extraEnv`},
		{"ClearML's secret in a variable of the other prefix", `clearmlEnv: {env: {KLIQUE__secure__login__sso__oauth_client__keycloak__client_secret: x}}`,
			`clearmlEnv.env: KLIQUE__secure__login__sso__oauth_client__keycloak__client_secret would be readable in the Deployment: leave it out, because groupsync does not use ClearML's client`},

		{"no URL of Keycloak", `config: {keycloak: null}`,
			`config.keycloak.url: is missing: write https://auth.example.com, with Keycloak's path prefix if there is one`},
		{"no realm", `config: {keycloak: null}`,
			`config.keycloak.realm: is missing: write the realm that ClearML signs its users in from`},
		{"no URL of ClearML", `config: {clearml: null}`,
			`config.clearml.url: is missing: write https://api.clearml.example.com`},
		{"a URL of a realm", `config: {keycloak: {url: "https://auth.example.com/realms/clearml"}}`,
			`config.keycloak.url: contains a realm. Remove /realms/ and everything after it, and write the realm into config.keycloak.realm`},
		{"a URL without a scheme", `config: {keycloak: {url: auth.example.com}}`,
			`- at '/config/keycloak/url': 'auth.example.com' does not match pattern '^https?://[^/?#@:][^/?#@]*(/[^?#@]*)?$'`},
		{"administrators without a role", `config: {admins: {groups: [clearml-admins]}}`,
			`config.admins.role: must be set when admins.groups is set, because ClearML's login also makes administrators from a role claim: write the role, or "" for none`},
		{"an unknown key", `config: {shedule: "@hourly"}`,
			`- at '/config': additional properties 'shedule' not allowed`},
		{"an unknown key in a section", `config: {guards: {max_removal: 5}}`,
			`- at '/config/guards': additional properties 'max_removal' not allowed`},
		{"administrators in another way", `config: {admins: {via: token}}`,
			`- at '/config/admins/via': value must be one of 'group', 'role', 'both'`},
		{"an admin group without a name", `config: {admins: {groups: [/], role: ""}}`,
			`- at '/config/admins/groups/0': '/' does not match pattern '^([^/]|/[\\s\\S])'`},
		{"a realm role without a name", `config: {admins: {role: "realm:"}}`,
			`config.admins.role: "realm:" names no role: write the realm role's name after realm:, or "" for none`},
		{"no role of a client", `config: {admins: {role: clearml/}}`,
			`config.admins.role: "clearml/" is not client/role: write both parts, clearml/admin for example, or realm: and the name of a realm role`},
		{"a plan too old before it is made", `config: {guards: {max_age: 59s}}`,
			`config.guards.max_age: 59s is too short, because reading alone may take a minute and nothing would be written: write 1m or more, or 0s for no limit`},
		{"a negative limit", `config: {guards: {max_admin_grants: -1}}`,
			`- at '/config/guards/max_admin_grants': minimum: got -1, want 0`},
		{"an unknown mode", `config: {mode: write}`,
			`- at '/config/mode': value must be one of 'observe', 'apply'`},
		{"a duration without a unit", `config: {jitter: "30"}`,
			`- at '/config/jitter': '30' does not match pattern '^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$'`},
		{"a limit below nothing", `config: {guards: {max_gone: -1}}`,
			`- at '/config/guards/max_gone': minimum: got -1, want 0`},
		{"an invalid schedule", `config: {schedule: every 15m}`,
			`config.schedule: "every 15m" is not a schedule: write @every 15m, @hourly, or five cron fields`},
		{"a range that ends before it begins", `config: {schedule: "0 22-6 * * *"}`,
			`config.schedule: "0 22-6 * * *" has a range that ends before it begins, 22-6: swap the ends, or write two ranges with a comma`},
		{"a schedule in a time zone", `config: {schedule: "CRON_TZ=Europe/Paris 0 6 * * *"}`,
			`config.schedule: "CRON_TZ=Europe/Paris 0 6 * * *" names a time zone, but schedules are in UTC: write the schedule without a time zone`},
		{"a schedule without rest", `config: {schedule: "@every 100ms"}`,
			`config.schedule: "@every 100ms" is less than a second: write a longer one, @every 15m for example`},

		{"a Lease in the configuration", `config: {lease: {name: mine}}`,
			`config.lease: is set by the chart: leave it out, and set leaderElection.enabled`},
		{"a directory in the configuration", `config: {state_dir: /data}`,
			`config.state_dir: is set by the chart: leave it out, and set state.enabled`},
		{"an address in the configuration", `config: {web: {listen: "127.0.0.1:8080"}}`,
			`config.web.listen: is set by the chart for the Service and the probes: leave it out, and set service.port`},
		{"a web configuration in the configuration", `config: {web: {config_file: /web.yaml}}`,
			`config.web.config_file: is set by the chart: leave it out, and set webConfig.config or webConfig.existingSecret`},
		{"control for everybody", `config: {web: {enable_lifecycle: true}}`,
			`config.web.enable_lifecycle: lets anybody who reaches the port make passes, approve removals and suspend writing: set webConfig too, with basic_auth_users, or with the client_auth_type RequireAndVerifyClientCert`},
		{"encrypted control for everybody", `{config: {web: {enable_lifecycle: true}}, webConfig: {config: {tls_server_config: {cert_file: a}}}}`,
			`config.web.enable_lifecycle: lets anybody who reaches the port make passes, approve removals and suspend writing: set webConfig too, with basic_auth_users, or with the client_auth_type RequireAndVerifyClientCert`},
		{"control for everybody with any certificate", `{config: {web: {enable_lifecycle: true}}, webConfig: {config: {tls_server_config: {client_auth_type: RequireAnyClientCert}}}}`,
			`config.web.enable_lifecycle: lets anybody who reaches the port make passes, approve removals and suspend writing: set webConfig too, with basic_auth_users, or with the client_auth_type RequireAndVerifyClientCert`},
		{"two places for authorities", `{caBundle: {configMap: ca}, config: {clearml: {ca_file: /ca.crt}}}`,
			`config.keycloak.ca_file, config.clearml.ca_file: are set by the chart if caBundle is set: remove caBundle, or remove these keys`},
		{"the mode in a variable", `extraEnv: [{name: GROUPSYNC_MODE, value: apply}]`,
			`extraEnv: GROUPSYNC_MODE would override what the chart sets: take it out, and set config.mode`},
		{"the address in an argument", `extraArgs: ["--web.listen=:9090"]`,
			`extraArgs: --web.listen would override what the chart sets: take it out, and set service.port`},
		{"control in a variable", `extraEnv: [{name: GROUPSYNC_WEB_ENABLE_LIFECYCLE, value: "true"}]`,
			`extraEnv: GROUPSYNC_WEB_ENABLE_LIFECYCLE would override what the chart sets: take it out, and set config.web.enable_lifecycle`},
		{"control in an argument", `extraArgs: [--web.enable_lifecycle]`,
			`extraArgs: --web.enable_lifecycle would override what the chart sets: take it out, and set config.web.enable_lifecycle`},
		{"another configuration in an argument", `extraArgs: [--config=/x.yaml]`,
			`extraArgs: --config=/x.yaml would override what the chart mounts: take it out, and set config or clearmlEnv`},
		{"ClearML's secret in a variable of its own", `extraEnv: [{name: CLEARML__secure__login__sso__oauth_client__keycloak__client_secret, value: x}]`,
			`extraEnv: CLEARML__secure__login__sso__oauth_client__keycloak__client_secret would be readable in the Deployment: leave it out, because groupsync does not use ClearML's client`},
		{"a volume by a name of the chart's", `extraVolumes: [{name: config, emptyDir: {}}]`,
			`extraVolumes: config is the name of another volume: choose another name, in extraVolumeMounts too`},
		{"a single pass in a Deployment", `extraArgs: [--once]`,
			`extraArgs: --once makes a single pass, and the Deployment would make it again and again: take it out, and run it as a Job`},

		{"everybody's account", `serviceAccount: {create: false}`,
			`serviceAccount.name: default is the account of every pod of the namespace that names no account. All these pods could write the Lease and the guards' memory: name another account, or set serviceAccount.create`},
		{"a probe of another kind", `livenessProbe: {exec: {command: [x]}}`,
			`- at '/livenessProbe': additional properties 'exec' not allowed`},
		{"a web configuration that is misspelt", `webConfig: {config: {basic_auth_usres: {ops: x}}}`,
			`- at '/webConfig/config': additional properties 'basic_auth_usres' not allowed`},
		{"replicas without leader election", `{replicas: 2, leaderElection: {enabled: false}}`,
			`replicas: 2 processes would write at the same time: set leaderElection.enabled, or replicas to 1`},
		{"a volume with leader election", `state: {enabled: true}`,
			`state.enabled: cannot be combined with leaderElection.enabled, which keeps the memory in a ConfigMap that every replica can read: set one of the two to false`},
		{"a budget that lets no node be drained", `podDisruptionBudget: {enabled: true, minAvailable: 1}`,
			`podDisruptionBudget.minAvailable: 1 of 1 replicas prevents the drain of every node: set a lower value, or set only maxUnavailable`},
		{"a budget in percent that lets no node be drained", `{replicas: 2, podDisruptionBudget: {enabled: true, minAvailable: 100%}}`,
			`podDisruptionBudget.minAvailable: 100% of 2 replicas prevents the drain of every node: set a lower value, or set only maxUnavailable`},
		{"a budget of nothing", `{replicas: 2, podDisruptionBudget: {enabled: true, maxUnavailable: 0}}`,
			`podDisruptionBudget.maxUnavailable: "0" prevents the drain of every node: set it to 1`},
		{"a budget that says nothing", `{replicas: 2, podDisruptionBudget: {enabled: true, maxUnavailable: ""}}`,
			`podDisruptionBudget.maxUnavailable: "" prevents the drain of every node: set it to 1`},
		{"a budget in percent that is rounded up", `{replicas: 2, podDisruptionBudget: {enabled: true, minAvailable: 60%}}`,
			`podDisruptionBudget.minAvailable: 60% of 2 replicas prevents the drain of every node: set a lower value, or set only maxUnavailable`},
		{"a pod that is killed while it writes in two units", `{terminationGracePeriodSeconds: 90, config: {shutdown_timeout: 1m30s}}`,
			`terminationGracePeriodSeconds: the pod is killed after 90 s, but groupsync may wait for a running pass for 1m30s: make it more than config.shutdown_timeout`},
		{"a pod that is killed while it writes in parts of a minute", `config: {shutdown_timeout: 0.75m}`,
			`terminationGracePeriodSeconds: the pod is killed after 30 s, but groupsync may wait for a running pass for 0.75m: make it more than config.shutdown_timeout`},
		{"a pod that is killed while it writes", `config: {shutdown_timeout: 1m}`,
			`terminationGracePeriodSeconds: the pod is killed after 30 s, but groupsync may wait for a running pass for 1m: make it more than config.shutdown_timeout`},
		{"replicas that are no number", `replicas: two`,
			`- at '/replicas': got string, want integer`},

		{"two bundles of authorities", `caBundle: {configMap: a, secret: b}`,
			`caBundle: names a ConfigMap and a Secret: keep one of the two`},
		{"two places for ClearML's variables", `clearmlEnv: {configMap: a, env: {CLEARML__a: b}}`,
			`clearmlEnv: has more than one of configMap, secret and env: keep one`},
		{"two web configurations", `webConfig: {existingSecret: a, config: {basic_auth_users: {ops: x}}}`,
			`webConfig: config and existingSecret both give the file: keep one of the two`},
		{"a certificate that nothing uses", `webConfig: {tlsSecret: a}`,
			`webConfig.tlsSecret: is used by no configuration: set webConfig.config.tls_server_config with cert_file /etc/groupsync/tls/tls.crt and key_file /etc/groupsync/tls/tls.key`},
		{"two monitors", `{serviceMonitor: {enabled: true}, podMonitor: {enabled: true}}`,
			`podMonitor.enabled: together with serviceMonitor.enabled every series would be scraped twice: keep one of the two`},
		{"a monitor that does not speak TLS", `{serviceMonitor: {enabled: true}, webConfig: {config: {tls_server_config: {cert_file: a}}}}`,
			`serviceMonitor.scheme: is http, and webConfig has TLS: write https, and serviceMonitor.tlsConfig for the certificate`},
		{"a monitor that has no password", `{podMonitor: {enabled: true}, webConfig: {config: {basic_auth_users: {ops: x}}}}`,
			`podMonitor.basicAuth: is missing, and webConfig asks everybody for a password, Prometheus too: name the Secret keys of a user that basic_auth_users has`},
		{"an alert that there is not", `prometheusRule: {alerts: {GroupsyncStall: {enabled: false}}}`,
			`prometheusRule.alerts: GroupsyncStall is not an alert: files/rules.yaml has the names of the alerts`},
		{"a policy for the port of another URL", `{networkPolicy: {enabled: true}, extraEnv: [{name: GROUPSYNC_KEYCLOAK_URL, value: "http://keycloak:8080"}]}`,
			`networkPolicy.keycloak.ports: is missing, and config.keycloak.url does not give the port: set one of the two`},
		{"a policy that knows no port", `{networkPolicy: {enabled: true}, config: {keycloak: null}, clearmlEnv: {configMap: a}}`,
			`networkPolicy.keycloak.ports: is missing, and config.keycloak.url does not give the port: set one of the two`},

		{"an unknown value", `replica: 2`,
			`- at '': additional properties 'replica' not allowed`},
		{"an unknown value in a section", `serviceMonitor: {enable: true}`,
			`- at '/serviceMonitor': additional properties 'enable' not allowed`},
		{"a default that is deleted", `service: {port: null}`,
			`- at '/service': missing property 'port'`},
		{"an image policy that there is not", `image: {pullPolicy: Sometimes}`,
			`- at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if complaint := refusal(t, tt.values); !slices.Contains(lines(complaint), tt.want) {
				t.Errorf("got  %s\nwant %s", complaint, tt.want)
			}
		})
	}
}

// refusal returns the error of helm for least with further values. It is empty if helm renders
// them.
func refusal(t *testing.T, values string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	_, complaint, err := helm(t, "template", "release", ".", "-f", least, "-f", file)
	if err == nil {
		return ""
	}
	return complaint
}

func lines(text string) []string {
	all := strings.Split(text, "\n")
	for i, line := range all {
		all[i] = strings.TrimSpace(line)
	}
	return all
}

// TestWhatIsNotRefused has values that are close to refused ones.
func TestWhatIsNotRefused(t *testing.T) {
	for name, values := range map[string]string{
		"nothing that runs, and a budget":                `{replicas: 0, podDisruptionBudget: {enabled: true, minAvailable: 1}}`,
		"a budget of one of two":                         `{replicas: 2, podDisruptionBudget: {enabled: true, minAvailable: 50%}}`,
		"a budget of minAvailable alone":                 `{replicas: 2, podDisruptionBudget: {enabled: true, minAvailable: 1, maxUnavailable: ""}}`,
		"ClearML's secret, from a Secret":                `extraEnv: [{name: CLEARML__secure__login__sso__oauth_client__keycloak__client_secret, valueFrom: {secretKeyRef: {name: a, key: b}}}]`,
		"a volume by a name that the chart does not use": `{extraVolumes: [{name: tls, emptyDir: {}}, {name: web, emptyDir: {}}]}`,
		"an account of the operator's":                   `serviceAccount: {create: false, name: mine}`,
		"the default account without rights":             `{leaderElection: {enabled: false}, serviceAccount: {create: false}}`,
		"control behind a Secret's web configuration":    `{config: {web: {enable_lifecycle: true}}, webConfig: {existingSecret: a}}`,
		"a status page for everybody":                    `config: {web: {public_status: true}}`,
		"the new keys":                                   `config: {groups: {case_sensitive: false}, keycloak: {clearml_client_id: clearml, trusted_federations: [ldap]}, admins: {groups: [/teams/admins], role: "realm:a/b", via: both}, guards: {max_admin_grants: 0, max_additions: 9, gone_grace: 1h, max_age: 1m30s}}`,
		"limits of time that are off":                    `config: {guards: {gone_grace: 0, max_age: 0}}`,
		"a limit of age in words of an hour":             `config: {guards: {max_age: 0.5h}}`,
		"a client's role":                                `config: {admins: {role: clearml/admin}}`,
		"ClearML's variables by the other prefix":        `clearmlEnv: {env: {KLIQUE__services__login__sso__oauth_client__keycloak__admin_role: ""}}`,
		"ranges in a schedule":                           `config: {schedule: "10-20/5,40-50 6-20 1-31 jan-mar mon-fri"}`,
		"every timing of a probe":                        `livenessProbe: {initialDelaySeconds: 0, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1, successThreshold: 1, terminationGracePeriodSeconds: 9}`,
		"all that the web configuration knows":           `webConfig: {config: {tls_server_config: {}, http_server_config: {}, rate_limit: {}, basic_auth_users: {a: b}}}`,
	} {
		if complaint := refusal(t, values); complaint != "" {
			t.Errorf("%s: %s", name, complaint)
		}
	}
}

// TestAReleaseWhoseNameIsNoServices: Helm accepts the name, but the API server would refuse a
// Service of that name.
func TestAReleaseWhoseNameIsNoServices(t *testing.T) {
	_, complaint, err := helm(t, "template", "2sync", ".", "-f", least)
	want := "fullnameOverride: 2sync-groupsync is not a valid name of a Service: write one that begins with a letter and has letters, digits and dashes only"
	if err == nil || !slices.Contains(lines(complaint), want) {
		t.Errorf("got  %v %s\nwant %s", err, complaint, want)
	}
	if _, complaint, err := helm(t, "template", "2sync", ".", "-f", least, "--set", "fullnameOverride=sync2"); err != nil {
		t.Errorf("with a name of its own: %v\n%s", err, complaint)
	}
}

// TestAllIsSaidAtOnce: all mistakes are reported at once, so that nobody has to try five
// times. No secret is repeated.
func TestAllIsSaidAtOnce(t *testing.T) {
	complaint := refusal(t, `{replicas: 3, leaderElection: {enabled: false}, config: {schedule: soon, keycloak: {client_secret: hunter2}}, existingSecret: ""}`)
	var keys []string
	for _, line := range lines(complaint) {
		if key, _, is := strings.Cut(line, ": "); is && key != "Error" {
			keys = append(keys, key)
		}
	}
	want := []string{"config.schedule", "config.keycloak.client_secret", "existingSecret", "replicas"}
	if !slices.Equal(keys, want) || strings.Contains(complaint, "hunter2") {
		t.Errorf("got %q, want %q:\n%s", keys, want, complaint)
	}
}

// TestTheChartAndTheDaemonAgreeOnSchedules: both accept the same schedules, except those that
// never come due. Only the daemon can detect these.
func TestTheChartAndTheDaemonAgreeOnSchedules(t *testing.T) {
	program(t, "HELM")
	for _, schedule := range []string{
		"", " ", "@every 15m", "@every 1h30m", "@every 1.5h", "@every 0.5m", "@every 90s", "@every 1s", "@every 999ms", "@every 0s", "@every 0m", "@every 1m0.5s", "@every 1500ms", "@every", "@every 15", "@every -5m",
		"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@Hourly", "@reboot", "@secondly",
		"* * * * *", "*/5 * * * *", "0 6-20/2 * * MON-FRI", "0,30 * * * *", "5/15 * * * *", "0 0 1 JAN ?", "0 0 * * sun,sat", "  0 6 * * *",
		"60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 7", "* * * * mo", "0 22-6 * * *", "30-10 * * * *", "0 0 * * fri-mon", "0 0 * nov-feb *", "0 0 * * mon-5", "9-10,20-12 * * * *", "10-10 * * * *", "*/0 * * * *", "* * * *", "* * * * * *", "x", "every 15m", "15m", "TZ=UTC * * * * *",
	} {
		c := config.Default()
		c.Schedule = schedule
		daemon := strings.Contains(c.Validate(time.Now()).Error(), "schedule: ")
		chart := strings.Contains(refusal(t, "config: {schedule: '"+schedule+"'}"), "config.schedule: ")
		if chart != daemon {
			t.Errorf("%q is refused by the chart: %t, by the daemon: %t", schedule, chart, daemon)
		}
	}
}

// TestTheChartAndTheDaemonAgreeOnAgesAndRoles: both refuse the same values. No pattern of the
// schema checks these values, so the templates of the chart do.
func TestTheChartAndTheDaemonAgreeOnAgesAndRoles(t *testing.T) {
	program(t, "HELM")
	agree := func(key, section, text string, err error) {
		daemon := err != nil && strings.Contains(err.Error(), key+": ")
		chart := strings.Contains(refusal(t, "config: {"+section+": '"+text+"'}}"), key+": ")
		if chart != daemon {
			t.Errorf("%s: %q is refused by the chart: %t, by the daemon: %t", key, text, chart, daemon)
		}
	}
	for _, text := range []string{"0s", "1ns", "1us", "999ms", "1s", "59.9s", "0.99m", "0h0m59s", "60s", "60000ms", "1m", "0.5h", "1h30m"} {
		c := config.Default()
		age, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		c.Guards.MaxAge = age
		agree("guards.max_age", "guards: {max_age", text, c.Validate(time.Now()))
	}
	for _, text := range []string{"", "admin", "realm:", "realm: ", "realm:a", "realm:/", "realm:a/b", "realm", "/", "/a", "a/", "a/b", "a/b/", "a//b"} {
		c := config.Default()
		c.Admins.Role = &text
		agree("admins.role", "admins: {role", text, c.Validate(time.Now()))
	}
}
