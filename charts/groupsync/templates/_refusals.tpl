{{- /* Checks that the schema cannot express. Each part prints one line for each wrong value.
The line ends with what to do. One error has all lines. */ -}}
{{- define "groupsync.refuse" -}}
{{- $lines := list }}
{{- range list "config" "schedule" "secret" "extra" "names" "replicas" "files" "monitoring" }}
{{- $lines = concat $lines (include (printf "groupsync.refuse.%s" .) $ | splitList "\n") }}
{{- end }}
{{- with compact $lines }}
{{- fail (printf "\n%s" (join "\n" .)) }}
{{- end }}
{{- end }}

{{- /* yes if a variable in extraEnv sets the key of the configuration. */ -}}
{{- define "groupsync.fromEnv" -}}
{{- $name := printf "GROUPSYNC_%s" (.key | replace "." "_" | upper) }}
{{- range .root.Values.extraEnv }}{{ if eq .name $name }}yes{{ end }}{{ end }}
{{- end }}

{{- define "groupsync.hasClearMLEnv" -}}
{{- with .Values.clearmlEnv }}{{ if or .configMap .secret .env }}yes{{ end }}{{ end }}
{{- end }}

{{- define "groupsync.refuse.config" -}}
{{- $c := .Values.config }}
{{- $keycloak := $c.keycloak | default dict }}
{{- $clearml := $c.clearml | default dict }}
{{- $web := $c.web | default dict }}
{{- $lease := $c.lease | default dict }}
{{- $admins := $c.admins | default dict }}
{{- $derived := include "groupsync.hasClearMLEnv" . }}
{{- if not (or $keycloak.url $derived (include "groupsync.fromEnv" (dict "root" . "key" "keycloak.url"))) }}
config.keycloak.url: is missing: write https://auth.example.com, with Keycloak's path prefix if there is one
{{- end }}
{{- if contains "/realms/" ($keycloak.url | default "") }}
config.keycloak.url: contains a realm. Remove /realms/ and everything after it, and write the realm into config.keycloak.realm
{{- end }}
{{- if not (or $keycloak.realm $derived (include "groupsync.fromEnv" (dict "root" . "key" "keycloak.realm"))) }}
config.keycloak.realm: is missing: write the realm that ClearML signs its users in from
{{- end }}
{{- if not (or $clearml.url (include "groupsync.fromEnv" (dict "root" . "key" "clearml.url"))) }}
config.clearml.url: is missing: write https://api.clearml.example.com
{{- end }}
{{- if and $admins.groups (not (hasKey $admins "role")) (not $derived) (not (include "groupsync.fromEnv" (dict "root" . "key" "admins.role"))) }}
config.admins.role: must be set when admins.groups is set, because ClearML's login also makes administrators from a role claim: write the role, or "" for none
{{- end }}
{{- with $admins.role }}
{{- if regexMatch "^realm:\\s*$" . }}
config.admins.role: {{ . | quote }} names no role: write the realm role's name after realm:, or "" for none
{{- else if and (not (hasPrefix "realm:" .)) (regexMatch "^(/.*|[^/]*/)$" .) }}
config.admins.role: {{ . | quote }} is not client/role: write both parts, clearml/admin for example, or realm: and the name of a realm role
{{- end }}
{{- end }}
{{- with ($c.guards | default dict).max_age | default 0 | toString }}
{{- $seconds := include "groupsync.seconds" . | float64 }}
{{- if and (gt $seconds 0.0) (lt $seconds 60.0) }}
config.guards.max_age: {{ . }} is too short, because reading alone may take a minute and nothing would be written: write 1m or more, or 0s for no limit
{{- end }}
{{- end }}
{{- if or $lease.name $lease.namespace }}
config.lease: is set by the chart: leave it out, and set leaderElection.enabled
{{- end }}
{{- if $c.state_dir }}
config.state_dir: is set by the chart: leave it out, and set state.enabled
{{- end }}
{{- if hasKey $web "listen" }}
config.web.listen: is set by the chart for the Service and the probes: leave it out, and set service.port
{{- end }}
{{- if $web.config_file }}
config.web.config_file: is set by the chart: leave it out, and set webConfig.config or webConfig.existingSecret
{{- end }}
{{- $asks := .Values.webConfig.config | default dict }}
{{- if and $web.enable_lifecycle (not (or .Values.webConfig.existingSecret $asks.basic_auth_users (eq "RequireAndVerifyClientCert" (dig "tls_server_config" "client_auth_type" "" $asks)))) }}
config.web.enable_lifecycle: lets anybody who reaches the port make passes, approve removals and suspend writing: set webConfig too, with basic_auth_users, or with the client_auth_type RequireAndVerifyClientCert
{{- end }}
{{- if and (include "groupsync.hasCABundle" .) (or $keycloak.ca_file $clearml.ca_file) }}
config.keycloak.ca_file, config.clearml.ca_file: are set by the chart if caBundle is set: remove caBundle, or remove these keys
{{- end }}
{{- end }}

