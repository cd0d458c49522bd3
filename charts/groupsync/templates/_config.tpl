{{- /* yes if the Secret is needed: config does not name a file for each of the three
secrets. */ -}}
{{- define "groupsync.needsSecret" -}}
{{- $keycloak := .Values.config.keycloak | default dict }}
{{- $clearml := .Values.config.clearml | default dict }}
{{- if not (and $keycloak.client_secret_file $clearml.access_key_file $clearml.secret_key_file) }}yes{{ end }}
{{- end }}

{{- define "groupsync.hasWebConfig" -}}
{{- if or .Values.webConfig.config .Values.webConfig.existingSecret }}yes{{ end }}
{{- end }}

{{- define "groupsync.hasCABundle" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}yes{{ end }}
{{- end }}

{{- /* The configuration: the values, and the keys that the chart sets. */ -}}
{{- define "groupsync.config" -}}
{{- $c := deepCopy .Values.config }}
{{- $keycloak := $c.keycloak | default dict }}
{{- $clearml := $c.clearml | default dict }}
{{- $keycloak = merge $keycloak (dict "client_secret_file" "/etc/groupsync/secret/client_secret") }}
{{- $clearml = merge $clearml (dict "access_key_file" "/etc/groupsync/secret/access_key" "secret_key_file" "/etc/groupsync/secret/secret_key") }}
{{- if include "groupsync.hasCABundle" . }}
{{- $_ := set $keycloak "ca_file" "/etc/groupsync/ca/ca.crt" }}
{{- $_ := set $clearml "ca_file" "/etc/groupsync/ca/ca.crt" }}
{{- end }}
{{- $web := set ($c.web | default dict) "listen" ":8080" }}
{{- if include "groupsync.hasWebConfig" . }}
{{- $_ := set $web "config_file" "/etc/groupsync/web/web-config.yaml" }}
{{- end }}
{{- $_ := set $c "keycloak" $keycloak }}
{{- $_ := set $c "clearml" $clearml }}
{{- $_ := set $c "web" $web }}
{{- if .Values.leaderElection.enabled }}
{{- $_ := set $c "lease" (dict "name" (include "groupsync.fullname" .)) }}
{{- end }}
{{- if .Values.state.enabled }}
{{- $_ := set $c "state_dir" "/var/lib/groupsync" }}
{{- end }}
{{- toYaml $c }}
{{- end }}

{{- /* The keys of the configuration that groupsync reads only at start. */ -}}
{{- define "groupsync.restartConfig" -}}
{{- pick (include "groupsync.config" . | fromYaml) "name" "shutdown_timeout" "state_dir" "lease" "web" "log" | toYaml }}
{{- end }}

{{- /* The seconds of a duration, such as 1m30s. */ -}}
{{- define "groupsync.seconds" -}}
{{- $seconds := 0.0 }}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|s|m|h)" . -1 }}
{{- $unit := regexFind "[^0-9.]+$" . }}
{{- $seconds = addf $seconds (mulf (trimSuffix $unit . | float64) (get (dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 1e-3 "us" 1e-6 "µs" 1e-6 "ns" 1e-9) $unit)) }}
{{- end }}
{{- $seconds }}
{{- end }}

{{- /* The port of a URL. */ -}}
{{- define "groupsync.port" -}}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $port | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- end }}
