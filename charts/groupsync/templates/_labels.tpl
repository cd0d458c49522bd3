{{- define "groupsync.selector" -}}
app.kubernetes.io/name: groupsync
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "groupsync.labels" -}}
{{ include "groupsync.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