{{- /* Checks the schedule by the syntax of robfig/cron. groupsync itself checks that the
schedule has a next time. */ -}}
{{- define "groupsync.refuse.schedule" -}}
{{- $schedule := hasKey .Values.config "schedule" | ternary .Values.config.schedule "@hourly" }}
{{- $steps := "(/0*[1-9][0-9]*)?" }}
{{- $fields := list }}
{{- range list "[0-5]?[0-9]" "([01]?[0-9]|2[0-3])" "(0?[1-9]|[12][0-9]|3[01])" "(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)" "(0?[0-6]|sun|mon|tue|wed|thu|fri|sat)" }}
{{- $one := printf "([*?]|%s(-%s)?)%s" . . $steps }}
{{- $fields = append $fields (printf "%s(,%s)*" $one $one) }}
{{- end }}
{{- $five := printf "^(?i)\\s*%s\\s*$" (join "\\s+" $fields) }}
{{- $descriptor := "^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$" }}
{{- $unit := "([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|ms|s|m|h)" }}
{{- $every := printf "^@every (%s)+$" $unit }}
{{- if contains "TZ=" $schedule }}
config.schedule: {{ $schedule | quote }} names a time zone, but schedules are in UTC: write the schedule without a time zone
{{- else if regexMatch $every $schedule }}
{{- if not (or (regexMatch "[1-9][0-9.]*[mh]([0-9.]|$)" $schedule) (regexMatch "[^0-9.]0*[1-9][0-9]*(\\.[0-9]*)?s|[^0-9.]0*[1-9][0-9]{3,}(\\.[0-9]*)?ms" $schedule)) }}
config.schedule: {{ $schedule | quote }} is less than a second: write a longer one, @every 15m for example
{{- end }}
{{- else if not (or (regexMatch $descriptor $schedule) (regexMatch $five $schedule)) }}
config.schedule: {{ $schedule | quote }} is not a schedule: write @every 15m, @hourly, or five cron fields
{{- else }}
{{- $order := dict "jan" 1 "feb" 2 "mar" 3 "apr" 4 "may" 5 "jun" 6 "jul" 7 "aug" 8 "sep" 9 "oct" 10 "nov" 11 "dec" 12 "sun" 0 "mon" 1 "tue" 2 "wed" 3 "thu" 4 "fri" 5 "sat" 6 }}
{{- range regexFindAll "[0-9a-z]+-[0-9a-z]+" (lower $schedule) -1 }}
{{- $ends := list }}
{{- range splitList "-" . }}{{ $ends = append $ends (hasKey $order . | ternary (get $order .) (atoi .)) }}{{ end }}
{{- if gt (first $ends | int) (last $ends | int) }}
config.schedule: {{ $schedule | quote }} has a range that ends before it begins, {{ . }}: swap the ends, or write two ranges with a comma
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "groupsync.refuse.secret" -}}
{{- $values := .Values }}
{{- $keys := dict "keycloak.client_secret" "clientSecret" "clearml.access_key" "accessKey" "clearml.secret_key" "secretKey" }}
{{- range $key, $value := $keys }}
{{- $section := get $values.config (first (splitList "." $key)) | default dict }}
{{- if get $section (last (splitList "." $key)) }}
config.{{ $key }}: would be readable in the ConfigMap: take it out, and put it into the Secret (existingSecret, or secret.create with secret.{{ $value }})
{{- end }}
{{- if include "groupsync.fromEnv" (dict "root" $ "key" $key) }}
extraEnv: GROUPSYNC_{{ $key | replace "." "_" | upper }} sets a value that the Secret holds too: take it out, and name the Secret with existingSecret
{{- end }}
{{- if and $values.secret.create (not (get $values.secret $value)) }}
secret.{{ $value }}: is missing: set it, or name a Secret that holds it with existingSecret
{{- end }}
{{- end }}
{{- if and $values.existingSecret $values.secret.create }}
existingSecret: names a Secret, and secret.create makes another: keep one of the two
{{- else if and (include "groupsync.needsSecret" .) (not $values.existingSecret) (not $values.secret.create) }}
existingSecret: is missing: name a Secret with the keys {{ $values.secretKeys.clientSecret }}, {{ $values.secretKeys.accessKey }} and {{ $values.secretKeys.secretKey }}, or set secret.create with the three values
{{- end }}
{{- range $name, $_ := $values.clearmlEnv.env }}
{{- if hasSuffix "client_secret" (lower $name) }}
clearmlEnv.env: {{ $name }} would be readable in the Deployment: leave it out, because groupsync does not use ClearML's client
{{- else if not (or (hasPrefix "CLEARML__" $name) (hasPrefix "KLIQUE__" $name)) }}
clearmlEnv.env: {{ $name }} is not one of ClearML's variables, which begin with CLEARML__ or KLIQUE__: put it into extraEnv
{{- end }}
{{- end }}
{{- end }}

