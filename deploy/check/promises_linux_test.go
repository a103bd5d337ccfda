package check

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/seed-3d8c1042/switchboard/deploy/check/manifests"
)

// rendered are the objects that the chart makes of values.
func rendered(t *testing.T, values map[string]any) objects {
	t.Helper()
	text, err := manifests.Render(chart, "switchboard", values)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// wantPromised wants what docs/deploy.md says of the objects.
func (o objects) wantPromised(t *testing.T) {
	t.Helper()
	for name, object := range o {
		switch made := object.(type) {
		case *appsv1.StatefulSet:
			wantKept(t, name, made)
		case *appsv1.Deployment:
			if u := made.Spec.Strategy.RollingUpdate; u == nil || u.MaxUnavailable.String() != "0" || u.MaxSurge.String() != "1" {
				t.Errorf("%s takes connectors away before others are there", name)
			}
		case *policyv1.PodDisruptionBudget:
			if made.Spec.MaxUnavailable == nil || made.Spec.MaxUnavailable.String() != "1" || made.Spec.MinAvailable != nil || len(o.selected(made.Spec.Selector.MatchLabels)) != 1 {
				t.Errorf("%s lets more than one pod of its kind go", name)
			}
		case *autoscalingv2.HorizontalPodAutoscaler:
			wantSlowToShrink(t, name, made)
		case *networkingv1.NetworkPolicy:
			wantShut(t, made)
		case *corev1.Service:
			o.wantFound(t, made)
		}
	}
	for name, pod := range o.pods() {
		wantSpread(t, name, pod)
		wantPatience(t, name, pod)
		o.wantRole(t, name, pod)
	}
}

// wantKept wants of nodes that they keep their disks, find each other, and are replaced one by one.
func wantKept(t *testing.T, name string, set *appsv1.StatefulSet) {
	t.Helper()
	s := set.Spec
	if s.PodManagementPolicy != appsv1.ParallelPodManagement {
		t.Errorf("%s starts one pod after the other, of which the first is never ready", name)
	}
	if s.UpdateStrategy.Type != appsv1.RollingUpdateStatefulSetStrategyType || s.UpdateStrategy.RollingUpdate != nil || s.MinReadySeconds < 10 {
		t.Errorf("%s does not replace one pod after the other, with time between: %+v", name, s.UpdateStrategy)
	}
	if len(s.VolumeClaimTemplates) != 1 || s.PersistentVolumeClaimRetentionPolicy != nil {
		t.Fatalf("%s does not keep its disks", name)
	}
	claim := s.VolumeClaimTemplates[0]
	if len(claim.Spec.AccessModes) != 1 || claim.Spec.AccessModes[0] != corev1.ReadWriteOnce || claim.Spec.Resources.Requests.Storage().IsZero() {
		t.Errorf("%s asks for disks as %+v", name, claim.Spec)
	}
	for _, m := range s.Template.Spec.Containers[0].VolumeMounts {
		if (m.MountPath == "/data") != (m.Name == claim.Name) {
			t.Errorf("%s mounts %s at %s", name, m.Name, m.MountPath)
		}
	}
}

func wantSlowToShrink(t *testing.T, name string, a *autoscalingv2.HorizontalPodAutoscaler) {
	t.Helper()
	by := map[corev1.ResourceName]bool{}
	for _, m := range a.Spec.Metrics {
		by[m.Resource.Name] = m.Resource.Target.Type == autoscalingv2.UtilizationMetricType && *m.Resource.Target.AverageUtilization > 0
	}
	if !by[corev1.ResourceCPU] || !by[corev1.ResourceMemory] || a.Spec.MinReplicas == nil || *a.Spec.MinReplicas < 2 {
		t.Errorf("%s scales from %v by %v", name, a.Spec.MinReplicas, by)
	}
	down := a.Spec.Behavior.ScaleDown
	if len(down.Policies) != 1 || down.Policies[0].Type != autoscalingv2.PodsScalingPolicy || down.Policies[0].Value != 1 || *down.StabilizationWindowSeconds < 300 {
		t.Errorf("%s takes pods away quickly: %+v", name, down)
	}
}

// wantFound wants that a service has one port, those pods that have it, and of those that are not ready only what is no matter for clients.
func (o objects) wantFound(t *testing.T, s *corev1.Service) {
	t.Helper()
	port := s.Spec.Ports[0].TargetPort.StrVal
	if len(s.Spec.Ports) != 1 || s.Spec.PublishNotReadyAddresses == (port == "clients") {
		t.Errorf("the service %s has ports %v, and publishes those that are not ready: %v", s.Name, s.Spec.Ports, s.Spec.PublishNotReadyAddresses)
	}
	for name, pod := range o.pods() {
		want := hasPort(pod.Spec.Containers[0], port)
		if port == "cluster" {
			want = strings.HasPrefix(name, "StatefulSet ") // whoever comes looks for those that stay
		}
		if has := labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)); has != want {
			t.Errorf("the service %s for %s has the pods of %s: %v", s.Name, port, name, has)
		}
	}
	if at, ok := ports[port]; !ok || port != "clients" && s.Spec.Ports[0].Port != at || (port == "admin") != (s.Labels["app.kubernetes.io/component"] == "admin") {
		t.Errorf("the service %s for %s has port %d, and labels %v", s.Name, port, s.Spec.Ports[0].Port, s.Labels)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		t.Errorf("the service %s hides where clients are", s.Name)
	}
}

