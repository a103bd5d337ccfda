package check

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/seed-3d8c1042/switchboard/deploy/check/image"
	"github.com/seed-3d8c1042/switchboard/deploy/check/manifests"
)

const chart = "../helm/switchboard"

// objects are what manifests describe, by kind and name.
type objects map[string]metav1.Object

// decode reads manifests as Kubernetes does, strictly: what it would pass over is an error.
func decode(t *testing.T, text string) objects {
	t.Helper()
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	all := objects{}
	for _, document := range strings.Split("\n"+text, "\n---\n")[1:] {
		if strings.Contains(document, "kind: ServiceMonitor\n") {
			wantServiceMonitor(t, document)
			continue
		}
		o, kind, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%v:\n%s", err, document)
		}
		object := o.(metav1.Object)
		key := kind.Kind + " " + object.GetName()
		if all[key] != nil {
			t.Errorf("there are two of %s", key)
		}
		if bad := validation.IsDNS1035Label(object.GetName()); len(bad) > 0 {
			t.Errorf("%s: %v", key, bad)
		}
		all[key] = object
	}
	return all
}

// serviceMonitor is as much of the Prometheus operator's type as the chart uses.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port, Path, Interval, Scheme string
			TLSConfig                    map[string]any `json:"tlsConfig"`
		} `json:"endpoints"`
	} `json:"spec"`
}

func wantServiceMonitor(t *testing.T, document string) {
	t.Helper()
	var m serviceMonitor
	if err := yaml.UnmarshalStrict([]byte(document), &m); err != nil || len(m.Spec.Endpoints) != 1 || m.Spec.Endpoints[0].Port != "admin" || m.Spec.Endpoints[0].Path != "/metrics" || m.Spec.Selector.MatchLabels["app.kubernetes.io/component"] != "admin" {
		t.Errorf("%v:\n%s", err, document)
	}
}