{{- /* Variables and flags override the file, and so override what the chart sets. */ -}}
{{- define "groupsync.refuse.extra" -}}
{{- $places := dict "mode" "config.mode" "lease.name" "leaderElection.enabled" "lease.namespace" "leaderElection.enabled" "state_dir" "state.enabled" "web.listen" "service.port" "web.config_file" "webConfig" "web.enable_lifecycle" "config.web.enable_lifecycle" }}
{{- range $key, $place := $places }}
{{- if include "groupsync.fromEnv" (dict "root" $ "key" $key) }}
extraEnv: GROUPSYNC_{{ $key | replace "." "_" | upper }} would override what the chart sets: take it out, and set {{ $place }}
{{- end }}
{{- range $.Values.extraArgs }}
{{- if eq (first (splitList "=" .)) (printf "--%s" $key) }}
extraArgs: --{{ $key }} would override what the chart sets: take it out, and set {{ $place }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if and (or (hasPrefix "CLEARML__" .name) (hasPrefix "KLIQUE__" .name)) (hasSuffix "client_secret" (lower .name)) (hasKey . "value") }}
extraEnv: {{ .name }} would be readable in the Deployment: leave it out, because groupsync does not use ClearML's client
{{- end }}
{{- end }}
{{- $volumes := .Values.state.enabled | ternary (list "state") list }}
{{- range include "groupsync.volumes" . | fromYamlArray }}
{{- if has .name $volumes }}
extraVolumes: {{ .name }} is the name of another volume: choose another name, in extraVolumeMounts too
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- range .Values.extraArgs }}
{{- if has (first (splitList "=" .)) (list "--config" "--clearml-env") }}
extraArgs: {{ . }} would override what the chart mounts: take it out, and set config or clearmlEnv
{{- end }}
{{- if has (first (splitList "=" .)) (list "--once" "--apply" "--approve" "--drift-ok") }}
extraArgs: {{ . }} makes a single pass, and the Deployment would make it again and again: take it out, and run it as a Job
{{- end }}
{{- end }}
{{- end }}

{{- define "groupsync.refuse.names" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "groupsync.fullname" .)) }}
fullnameOverride: {{ include "groupsync.fullname" . }} is not a valid name of a Service: write one that begins with a letter and has letters, digits and dashes only
{{- end }}
{{- if and .Values.leaderElection.enabled .Values.rbac.create (eq (include "groupsync.serviceAccountName" .) "default") }}
serviceAccount.name: default is the account of every pod of the namespace that names no account. All these pods could write the Lease and the guards' memory: name another account, or set serviceAccount.create
{{- end }}
{{- end }}

