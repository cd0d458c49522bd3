package config

import "groupsync/internal/transport"

// row describes one key, except its type, which is the type of the key's field in Config.
type row struct {
	name string
	// initial is the default, in YAML. If initial is empty, the key has no default, and its
	// value is the zero value of its type.
	initial string
	rule    rule
	doc     string // one line, for config.example.yaml and the chart's schema
	example string // the value in config.example.yaml, if it is not the default
}

// table has a row for each key, in the order of config.example.yaml. Defaults, validation,
// the schema, flags, variables and config.example.yaml are made from it. To add a key, add
// a field to Config and a row here.
var table = []row{
	{"name", `default`, filled, "name of this sync; every metric has it in the label `sync`", ""},
	{"mode", Observe, oneOf(Observe, Apply), "observe (write nothing) or apply", ""},
	{"schedule", `"@every 15m"`, schedule, "or @hourly, or five cron fields; in UTC", ""},
	{"jitter", `30s`, notNegative, "longest random delay before a scheduled pass; at most half the time to the next one", ""},
	{"shutdown_timeout", `20s`, notNegative, "how long a stopping process waits for the running pass", ""},
	{"state_dir", `""`, stateDir, "directory for the guards' memory and the journal, which then survive a restart; empty: a restart loses the memory, and the log is the journal", ""},

	{"state.keep", `1000`, least(0), "how many reports of passes the journal in state_dir keeps; 0: none, and there is no journal", ""},
	{"state.keep_for", `2160h`, notNegative, "how long the journal keeps a report; 0s: without a limit", ""},

	{"log.level", `info`, oneOf("debug", "info", "warn", "error"), "debug, info, warn or error", ""},
	{"log.format", `text`, oneOf("text", "json"), "text or json", ""},

	{"keycloak.url", ``, serverURL("https://auth.example.com"), "required; the address of Keycloak, with the path prefix if there is one", "https://auth.example.com"},
	{"keycloak.realm", ``, filled, "required; the realm that ClearML signs its users in from", "clearml"},
	{"keycloak.clearml_client_id", `""`, anything, "the client through which ClearML signs people in; only `groupsync check` uses this key; empty: unknown", ""},
	{"keycloak.client_id", `groupsync`, filled, "the client whose service account reads the realm", ""},
	{"keycloak.client_secret", `""`, secret(func(c Config) Secret { return c.Keycloak.Secret() }), "the client's secret; client_secret_file is safer", ""},
	{"keycloak.client_secret_file", ``, anything, "this or client_secret is required; read again for every token", "/etc/groupsync/keycloak/client_secret"},
	{"keycloak.ca_file", `""`, anything, "PEM file of additional certificate authorities", ""},
	{"keycloak.insecure_skip_verify", `false`, anything, "accept any certificate; only for tests", ""},
	{"keycloak.timeout", short(transport.KeycloakTimeout), positive, "limit for one request", ""},
	{"keycloak.concurrency", `8`, least(1), "number of requests at the same time", ""},
	{"keycloak.trusted_federations", `[]`, noneEmpty, "names of user federations (LDAP) whose failed probes groupsync ignores; then only guards.federation_grace protects their people", ""},
	{"keycloak.events", `"off"`, oneOf("off", "poll"), "off, or poll: read the realm's admin events between the passes, and make early passes because of them; needs the role view-events", ""},
	{"keycloak.events_interval", `5s`, positive, "time between two readings of admin events", ""},

	{"clearml.url", ``, serverURL("https://api.clearml.example.com"), "required; the address of ClearML's API: https://api.<domain>, or https://<web host>/api", "https://api.clearml.example.com"},
	{"clearml.access_key", `""`, secret(func(c Config) Secret { return c.ClearML.Access() }), "the access key of an administrator; access_key_file is safer", ""},
	{"clearml.access_key_file", ``, anything, "this or access_key is required", "/etc/groupsync/clearml/access_key"},
	{"clearml.secret_key", `""`, secret(func(c Config) Secret { return c.ClearML.Secret() }), "the secret key that belongs to the access key; secret_key_file is safer", ""},
	{"clearml.secret_key_file", ``, anything, "this or secret_key is required", "/etc/groupsync/clearml/secret_key"},
	{"clearml.ca_file", `""`, anything, "PEM file of additional certificate authorities", ""},
	{"clearml.insecure_skip_verify", `false`, anything, "accept any certificate; only for tests", ""},
	// ClearML answers only after 30 s if its database is not reachable
	// (reference/clearml-api.md). A shorter timeout would hide that answer.
	{"clearml.timeout", short(transport.ClearMLTimeout), positive, "limit for one request; if ClearML's database is not reachable, ClearML answers only after 30s", ""},
	{"clearml.provider", `keycloak`, filled, "ClearML's name of the sign-in provider", ""},

	{"groups.claim", `groups`, filled, "the token's claim that the per-login sync reads; `groupsync check` compares the mapper of ClearML's client with it", ""},
	{"groups.full_path", `false`, anything, "true: names are full paths, as with \"Full group path\" in Keycloak's group mapper; `groupsync check` compares this key with the mapper", ""},
	{"groups.case_sensitive", `true`, anything, "false: names that differ only by case are one name, as in ClearML's groups__case_sensitive", ""},
	{"groups.include", `["*"]`, globs, "globs over claim names to sync; * also matches /", ""},
	{"groups.exclude", `[]`, globs, "globs over claim names not to sync", ""},
	{"groups.mapping", `{}`, mapping, "for each claim name: a ClearML group, or a list of them", ""},

	{"admins.groups", `[]`, adminGroups, "Keycloak groups whose members become ClearML administrators: claim names, or paths that begin with /", ""},
	{"admins.role", ``, adminRole, `the role that makes an administrator: NAME, realm:NAME (NAME may hold a slash) or client/NAME; required if groups is set, "" for none`, `""`},
	{"admins.via", `group`, oneOf("group", "role", "both"), "what makes an administrator in ClearML: group (membership of Admins), role (the role admin) or both", ""},
	{"admins.floor", `1`, least(0), "the least number of administrators that must remain", ""},

	{"users.gone", `remove`, oneOf("remove", "keep"), "what happens to memberships of people who are deleted in Keycloak: remove or keep", ""},
	{"users.protect", `[]`, protections, "globs over emails and ids of people who never lose a membership; or exceptions, which can have an end", ""},

	{"guards.max_removals", `50`, least(0), "largest number of removals in a pass, and within window", ""},
	{"guards.window", `24h`, notNegative, "how far back max_removals, max_admin_grants and max_additions count", ""},
	{"guards.max_removal_ratio", `0.25`, ratio, "largest share of a group's members, and of all managed memberships, that one pass may remove", ""},
	{"guards.free_removals", `3`, least(0), "max_removal_ratio does not apply to this many removals or fewer", ""},
	{"guards.max_gone", `5`, least(0), "largest number of people who may be gone from Keycloak at once", ""},
	{"guards.max_admin_grants", `3`, least(0), "largest number of new administrators in a pass, and within window", ""},
	{"guards.max_additions", `0`, least(0), "largest number of additions in a pass, and within window", ""},
	{"guards.federation_grace", `1h`, notNegative, "how long every pass must propose a removal that depends on a federation (LDAP), before it is written", ""},
	{"guards.gone_grace", `24h`, notNegative, "how long a person whom ClearML knows only by email must be gone before the removal", ""},
	{"guards.max_age", `10m`, planAge, "how old a plan may be when it is written, counted from the start of its reads; at least 1m", ""},
	{"guards.on_trip", `additions_only`, oneOf("additions_only", "stop"), "what happens when a guard trips: additions_only, or stop (write nothing)", ""},

	{"leavers.interval", `24h`, notNegative, "how often the daemon counts the leavers for the metric groupsync_leavers; 0: never", ""},

	{"lease.name", `""`, leaseName, "name of a Kubernetes Lease; empty: one replica, without Kubernetes", ""},
	{"lease.namespace", `""`, leaseNamespace, "namespace of the Lease; empty: the namespace of the pod", ""},

	{"web.listen", `"127.0.0.1:8080"`, listen, "address of /metrics, /healthz and /readyz, and of the status page /", ""},
	{"web.config_file", `""`, anything, "web configuration file of Prometheus's exporter-toolkit: TLS and authentication of every path", ""},
	{"web.enable_lifecycle", `false`, anything, "true: anybody who can reach web.listen may POST /-/sync, /-/reload, /-/approve?digest=…, /-/suspend?for=…&reason=… and /-/resume", ""},
	{"web.public_status", `false`, anything, "true: anybody who can reach web.listen may read / and /api/v1/, which show people's names; false: only on loopback, or with the authentication of config_file", ""},
}

// sections holds, for each section, the comment in config.example.yaml.
var sections = map[string]string{
	"guards":  "0 turns a limit off",
	"leavers": "people who are disabled or gone in Keycloak and still hold something in ClearML",
	"lease":   "one replica at a time makes the passes; the guards' memory is in the ConfigMap NAME-memory",
}