// variants are values that the chart is rendered with, besides those of the manifests. Together they have each value of
// the chart, and none twice, so that each can be found in what is made.
var variants = map[string]map[string]any{
	"one node": {
		"replicas": 1, "secret": map[string]any{"cluster": strings.Repeat("x", 32), "database": "postgres://u:p@db/switchboard"},
		"settings": map[string]any{"chat": map[string]any{"enabled": true}, "cluster": map[string]any{"lease": "7s"}},
	},
	"two nodes":           {"replicas": 2, "secret": map[string]any{"existing": "s"}},
	"one with connectors": {"replicas": 1, "secret": map[string]any{"existing": "s"}, "connectors": map[string]any{"enabled": true}},
	"everything": {
		"replicas": 5,
		"secret":   map[string]any{"existing": "other", "settings": "of-apps"}, "settingsSecret": "all-settings",
		"connectors": map[string]any{
			"enabled": true, "minReplicas": 4, "maxReplicas": 17, "cpuPercent": 61, "memoryPercent": 83,
			"resources": map[string]any{"requests": map[string]any{"cpu": "510m", "memory": "520Mi"}, "limits": map[string]any{"memory": "1030Mi"}}, "goMemoryLimit": "910MiB",
		},
		"resources":        map[string]any{"requests": map[string]any{"cpu": "530m", "memory": "540Mi"}, "limits": map[string]any{"memory": "1050Mi"}},
		"goMemoryLimit":    "920MiB",
		"image":            map[string]any{"repository": "r.example/s", "tag": "9.9.9", "pullPolicy": "Always"},
		"imagePullSecrets": []any{map[string]any{"name": "registry"}},
		"serviceMonitor":   map[string]any{"enabled": true, "interval": "19s", "labels": map[string]any{"release": "prometheus"}, "tlsConfig": map[string]any{"serverName": "admin.example"}},
		"storage":          map[string]any{"size": "21Gi", "className": "local"},
		"service":          map[string]any{"type": "LoadBalancer", "port": 8443, "externalTrafficPolicy": "Local", "annotations": map[string]any{"a": "b"}},
		"podAnnotations":   map[string]any{"c": "d"}, "nodeSelector": map[string]any{"e": "f"}, "drainSeconds": 60, "preStopSeconds": 7,
		"tolerations":       []any{map[string]any{"key": "g", "operator": "Exists"}},
		"extraEnv":          []any{map[string]any{"name": "SWITCHBOARD_LOG_LEVEL", "value": "debug"}},
		"extraVolumes":      []any{map[string]any{"name": "tls", "secret": map[string]any{"secretName": "certificate"}}},
		"extraVolumeMounts": []any{map[string]any{"name": "tls", "mountPath": "/etc/tls", "readOnly": true}},
		"networkPolicy": map[string]any{
			"enabled": true, "clients": []any{map[string]any{"ipBlock": map[string]any{"cidr": "192.0.2.0/24"}}},
			"monitoring": []any{map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": "monitoring"}}}},
			"ingress":    []any{map[string]any{"ports": []any{map[string]any{"port": 4222, "protocol": "TCP"}}}},
		},
		"probes": "exec",
	},
}

func TestManifestsAreWhatTheChartRenders(t *testing.T) {
	folder := t.TempDir()
	if err := manifests.Write(chart, folder); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob("../manifests/*")
	if err != nil || len(kept) != len(manifests.Files()) {
		t.Errorf("deploy/manifests has %v (%v)", kept, err)
	}
	for file := range manifests.Files() {
		want, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile("../manifests/" + file)
		if err != nil || string(got) != string(want) {
			t.Errorf("deploy/manifests/%s is not what the chart renders: run make manifests (%v)", file, err)
		}
	}
}

func TestTheChartMakesWhatKubernetesTakes(t *testing.T) {
	all := map[string]map[string]any{}
	for name, values := range manifests.Files() {
		all[name] = values
	}
	for name, values := range variants {
		all[name] = values
	}
	for name, values := range all {
		t.Run(name, func(t *testing.T) {
			text, err := manifests.Render(chart, "switchboard", values)
			if err != nil {
				t.Fatal(err)
			}
			made := decode(t, text)
			made.wantFitting(t)
			made.wantPromised(t)
			for path, value := range leaves("", values) {
				if value != "true" && !strings.Contains(text, value) {
					t.Errorf("%s has no effect", path)
				}
			}
			connectors := values["connectors"] != nil
			if n, ok := values["replicas"].(int); ok && *made["StatefulSet switchboard"].(*appsv1.StatefulSet).Spec.Replicas != int32(n) {
				t.Error("there are not as many nodes as there should be")
			}
			if _, ok := made["HorizontalPodAutoscaler switchboard-connector"]; ok != connectors {
				t.Errorf("connectors %v, autoscaler %v", connectors, ok)
			}
		})
	}
}

func TestTheChartRefusesWhatItDoesNotKnow(t *testing.T) {
	secret := map[string]any{"existing": "s"}
	for want, values := range map[string]map[string]any{
		"secret.cluster is what":      {},
		"replica":                     {"secret": secret, "replica": 3},
		"settings.listen is":          {"secret": secret, "settings": map[string]any{"listen": "0.0.0.0:1"}},
		"settings.roles is":           {"secret": secret, "settings": map[string]any{"roles": "all"}},
		"settings.cluster.peers is":   {"secret": secret, "settings": map[string]any{"cluster": map[string]any{"lease": "5s", "peers": "a:1"}}},
		"say drainSeconds":            {"secret": secret, "settings": map[string]any{"limits": map[string]any{"drainTimeout": "9s"}}},
		"maxReplicas only 1":          {"secret": secret, "connectors": map[string]any{"minReplicas": 2, "maxReplicas": 1}},
		"'/probes'":                   {"secret": secret, "probes": "tcp"},
		"secret/cluster":              {"secret": map[string]any{"cluster": "short"}},
		"connectors/maxReplicas":      {"secret": secret, "connectors": map[string]any{"maxReplicas": "many"}},
		"networkPolicy/clients":       {"secret": secret, "networkPolicy": map[string]any{"clients": "all"}},
		"additional properties 'port": {"secret": secret, "image": map[string]any{"port": 1}},
	} {
		_, err := manifests.Render(chart, "switchboard", values)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, not %q", values, err, want)
		}
	}
}

// pods are the templates of all pods, by the name of what makes them.
func (o objects) pods() map[string]corev1.PodTemplateSpec {
	all := map[string]corev1.PodTemplateSpec{}
	for name, object := range o {
		switch made := object.(type) {
		case *appsv1.StatefulSet:
			all[name] = made.Spec.Template
		case *appsv1.Deployment:
			all[name] = made.Spec.Template
		}
	}
	return all
}

