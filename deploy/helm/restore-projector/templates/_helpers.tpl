{{/* The names of what belongs to a release: its own, with the chart's where it does not contain it. */}}
{{- define "projector.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* All pods of a release, those that check topics included. */}}
{{- define "projector.podSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The workers alone. */}}
{{- define "projector.workerSelector" -}}
{{ include "projector.podSelector" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "projector.labels" -}}
{{ include "projector.podSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "projector.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "projector.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "projector.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Where Kafka and Redis are, and how to get in: for the worker, and for the jobs that look at topics. */}}
{{- define "projector.env" -}}
- name: RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS
  value: {{ required "kafka.bootstrapServers is required" .Values.kafka.bootstrapServers | quote }}
- name: RESTORE_PROJECTOR_KAFKA__GROUP_ID
  value: {{ .Values.kafka.groupId | quote }}
- name: RESTORE_PROJECTOR_KAFKA__PARTITIONER
  value: {{ .Values.kafka.partitioner | quote }}
- name: RESTORE_PROJECTOR_KAFKA__SECURITY_PROTOCOL
  value: {{ .Values.kafka.securityProtocol | quote }}
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
- name: RESTORE_PROJECTOR_KAFKA__SASL_MECHANISM
  value: {{ required "kafka.saslMechanism is required with SASL" .Values.kafka.saslMechanism | quote }}
{{- with .Values.kafka.saslSecret }}
- name: RESTORE_PROJECTOR_KAFKA__SASL_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ required "kafka.saslSecret.name is required with SASL" .name }}
      key: {{ .usernameKey }}
- name: RESTORE_PROJECTOR_KAFKA__SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .passwordKey }}
{{- end }}
{{- end }}
{{- if include "projector.tls" . }}
{{- with .Values.kafka.tlsSecret }}
{{- range $setting, $key := dict "CAFILE" .caKey "CERTFILE" .certKey "KEYFILE" .keyKey }}
{{- if $key }}
- name: RESTORE_PROJECTOR_KAFKA__SSL_{{ $setting }}
  value: /etc/kafka-tls/{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
- name: RESTORE_PROJECTOR_TOPICS__PREFIX
  value: {{ .Values.topics.prefix | quote }}
- name: RESTORE_PROJECTOR_REDIS__URL
{{- if .Values.redis.urlSecret.name }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.urlSecret.name }}
      key: {{ .Values.redis.urlSecret.key }}
{{- else }}
  value: {{ required "redis.urlSecret.name is required, or redis.url" .Values.redis.url | quote }}
{{- end }}
- name: RESTORE_PROJECTOR_REDIS__NAMESPACE
  value: {{ .Values.redis.namespace | quote }}
- name: RESTORE_PROJECTOR_LOG__LEVEL
  value: {{ .Values.log.level | quote }}
- name: RESTORE_PROJECTOR_LOG__FORMAT
  value: json
{{- range $name, $value := .Values.settings }}
- name: RESTORE_PROJECTOR_{{ $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- end -}}

{{/* Not empty where files for TLS to Kafka are mounted. */}}
{{- define "projector.tls" -}}
{{- if and .Values.kafka.tlsSecret.name (hasSuffix "SSL" .Values.kafka.securityProtocol) -}}
mounted
{{- end -}}
{{- end -}}

{{- define "projector.mounts" -}}
{{- if include "projector.tls" . }}
- name: kafka-tls
  mountPath: /etc/kafka-tls
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "projector.volumes" -}}
{{- if include "projector.tls" . }}
- name: kafka-tls
  secret:
    secretName: {{ .Values.kafka.tlsSecret.name }}
    # Readable by the group of the pod, which is the worker's.
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the `restricted` Pod Security Standard asks for. */}}
{{- define "projector.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "projector.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* A pod that runs one command and ends. Takes the chart's scope and the command's words. */}}
{{- define "projector.commandPod" -}}
{{- $scope := .scope -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "projector.podSecurity" $scope | nindent 2 }}
{{- with $scope.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $scope.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $scope.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: command
    image: {{ include "projector.image" $scope }}
    imagePullPolicy: {{ $scope.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- include "projector.env" $scope | nindent 6 }}
    securityContext:
      {{- include "projector.containerSecurity" $scope | nindent 6 }}
    resources:
      {{- toYaml $scope.Values.resources | nindent 6 }}
    {{- with include "projector.mounts" $scope | trim }}
    volumeMounts:
      {{- . | nindent 6 }}
    {{- end }}
{{- with include "projector.volumes" $scope | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}
