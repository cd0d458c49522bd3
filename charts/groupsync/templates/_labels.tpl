{{- define "groupsync.instance" -}}
app.kubernetes.io/name: {{ include "groupsync.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* The pods of the Deployment, and not the pods of helm test. */ -}}
{{- define "groupsync.selector" -}}
{{ include "groupsync.instance" . }}
app.kubernetes.io/component: daemon
{{- end }}

{{- /* The labels, with the operator's own labels added. An operator's label never
replaces one of the chart's labels. */ -}}
{{- define "groupsync.labelsAnd" -}}
{{- merge (include "groupsync.labels" (first .) | fromYaml) (last . | default dict) | toYaml }}
{{- end }}

{{- /* The labels of a component's pods. */ -}}
{{- define "groupsync.podLabels" -}}
{{- $root := first . }}
{{- merge (dict "app.kubernetes.io/component" (last .)) (include "groupsync.labelsAnd" (list $root $root.Values.podLabels) | fromYaml) | toYaml }}
{{- end }}

{{- define "groupsync.labels" -}}
{{ include "groupsync.instance" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}