// wantFitting wants that names that refer to something find it, and pods that are safe.
func (o objects) wantFitting(t *testing.T) {
	t.Helper()
	for name, object := range o {
		var selector map[string]string
		switch made := object.(type) {
		case *corev1.Service:
			selector = made.Spec.Selector
			o.wantPorts(t, made)
		case *policyv1.PodDisruptionBudget:
			selector = made.Spec.Selector.MatchLabels
		case *networkingv1.NetworkPolicy:
			selector = made.Spec.PodSelector.MatchLabels
		case *autoscalingv2.HorizontalPodAutoscaler:
			to := made.Spec.ScaleTargetRef
			if d, ok := o[to.Kind+" "+to.Name].(*appsv1.Deployment); !ok || d.Spec.Replicas != nil {
				t.Errorf("%s scales %v, which is not there or has a number of its own", name, to)
			}
			continue
		case *appsv1.StatefulSet:
			selector = made.Spec.Selector.MatchLabels
			if s, ok := o["Service "+made.Spec.ServiceName].(*corev1.Service); !ok || s.Spec.ClusterIP != "None" || !s.Spec.PublishNotReadyAddresses {
				t.Errorf("%s has no headless service %s whose pods find each other before they are ready", name, made.Spec.ServiceName)
			}
		case *appsv1.Deployment:
			selector = made.Spec.Selector.MatchLabels
		default:
			continue
		}
		if len(o.selected(selector)) == 0 {
			t.Errorf("%s selects no pods: %v", name, selector)
		}
	}
	for name, pod := range o.pods() {
		o.wantSafe(t, name, pod)
		o.wantPod(t, name, pod)
	}
}

func (o objects) selected(by map[string]string) (found []corev1.PodTemplateSpec) {
	for _, pod := range o.pods() {
		if labels.SelectorFromSet(by).Matches(labels.Set(pod.Labels)) {
			found = append(found, pod)
		}
	}
	return found
}

// wantPorts wants that a service's ports are ports of its pods.
func (o objects) wantPorts(t *testing.T, s *corev1.Service) {
	t.Helper()
	for _, pod := range o.selected(s.Spec.Selector) {
		for _, port := range s.Spec.Ports {
			if !hasPort(pod.Spec.Containers[0], port.TargetPort.StrVal) {
				t.Errorf("the service %s has a port %s that its pods do not have", s.Name, port.TargetPort.StrVal)
			}
		}
	}
}

func hasPort(c corev1.Container, name string) bool {
	for _, port := range c.Ports {
		if port.Name == name && len(validation.IsValidPortName(name)) == 0 {
			return true
		}
	}
	return false
}

// wantSafe wants of a pod what Kubernetes' restricted standard does, and a root that is read-only.
func (o objects) wantSafe(t *testing.T, name string, pod corev1.PodTemplateSpec) {
	t.Helper()
	user, yes, no := int64(image.User), true, false
	s, c := pod.Spec.SecurityContext, pod.Spec.Containers[0].SecurityContext
	wantPod := &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user, FSGroupChangePolicy: s.FSGroupChangePolicy,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	want := &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	if len(pod.Spec.Containers) != 1 || !reflect.DeepEqual(s, wantPod) || !reflect.DeepEqual(c, want) {
		t.Errorf("%s has more rights than it needs", name)
	}
	if pod.Spec.AutomountServiceAccountToken == nil || pod.Spec.EnableServiceLinks == nil || *pod.Spec.AutomountServiceAccountToken || *pod.Spec.EnableServiceLinks || pod.Spec.HostNetwork || pod.Spec.HostPID {
		t.Errorf("%s can do more in the cluster than it needs", name)
	}
}

// wantPod wants that a pod's volumes, probes and times go together.
func (o objects) wantPod(t *testing.T, name string, pod corev1.PodTemplateSpec) {
	t.Helper()
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && o["ConfigMap "+v.ConfigMap.Name] == nil {
			t.Errorf("%s has settings in %s, which is not there", name, v.ConfigMap.Name)
		}
	}
	if set, ok := o[name].(*appsv1.StatefulSet); ok {
		volumes[set.Spec.VolumeClaimTemplates[0].Name] = true
	}
	c := pod.Spec.Containers[0]
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s mounts %s, which is not there", name, m.Name)
		}
	}
	for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe == nil || probe.Exec == nil && (probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "admin" || !hasPort(c, "admin")) {
			t.Errorf("%s is not asked for %s", name, path)
		}
	}
	var drain int64
	for _, v := range c.Env {
		if v.Name == "SWITCHBOARD_LIMITS_DRAIN_TIMEOUT" {
			_, _ = fmt.Sscanf(v.Value, "%ds", &drain)
		}
	}
	if sleep := c.Lifecycle.PreStop.Sleep.Seconds; drain == 0 || *pod.Spec.TerminationGracePeriodSeconds != sleep+drain+25 {
		t.Errorf("%s has %d s to end, of which %d and %d go for sleeping and draining", name, *pod.Spec.TerminationGracePeriodSeconds, sleep, drain)
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s does not say what it needs", name)
	}
}
