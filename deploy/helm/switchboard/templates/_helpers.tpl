{{/* The name of everything, and what the names of its parts begin with. */}}
{{- define "switchboard.name" -}}
{{- if contains "switchboard" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-switchboard" (.Release.Name | trunc 28 | trimSuffix "-") }}{{ end }}
{{- end }}

{{/* What selects pods; it never changes. */}}
{{- define "switchboard.selector" -}}
app.kubernetes.io/name: switchboard
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "switchboard.labels" -}}
{{ include "switchboard.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
{{- end }}

{{- define "switchboard.secret" -}}
{{ .Values.secret.existing | default (include "switchboard.name" .) }}
{{- end }}

{{/* Whether the only node has nobody to be a cluster with: "alone", or nothing. */}}
{{- define "switchboard.alone" -}}
{{- if and (eq (int .Values.replicas) 1) (not .Values.connectors.enabled) }}alone{{ end }}
{{- end }}

{{/* What pods have that clients may connect to. It follows the role, not what made the pod: when connectors come or go the service keeps those that are ready. */}}
{{- define "switchboard.clients" -}}
switchboard-clients: "true"
{{- end }}

{{/* How the kubelet asks the admin listener: http, https, or exec where that wants a certificate of whoever asks. */}}
{{- define "switchboard.probes" -}}
{{- $tls := get .Values.settings "adminTLS" | default dict -}}
{{- $seen := ternary (ternary "exec" "https" (not (empty (get $tls "clientCA")))) "http" (not (empty (get $tls "cert"))) -}}
{{ .Values.probes | default (ternary "http" $seen (not (empty .Values.settingsSecret))) }}
{{- end }}

{{/* A probe: .root, .path, .flags (of switchboard health). */}}
{{- define "switchboard.probe" -}}
{{- $how := include "switchboard.probes" .root -}}
{{- if eq $how "exec" -}}
exec: {command: [/bin/switchboard, health{{ .flags }}]}
{{- else -}}
httpGet: {path: {{ .path }}, port: admin{{ if eq $how "https" }}, scheme: HTTPS{{ end }}}
{{- end }}
{{- end }}

{{/* Values that the chart cannot keep, with what to say instead. */}}
{{- define "switchboard.check" -}}
{{- $own := dict "listen" "pods listen at 0.0.0.0:8088" "admin" "pods listen at 0.0.0.0:9088" "data" "it is /data, where the disk is" "roles" "say connectors.enabled" -}}
{{- range $key, $why := $own }}
{{- if hasKey $.Values.settings $key }}{{ fail (printf "settings.%s is the chart's own: %s" $key $why) }}{{ end }}
{{- end }}
{{- range $key := list "name" "node" "listen" "advertise" "peers" "secret" }}
{{- if hasKey (get $.Values.settings "cluster" | default dict) $key }}{{ fail (printf "settings.cluster.%s is the chart's own: it knows the pods, and has the secret from secret.existing or secret.cluster" $key) }}{{ end }}
{{- end }}
{{- if hasKey (get .Values.settings "limits" | default dict) "drainTimeout" }}{{ fail "settings.limits.drainTimeout is the chart's own: say drainSeconds, by which pods get the time to end" }}{{ end }}
{{- if gt (int .Values.connectors.minReplicas) (int .Values.connectors.maxReplicas) }}{{ fail (printf "connectors.minReplicas is %d, and connectors.maxReplicas only %d" (int .Values.connectors.minReplicas) (int .Values.connectors.maxReplicas)) }}{{ end }}
{{- end }}

{{/* The pod of a node: .root, .role (node or connector), .roles, .resources, .memory. */}}
{{- define "switchboard.pod" -}}
{{- $values := .root.Values -}}
{{- $name := include "switchboard.name" .root -}}
metadata:
  labels:
    {{- include "switchboard.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
    {{- if ne .roles "processor" }}
    {{- include "switchboard.clients" .root | nindent 4 }}
    {{- end }}
  annotations:
    # Other settings start the pods anew, one after the other.
    checksum/settings: {{ list $values.settings $values.secret | toYaml | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $values.preStopSeconds $values.drainSeconds 25 }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  topologySpreadConstraints:
    # Nodes that keep what is stored are on machines of their own as long as there are enough: one machine that fails is to
    # take no majority along.
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: {{ ternary "DoNotSchedule" "ScheduleAnyway" (eq .role "node") }}
      nodeTaintsPolicy: Honor
      labelSelector:
        matchLabels:
          {{- include "switchboard.selector" .root | nindent 10 }}
          app.kubernetes.io/component: {{ .role }}
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "switchboard.selector" .root | nindent 10 }}
          app.kubernetes.io/component: {{ .role }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: switchboard
      image: "{{ $values.image.repository }}:{{ $values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [serve, --config, /etc/switchboard/switchboard.yaml]
      ports:
        {{- if ne .roles "processor" }}
        - {name: clients, containerPort: 8088}
        {{- end }}
        - {name: admin, containerPort: 9088}
        - {name: cluster, containerPort: 7088}
      env:
        - {name: SWITCHBOARD_ROLES, value: {{ .roles }}}
        - {name: SWITCHBOARD_CLUSTER_NODE, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        {{- if not (include "switchboard.alone" .root) }}
        - {name: SWITCHBOARD_CLUSTER_NAME, value: {{ $name }}}
        {{- $peer := ternary (printf "%s-0.%s-nodes" $name $name) (printf "%s-nodes" $name) (eq (int $values.replicas) 1) }}
        - {name: SWITCHBOARD_CLUSTER_PEERS, value: "{{ $peer }}:7088"}
        {{- if lt (int $values.replicas) 3 }}
        - {name: SWITCHBOARD_CLUSTER_REPLICAS, value: {{ $values.replicas | quote }}}
        {{- end }}
        - name: SWITCHBOARD_CLUSTER_SECRET
          valueFrom: {secretKeyRef: {name: {{ include "switchboard.secret" .root }}, key: cluster}}
        {{- end }}
        - name: SWITCHBOARD_DB_URL
          valueFrom: {secretKeyRef: {name: {{ include "switchboard.secret" .root }}, key: database, optional: true}}
        - {name: SWITCHBOARD_LIMITS_DRAIN_TIMEOUT, value: {{ $values.drainSeconds }}s}
        {{- if $values.secret.settings }}
        - {name: SWITCHBOARD_SECRETS, value: /etc/switchboard-secrets}
        {{- end }}
        {{- with .memory }}
        - {name: GOMEMLIMIT, value: {{ . }}}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      # A node that waits for others, or has lost them, is not ready, and must not be started anew for that.
      readinessProbe:
        {{- include "switchboard.probe" (dict "root" .root "path" "/readyz" "flags" "") | nindent 8 }}
        periodSeconds: {{ ternary 5 2 (eq (include "switchboard.probes" .root) "exec") }}
        timeoutSeconds: 2
      livenessProbe:
        {{- include "switchboard.probe" (dict "root" .root "path" "/healthz" "flags" ", --alive") | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      lifecycle:
        # The service forgets the pod before its clients are asked to leave; SIGTERM does the rest.
        preStop: {sleep: {seconds: {{ $values.preStopSeconds }}}}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources:
        {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: settings, mountPath: /etc/switchboard, readOnly: true}
        {{- if $values.secret.settings }}
        - {name: secrets, mountPath: /etc/switchboard-secrets, readOnly: true}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: settings
      {{- if $values.settingsSecret }}
      secret: {secretName: {{ $values.settingsSecret }}}
      {{- else }}
      configMap: {name: {{ $name }}}
      {{- end }}
    {{- with $values.secret.settings }}
    - name: secrets
      secret: {secretName: {{ . }}}
    {{- end }}
    {{- if eq .role "connector" }}
    - {name: data, emptyDir: {sizeLimit: 1Gi}}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