// ports are those of the image, by the names that pods have for them.
var ports = map[string]int32{"clients": 8088, "admin": 9088, "cluster": 7088}

// wantRole wants of a pod that it does what it is there for, and has the ports of that.
func (o objects) wantRole(t *testing.T, name string, pod corev1.PodTemplateSpec) {
	t.Helper()
	c := pod.Spec.Containers[0]
	env := map[string]string{}
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	set := o["StatefulSet switchboard"].(*appsv1.StatefulSet)
	role := "all"
	if o["Deployment switchboard-connector"] != nil {
		role = map[bool]string{true: "processor", false: "connector"}[strings.HasPrefix(name, "StatefulSet ")]
	}
	if env["SWITCHBOARD_ROLES"] != role || hasPort(c, "clients") == (role == "processor") {
		t.Errorf("%s has the role %s, and not %s", name, env["SWITCHBOARD_ROLES"], role)
	}
	n, alone := int(*set.Spec.Replicas), *set.Spec.Replicas == 1 && role == "all"
	if got := env["SWITCHBOARD_CLUSTER_REPLICAS"]; alone != (env["SWITCHBOARD_CLUSTER_PEERS"] == "") || (got == strconv.Itoa(n)) != (n < 3 && !alone) {
		t.Errorf("%s of %d looks for %s, and has %s copies", name, n, env["SWITCHBOARD_CLUSTER_PEERS"], got)
	}
	for _, port := range c.Ports {
		if ports[port.Name] != port.ContainerPort {
			t.Errorf("%s has a port %s %d", name, port.Name, port.ContainerPort)
		}
	}
	for _, m := range c.VolumeMounts {
		if m.MountPath != "/data" && !m.ReadOnly {
			t.Errorf("%s may write to %s", name, m.MountPath)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit.IsZero() {
			t.Errorf("%s may fill its machine's disk", name)
		}
	}
}

// wantShut wants of the network policy who may reach which port.
func wantShut(t *testing.T, p *networkingv1.NetworkPolicy) {
	t.Helper()
	if len(p.Spec.PolicyTypes) != 1 || p.Spec.PolicyTypes[0] != networkingv1.PolicyTypeIngress {
		t.Errorf("the policy limits %v", p.Spec.PolicyTypes)
	}
	ours, strange := labels.Set(p.Spec.PodSelector.MatchLabels), labels.Set{"app": "x"}
	for _, c := range []struct {
		from, namespace labels.Set
		port            string
		may             bool
	}{
		{ours, nil, "cluster", true},
		{strange, nil, "cluster", false},
		{strange, labels.Set{"kubernetes.io/metadata.name": "monitoring"}, "cluster", false},
		{strange, labels.Set{"kubernetes.io/metadata.name": "monitoring"}, "admin", true},
		{strange, nil, "admin", false},
		{ours, nil, "admin", false},
	} {
		if may := admits(t, p, c.from, c.namespace, c.port); may != c.may {
			t.Errorf("pods %v of namespace %v may connect to %s: %v", c.from, c.namespace, c.port, may)
		}
	}
	for _, rule := range p.Spec.Ingress {
		if rule.Ports[0].Port.StrVal == "clients" && len(rule.From) > 0 && rule.From[0].IPBlock == nil {
			t.Errorf("clients may come from %v", rule.From)
		}
	}
}

// admits reports whether a policy lets pods connect, that are in its own namespace if namespace is nil.
func admits(t *testing.T, p *networkingv1.NetworkPolicy, pod, namespace labels.Set, port string) bool {
	t.Helper()
	for _, rule := range p.Spec.Ingress {
		if len(rule.Ports) != 1 || rule.Ports[0].Protocol == nil || *rule.Ports[0].Protocol != corev1.ProtocolTCP {
			t.Fatalf("a rule is for ports %v", rule.Ports)
		}
		if rule.Ports[0].Port.StrVal != port {
			continue
		}
		if len(rule.From) == 0 {
			return true
		}
		for _, peer := range rule.From {
			there := peer.IPBlock == nil && (peer.NamespaceSelector == nil) == (namespace == nil)
			if there && matches(t, peer.PodSelector, pod) && matches(t, peer.NamespaceSelector, namespace) {
				return true
			}
		}
	}
	return false
}

func matches(t *testing.T, by *metav1.LabelSelector, what labels.Set) bool {
	t.Helper()
	if by == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(what)
}

// wantSpread wants that no machine has two nodes while there are others, and that connectors start anyway.
func wantSpread(t *testing.T, name string, pod corev1.PodTemplateSpec) {
	t.Helper()
	want := corev1.ScheduleAnyway
	if strings.HasPrefix(name, "StatefulSet ") {
		want = corev1.DoNotSchedule
	}
	over := map[string]corev1.UnsatisfiableConstraintAction{}
	for _, c := range pod.Spec.TopologySpreadConstraints {
		if matches(t, c.LabelSelector, pod.Labels) && c.LabelSelector.MatchLabels["app.kubernetes.io/component"] != "" && c.MaxSkew == 1 {
			over[c.TopologyKey] = c.WhenUnsatisfiable
		}
		if c.WhenUnsatisfiable == corev1.DoNotSchedule && (c.NodeTaintsPolicy == nil || *c.NodeTaintsPolicy != corev1.NodeInclusionPolicyHonor) {
			t.Errorf("%s waits for machines that take no pods", name)
		}
	}
	if over[corev1.LabelHostname] != want || over[corev1.LabelTopologyZone] != corev1.ScheduleAnyway {
		t.Errorf("%s is spread over %v", name, over)
	}
}

// wantPatience wants that a pod is killed only when it is dead for a minute, that clients stop coming within
// seconds, and that its memory's limit is beyond what it keeps to by itself.
func wantPatience(t *testing.T, name string, pod corev1.PodTemplateSpec) {
	t.Helper()
	c := pod.Spec.Containers[0]
	if p := c.LivenessProbe; p.FailureThreshold*p.PeriodSeconds < 60 || c.StartupProbe != nil {
		t.Errorf("%s is started anew after %d s", name, p.FailureThreshold*p.PeriodSeconds)
	}
	if p := c.ReadinessProbe; p.PeriodSeconds > 5 || p.FailureThreshold > 3 {
		t.Errorf("%s has clients for long when it is not ready", name)
	}
	for _, v := range c.Env {
		if v.Name == "GOMEMLIMIT" {
			mib, err := strconv.ParseInt(strings.TrimSuffix(v.Value, "MiB"), 10, 64)
			if limit := c.Resources.Limits.Memory().Value(); err != nil || mib<<20 > limit*9/10 || mib<<20 < limit*8/10 {
				t.Errorf("%s has GOMEMLIMIT %s of %d (%v)", name, v.Value, limit, err)
			}
			return
		}
	}
	t.Errorf("%s has no GOMEMLIMIT", name)
}

// leaves are the values below a value, by their paths.
func leaves(path string, of any) map[string]string {
	all := map[string]string{}
	switch of := of.(type) {
	case map[string]any:
		for key, value := range of {
			maps.Copy(all, leaves(path+"."+key, value))
		}
	case []any:
		for i, value := range of {
			maps.Copy(all, leaves(fmt.Sprint(path, ".", i), value))
		}
	default:
		all[path] = fmt.Sprint(of)
	}
	return all
}

func TestEachValueOfTheChartIsTried(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	for path := range leaves("", values) {
		tried := false
		for _, variant := range variants {
			for other := range leaves("", variant) {
				tried = tried || strings.HasPrefix(other, path) || strings.HasPrefix(path, other)
			}
		}
		if !tried {
			t.Errorf("no variant has %s", path)
		}
	}
}

func TestPodsAreStartedAnewForOtherSettings(t *testing.T) {
	secret := strings.Repeat("x", 32)
	sums := map[string]string{}
	for what, values := range map[string]map[string]any{
		"nothing":    {"secret": map[string]any{"cluster": secret}},
		"a setting":  {"secret": map[string]any{"cluster": secret}, "settings": map[string]any{"limits": map[string]any{"frame": "64KiB"}}},
		"a database": {"secret": map[string]any{"cluster": secret, "database": "postgres://a:b@c/d"}},
	} {
		for _, pod := range rendered(t, values).pods() {
			sum := pod.Annotations["checksum/settings"]
			if other, ok := sums[sum]; ok || sum == "" {
				t.Errorf("pods with %s are those with %s", what, other)
			}
			sums[sum] = what
		}
	}
}

func TestProbesAskAsTheAdminListenerWantsIt(t *testing.T) {
	tls := map[string]any{"cert": "/etc/tls/tls.crt", "key": "/etc/tls/tls.key"}
	seen := map[string]any{"cert": "/etc/tls/tls.crt", "key": "/etc/tls/tls.key", "clientCA": "/etc/tls/ca.crt"}
	for _, c := range []struct {
		values map[string]any
		want   string
	}{
		{map[string]any{}, "http"},
		{map[string]any{"settings": map[string]any{"adminTLS": tls}}, "https"},
		{map[string]any{"settings": map[string]any{"adminTLS": seen}}, "exec"},
		{map[string]any{"settings": map[string]any{"adminTLS": seen}, "settingsSecret": "s"}, "http"},
		{map[string]any{"probes": "https", "settingsSecret": "s"}, "https"},
	} {
		c.values["secret"] = map[string]any{"existing": "s"}
		c.values["serviceMonitor"] = map[string]any{"enabled": true, "tlsConfig": map[string]any{"insecureSkipVerify": true}}
		text, err := manifests.Render(chart, "switchboard", c.values)
		if err != nil {
			t.Fatal(err)
		}
		if https := strings.Contains(text, "\n      scheme: https\n      tlsConfig:\n        insecureSkipVerify: true"); https != (c.want != "http") {
			t.Errorf("%s: metrics come by https: %v", c.want, https)
		}
		for _, pod := range decode(t, text).pods() {
			live, ready := pod.Spec.Containers[0].LivenessProbe, pod.Spec.Containers[0].ReadinessProbe
			if l, r := asks(live), asks(ready); !strings.HasPrefix(l, c.want) || !strings.HasPrefix(r, c.want) || l == r {
				t.Errorf("%s: asked are %s and %s", c.want, l, r)
			}
		}
	}
}

// asks says how a probe asks.
func asks(p *corev1.Probe) string {
	switch {
	case p.Exec != nil:
		return "exec " + strings.Join(p.Exec.Command, " ")
	case p.HTTPGet != nil && p.HTTPGet.Scheme == corev1.URISchemeHTTPS:
		return "https " + p.HTTPGet.Path
	case p.HTTPGet != nil:
		return "http " + p.HTTPGet.Path
	}
	return ""
}
