{{- define "groupsync.instance" -}}
app.kubernetes.io/name: {{ include "groupsync.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The pods that run the schedule, and not the one of helm test. */ -}}
{{- define "groupsync.selector" -}}
{{ include "groupsync.instance" . }}
app.kubernetes.io/component: daemon
{{- end }}

{{- /* The labels of a component's pods: those that a selector names win over the
operator's own. */ -}}
{{- define "groupsync.podLabels" -}}
{{- $root := first . }}
{{- $own := merge (dict "app.kubernetes.io/component" (last .)) (include "groupsync.labels" $root | fromYaml) }}
{{- merge $own $root.Values.podLabels | toYaml }}
{{- end }}

{{- define "groupsync.labels" -}}
{{ include "groupsync.instance" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}