{{- define "groupsync.refuse.replicas" -}}
{{- $replicas := int .Values.replicas }}
{{- if and (gt $replicas 1) (not .Values.leaderElection.enabled) }}
replicas: {{ $replicas }} processes would write at the same time: set leaderElection.enabled, or replicas to 1
{{- end }}
{{- if and .Values.state.enabled .Values.leaderElection.enabled }}
state.enabled: cannot be combined with leaderElection.enabled, which keeps the memory in a ConfigMap that every replica can read: set one of the two to false
{{- end }}
{{- $grace := int .Values.terminationGracePeriodSeconds }}
{{- $timeout := hasKey .Values.config "shutdown_timeout" | ternary .Values.config.shutdown_timeout "20s" | toString }}
{{- $seconds := include "groupsync.seconds" $timeout | float64 }}
{{- if ge $seconds (float64 $grace) }}
terminationGracePeriodSeconds: the pod is killed after {{ $grace }} s, but groupsync may wait for a running pass for {{ $timeout }}: make it more than config.shutdown_timeout
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- $least := toString .minAvailable }}
{{- $pods := int $least }}
{{- if hasSuffix "%" $least }}{{ $pods = mulf (trimSuffix "%" $least | float64) 0.01 $replicas | ceil | int }}{{ end }}
{{- if and .enabled (gt $replicas 0) (ge $pods $replicas) }}
podDisruptionBudget.minAvailable: {{ $least }} of {{ $replicas }} replicas prevents the drain of every node: set a lower value, or set only maxUnavailable
{{- end }}
{{- if and .enabled (not $least) (regexMatch "^(0+%?)?$" (toString .maxUnavailable)) }}
podDisruptionBudget.maxUnavailable: {{ .maxUnavailable | quote }} prevents the drain of every node: set it to 1
{{- end }}
{{- end }}
{{- end }}

{{- define "groupsync.refuse.files" -}}
{{- with .Values.caBundle }}
{{- if and .configMap .secret }}
caBundle: names a ConfigMap and a Secret: keep one of the two
{{- end }}
{{- end }}
{{- with .Values.clearmlEnv }}
{{- if gt (len (compact (list .configMap .secret .env))) 1 }}
clearmlEnv: has more than one of configMap, secret and env: keep one
{{- end }}
{{- end }}
{{- with .Values.webConfig }}
{{- if and .config .existingSecret }}
webConfig: config and existingSecret both give the file: keep one of the two
{{- end }}
{{- if and .tlsSecret (not .config) (not .existingSecret) }}
webConfig.tlsSecret: is used by no configuration: set webConfig.config.tls_server_config with cert_file /etc/groupsync/tls/tls.crt and key_file /etc/groupsync/tls/tls.key
{{- end }}
{{- end }}
{{- end }}

{{- define "groupsync.refuse.monitoring" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
podMonitor.enabled: together with serviceMonitor.enabled every series would be scraped twice: keep one of the two
{{- end }}
{{- $asks := .Values.webConfig.config | default dict }}
{{- range list "serviceMonitor" "podMonitor" }}
{{- $monitor := get $.Values . }}
{{- if and $monitor.enabled $asks.tls_server_config (ne $monitor.scheme "https") }}
{{ . }}.scheme: is {{ $monitor.scheme }}, and webConfig has TLS: write https, and {{ . }}.tlsConfig for the certificate
{{- end }}
{{- if and $monitor.enabled $asks.basic_auth_users (not $monitor.basicAuth) }}
{{ . }}.basicAuth: is missing, and webConfig asks everybody for a password, Prometheus too: name the Secret keys of a user that basic_auth_users has
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.prometheusRule.alerts }}
{{- if not (contains (printf "alert: %s\n" $name) ($.Files.Get "files/rules.yaml")) }}
prometheusRule.alerts: {{ $name }} is not an alert: files/rules.yaml has the names of the alerts
{{- end }}
{{- end }}
{{- if .Values.networkPolicy.enabled }}
{{- range $side, $section := dict "keycloak" .Values.config.keycloak "clearml" .Values.config.clearml }}
{{- $elsewhere := include "groupsync.fromEnv" (dict "root" $ "key" (printf "%s.url" $side)) }}
{{- if not (or (and (get ($section | default dict) "url") (not $elsewhere)) (get $.Values.networkPolicy $side).ports) }}
networkPolicy.{{ $side }}.ports: is missing, and config.{{ $side }}.url does not give the port: set one of the two
{{- end }}
{{- end }}
{{- end }}
{{- end }}
