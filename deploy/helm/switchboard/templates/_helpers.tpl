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

{{/* The pod of a node: .root, .role (node or connector), .roles, .resources, .memory. */}}
{{- define "switchboard.pod" -}}
{{- $values := .root.Values -}}
{{- $name := include "switchboard.name" .root -}}
metadata:
  labels:
    {{- include "switchboard.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    # Other settings start the pods anew, one after the other.
    checksum/settings: {{ toYaml $values.settings | sha256sum }}
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
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
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
        - {name: SWITCHBOARD_CLUSTER_NAME, value: {{ $name }}}
        - {name: SWITCHBOARD_CLUSTER_NODE, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: SWITCHBOARD_CLUSTER_PEERS, value: "{{ $name }}-nodes:7088"}
        {{- if lt (int $values.replicas) 3 }}
        - {name: SWITCHBOARD_CLUSTER_REPLICAS, value: {{ $values.replicas | quote }}}
        {{- end }}
        - name: SWITCHBOARD_CLUSTER_SECRET
          valueFrom: {secretKeyRef: {name: {{ include "switchboard.secret" .root }}, key: cluster}}
        - name: SWITCHBOARD_DB_URL
          valueFrom: {secretKeyRef: {name: {{ include "switchboard.secret" .root }}, key: database, optional: true}}
        - {name: SWITCHBOARD_LIMITS_DRAIN_TIMEOUT, value: {{ $values.drainSeconds }}s}
        {{- with .memory }}
        - {name: GOMEMLIMIT, value: {{ . }}}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      # A node that waits for others, or has lost them, is not ready, and must not be started anew for that.
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
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
    {{- if eq .role "connector" }}
    - {name: data, emptyDir: {sizeLimit: 1Gi}}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
