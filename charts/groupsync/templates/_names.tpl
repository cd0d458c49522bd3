{{- /* Names have at most 53 characters, so that a suffix such as -dashboard fits, and are
valid for a Service. */ -}}
{{- define "groupsync.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "groupsync.fullname" -}}
{{- $name := include "groupsync.name" . }}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | replace "." "-" | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "groupsync.secretName" -}}
{{ .Values.existingSecret | default (include "groupsync.fullname" .) }}
{{- end }}

{{- define "groupsync.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (ternary (include "groupsync.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* The memory's name is fixed: groupsync derives it from the Lease's. */ -}}
{{- define "groupsync.memoryName" -}}
{{ include "groupsync.fullname" . }}-memory
{{- end }}
