{{- /* The part that the pods of the Deployment and of helm test share. */ -}}
{{- define "groupsync.pod" -}}
serviceAccountName: {{ include "groupsync.serviceAccountName" . | quote }}
# only the Lease, the memory's ConfigMap and Events need the token
automountServiceAccountToken: {{ .Values.leaderElection.enabled }}
# a variable of a Service could look like a key of the configuration
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The container, without arguments, ports and probes. */ -}}
{{- define "groupsync.container" -}}
name: groupsync
image: {{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if or .Values.leaderElection.enabled .Values.clearmlEnv.env .Values.extraEnv }}
env:
  {{- if .Values.leaderElection.enabled }}
  - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
  {{- end }}
  {{- range $name, $value := .Values.clearmlEnv.env }}
  - {name: {{ $name | quote }}, value: {{ $value | quote }}}
  {{- end }}
  {{- with .Values.extraEnv }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/groupsync/config, readOnly: true}
  {{- if include "groupsync.needsSecret" . }}
  - {name: secret, mountPath: /etc/groupsync/secret, readOnly: true}
  {{- end }}
  {{- if include "groupsync.hasCABundle" . }}
  - {name: ca, mountPath: /etc/groupsync/ca, readOnly: true}
  {{- end }}
  {{- if or .Values.clearmlEnv.configMap .Values.clearmlEnv.secret }}
  - {name: clearml-env, mountPath: /etc/groupsync/clearml-env, readOnly: true}
  {{- end }}
  {{- if include "groupsync.hasWebConfig" . }}
  - {name: web, mountPath: /etc/groupsync/web, readOnly: true}
  {{- end }}
  {{- if .Values.webConfig.tlsSecret }}
  - {name: tls, mountPath: /etc/groupsync/tls, readOnly: true}
  {{- end }}
  {{- if .Values.state.enabled }}
  - {name: state, mountPath: /var/lib/groupsync}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- /* The arguments that every run has. */ -}}
{{- define "groupsync.args" -}}
- --config=/etc/groupsync/config/config.yaml
{{- if or .Values.clearmlEnv.configMap .Values.clearmlEnv.secret }}
- --clearml-env=/etc/groupsync/clearml-env/clearml.env
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A volume with one file of a ConfigMap, or of a Secret if no ConfigMap is named. */ -}}
{{- define "groupsync.file" -}}
- name: {{ .name }}
  {{- if .from.configMap }}
  configMap:
    name: {{ .from.configMap | quote }}
    items: [{key: {{ .from.key | quote }}, path: {{ .path }}}]
  {{- else }}
  secret:
    secretName: {{ .from.secret | quote }}
    defaultMode: 0440
    items: [{key: {{ .from.key | quote }}, path: {{ .path }}}]
  {{- end }}
{{- end }}

{{- /* The volumes, except state, which the caller adds. */ -}}
{{- define "groupsync.volumes" -}}
- name: config
  configMap: {name: {{ include "groupsync.fullname" . }}}
{{- if include "groupsync.needsSecret" . }}
- name: secret
  secret:
    secretName: {{ include "groupsync.secretName" . | quote }}
    defaultMode: 0440
    items:
      - {key: {{ .Values.secretKeys.clientSecret | quote }}, path: client_secret}
      - {key: {{ .Values.secretKeys.accessKey | quote }}, path: access_key}
      - {key: {{ .Values.secretKeys.secretKey | quote }}, path: secret_key}
{{- end }}
{{- if include "groupsync.hasCABundle" . }}
{{ include "groupsync.file" (dict "name" "ca" "from" .Values.caBundle "path" "ca.crt") }}
{{- end }}
{{- if or .Values.clearmlEnv.configMap .Values.clearmlEnv.secret }}
{{ include "groupsync.file" (dict "name" "clearml-env" "from" .Values.clearmlEnv "path" "clearml.env") }}
{{- end }}
{{- if include "groupsync.hasWebConfig" . }}
{{- $secret := .Values.webConfig.existingSecret | default (printf "%s-web" (include "groupsync.fullname" .)) }}
{{ include "groupsync.file" (dict "name" "web" "from" (dict "secret" $secret "key" .Values.webConfig.key) "path" "web-config.yaml") }}
{{- end }}
{{- with .Values.webConfig.tlsSecret }}
- name: tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
