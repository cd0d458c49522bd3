{{- /* A pod of helm test. name is the suffix of the pod's name, and weight orders the pods.
before and after are arguments before and after those that every run has. */ -}}
{{- define "groupsync.testPod" -}}
{{- $root := .root -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "groupsync.fullname" $root }}-{{ .name }}
  labels: {{- include "groupsync.podLabels" (list $root .name) | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation
    {{- with omit ($root.Values.podAnnotations | default dict) "helm.sh/hook" "helm.sh/hook-weight" "helm.sh/hook-delete-policy" }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  {{- include "groupsync.pod" $root | nindent 2 }}
  restartPolicy: Never
  containers:
    - {{ include "groupsync.container" $root | nindent 6 | trim }}
      args:
        {{- range .before }}
        - {{ . }}
        {{- end }}
        {{- include "groupsync.args" $root | nindent 8 }}
        {{- range .after }}
        - {{ . }}
        {{- end }}
  volumes:
    {{- include "groupsync.volumes" $root | nindent 4 }}
    {{- if $root.Values.state.enabled }}
    # no PersistentVolumeClaim here: its volume may be bound to another node
    - {name: state, emptyDir: {}}
    {{- end }}
{{- end }}
