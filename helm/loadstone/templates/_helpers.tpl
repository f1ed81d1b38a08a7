{{- define "loadstone.name" -}}
{{- $name := ternary .Release.Name (printf "%s-loadstone" .Release.Name) (contains "loadstone" .Release.Name) -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "loadstone.account" -}}
{{- .Values.serviceAccount.name | default (include "loadstone.name" .) -}}
{{- end -}}

{{- define "loadstone.selector" -}}
app.kubernetes.io/name: loadstone-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "loadstone.labels" -}}
{{ include "loadstone.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: loadstone
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{/* Who may reach the ports of a run besides its own pods; who scrapes is for the installation to say. */}}
{{- define "loadstone.access" -}}
{{- $namespace := dict "matchLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace) -}}
{{- $pod := dict "matchLabels" (include "loadstone.selector" . | fromYaml) -}}
{{- $operator := list (dict "namespaceSelector" $namespace "podSelector" $pod) -}}
{{- dict "operator" $operator "metrics" (.Values.networkPolicy.metricsFrom | default list) | toJson -}}
{{- end -}}

{{/* What the operator may do where LoadTests are served: these verbs and nothing else. */}}
{{- define "loadstone.rules" -}}
- apiGroups: [loadstone.dev]
  resources: [loadtests]
  verbs: [get, list, watch, patch]
- apiGroups: [loadstone.dev]
  resources: [loadtests/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [secrets, events]
  verbs: [create]
{{- if .Values.networkPolicy.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, patch]
{{- end }}
{{- end -}}
