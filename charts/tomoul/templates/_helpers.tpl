{{- define "tomoul.selectorLabels" -}}
app.kubernetes.io/name: tomoul
app.kubernetes.io/component: operator
{{- end }}

{{- define "tomoul.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- include "tomoul.selectorLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ include "tomoul.labelValue" .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ include "tomoul.labelValue" (printf "%s-%s" .Chart.Name .Chart.Version) }}
{{- end }}

{{- /* A version, such as 0.1.0+build.5, as far as a label can hold it. */}}
{{- define "tomoul.labelValue" -}}
{{ . | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
{{- end }}

{{- define "tomoul.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* Where a constraint or a term says of no pods, those of the operator are meant: without a selector it is for nothing. */}}
{{- define "tomoul.topologySpreadConstraints" -}}
{{- $own := dict "matchLabels" (include "tomoul.selectorLabels" . | fromYaml) }}
{{- $constraints := list }}
{{- range .Values.operator.topologySpreadConstraints }}
{{- $constraints = append $constraints (hasKey . "labelSelector" | ternary . (set (deepCopy .) "labelSelector" $own)) }}
{{- end }}
{{- toYaml $constraints }}
{{- end }}

{{- define "tomoul.affinity" -}}
{{- $own := dict "matchLabels" (include "tomoul.selectorLabels" . | fromYaml) }}
{{- $affinity := deepCopy .Values.operator.affinity }}
{{- range $kind := list "podAffinity" "podAntiAffinity" }}
{{- $terms := dig $kind "requiredDuringSchedulingIgnoredDuringExecution" list $affinity }}
{{- range dig $kind "preferredDuringSchedulingIgnoredDuringExecution" list $affinity }}
{{- $terms = append $terms .podAffinityTerm }}
{{- end }}
{{- range $terms }}
{{- if not (hasKey . "labelSelector") }}{{ $_ := set . "labelSelector" $own }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml $affinity }}
{{- end }}

{{- /* Labels that something is selected by, or that say whose an object is, cannot be given another value. */}}
{{- define "tomoul.checkLabels" -}}
{{- $value := .value }}
{{- range $name, $_ := .labels }}
{{- if regexMatch "^(app\\.kubernetes\\.io/(name|component|instance|version|managed-by)|helm\\.sh/chart|pod-template-hash)$|^tomoul\\.ai/" $name }}
{{- fail (printf "%s: `%s` means something to Kubernetes, Helm or Tomoul: leave it out" $value $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The same by name, as the operator itself refuses them. */}}
{{- define "tomoul.checkPropagated" -}}
{{- $value := .value }}
{{- range .names }}
{{- if regexMatch "^app\\.kubernetes\\.io/(name|component|managed-by)$|^(tomoul\\.ai/|pod-template-hash|kubectl\\.kubernetes\\.io/|deployment\\.kubernetes\\.io/)" . }}
{{- fail (printf "%s: `%s` means something to Kubernetes or Tomoul on each object: leave it out" $value .) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What the operator gives the gateways that it makes, besides what their Regions say. */}}
{{- define "tomoul.gatewayOverlay" -}}
{{- $gateway := .Values.gateway }}
{{- $type := $gateway.serviceType }}
{{- if and (eq $type "ClusterIP") $gateway.service.externalTrafficPolicy }}
{{- fail "gateway.service.externalTrafficPolicy needs gateway.serviceType NodePort or LoadBalancer: a ClusterIP has no traffic from outside" }}
{{- end }}
{{- if and (ne $type "LoadBalancer") (or $gateway.service.loadBalancerClass $gateway.service.loadBalancerSourceRanges) }}
{{- fail (printf "gateway.service.loadBalancerClass and loadBalancerSourceRanges need gateway.serviceType LoadBalancer, not %s" $type) }}
{{- end }}
{{- /* The operator refuses the same, and would not start; what is written otherwise, such as 0.2Gi, is left to it. */}}
{{- $memory := dig "envoy" "limits" "memory" "" $gateway.resources | toString }}
{{- $least := dict "" 268435456 "Ki" 262144 "k" 268436 "Mi" 256 "M" 269 }}
{{- if or (not $memory) (and (regexMatch "^[0-9]+(|Ki|k|Mi|M)$" $memory) (lt (regexFind "^[0-9]+" $memory | int64) (get $least (regexFind "[A-Za-z]*$" $memory) | int64))) }}
{{- fail (printf "gateway.resources.envoy.limits.memory: %s: must be 256Mi or more: Envoy refuses calls before it has used that up" ($memory | default "none")) }}
{{- end }}
{{- $pods := dict "labels" $gateway.podLabels "annotations" $gateway.podAnnotations "nodeSelector" $gateway.nodeSelector
  "tolerations" $gateway.tolerations "affinity" ($gateway.affinity | default dict) "priorityClassName" $gateway.priorityClassName
  "topologySpreadConstraints" $gateway.topologySpreadConstraints }}
{{- dict "labels" .Values.commonLabels "pods" $pods "service" $gateway.service "resources" $gateway.resources | toJson }}
{{- end }}
