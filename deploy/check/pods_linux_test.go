package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/seed-3d8c1042/switchboard/deploy/check/image"
	"github.com/seed-3d8c1042/switchboard/deploy/check/manifests"
)

// kubelet runs pods that manifests describe, each with an address of its own.
type kubelet struct {
	t       *testing.T
	engine  *engine
	made    objects
	secrets map[string]map[string]string // besides those of the manifests
	hosts   string
	disks   map[string]string // of pods that keep theirs
}

func newKubelet(t *testing.T, made objects, secrets map[string]map[string]string) *kubelet {
	t.Helper()
	e := newEngine(t)
	k := &kubelet{t: t, engine: e, secrets: secrets, hosts: e.hosts(), disks: map[string]string{}}
	k.apply(made)
	return k
}

// apply has pods be what other manifests say from now on.
func (k *kubelet) apply(made objects) {
	k.made = made
	for _, object := range made {
		if s, ok := object.(*corev1.Secret); ok {
			k.secrets[s.Name] = s.StringData
		}
	}
}

// place gives a pod an address, another one if it has one. Its own name stands for it, and those of its services.
func (k *kubelet) place(name string, pod corev1.PodTemplateSpec) string {
	k.t.Helper()
	if all := k.engine.names[name]; len(all) > 0 {
		gone := all[0]
		for other, all := range k.engine.names {
			k.engine.names[other] = slices.DeleteFunc(all, gone.Equal)
		}
	}
	names := []string{name}
	for _, object := range k.made {
		if s, ok := object.(*corev1.Service); ok && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			names = append(names, s.Name, name+"."+s.Name)
		}
	}
	network := k.engine.host(names...)
	write(k.t, k.hosts, addresses(k.engine.names))
	return network
}

// box is the box of a pod.
func (k *kubelet) box(name, network string, pod corev1.PodTemplateSpec) box {
	k.t.Helper()
	c := pod.Spec.Containers[0]
	volumes := map[string]map[string]string{}
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.ConfigMap != nil:
			volumes[v.Name] = k.made["ConfigMap "+v.ConfigMap.Name].(*corev1.ConfigMap).Data
		case v.Secret != nil && k.secrets[v.Secret.SecretName] != nil:
			volumes[v.Name] = k.secrets[v.Secret.SecretName]
		case v.Secret != nil:
			k.t.Fatalf("there is no Secret %s", v.Secret.SecretName)
		}
	}
	var mounts []mount
	for _, m := range c.VolumeMounts {
		if files := volumes[m.Name]; files != nil {
			mounts = append(mounts, mount{k.folder(files), m.MountPath, m.ReadOnly})
		}
	}
	b := boxOf(k.t, network, name, c.Args, k.environment(name, c), mounts...)
	b.Hosts = k.hosts
	if disk := k.disks[name]; disk != "" {
		b.Mounts[0].From = disk
		return b
	}
	// A disk comes with a folder of its own, and belongs to root: fsGroup opens it to the group.
	disk := b.Mounts[0].From
	k.disks[name] = disk
	lost := filepath.Join(disk, "lost+found")
	if err := errors.Join(os.Mkdir(lost, 0o700), os.Chown(lost, 0, image.User), os.Chown(disk, 0, image.User), os.Chmod(disk, 0o775|os.ModeSetgid)); err != nil {
		k.t.Fatal(err)
	}
	return b
}

// folder has files as a kubelet mounts them: links to links, which it exchanges at once.
func (k *kubelet) folder(files map[string]string) string {
	k.t.Helper()
	folder := k.t.TempDir()
	err := errors.Join(open(folder), os.Chmod(folder, 0o755), os.Mkdir(filepath.Join(folder, "..1"), 0o755), os.Symlink("..1", filepath.Join(folder, "..data")))
	for name, text := range files {
		write(k.t, filepath.Join(folder, "..1", name), text)
		err = errors.Join(err, os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)))
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return folder
}

// environment is that of a pod's container.
func (k *kubelet) environment(pod string, c corev1.Container) []string {
	k.t.Helper()
	var env []string
	for _, v := range c.Env {
		value := v.Value
		switch from := v.ValueFrom; {
		case from == nil:
		case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.name":
			value = pod
		case from.SecretKeyRef != nil:
			var ok bool
			value, ok = k.secrets[from.SecretKeyRef.Name][from.SecretKeyRef.Key]
			if optional := from.SecretKeyRef.Optional; !ok && optional != nil && *optional {
				continue
			} else if !ok {
				k.t.Fatalf("there is no %s in the Secret %s", from.SecretKeyRef.Key, from.SecretKeyRef.Name)
			}
		default:
			k.t.Fatalf("%s has a value from %v", v.Name, from)
		}
		env = append(env, v.Name+"="+value)
	}
	return env
}

// probed waits until a pod's probes, as they are described, say that it is well.
func (p *process) probed(pod corev1.PodTemplateSpec) {
	p.t.Helper()
	c := pod.Spec.Containers[0]
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		if probe.Exec != nil {
			p.healthy(probe.Exec.Command...)
			continue
		}
		port := c.Ports[slices.IndexFunc(c.Ports, func(port corev1.ContainerPort) bool { return port.Name == probe.HTTPGet.Port.StrVal })]
		ask := []string{"/bin/switchboard", "health", "--url", fmt.Sprintf("http://%s:%d", p.Host, port.ContainerPort)}
		if probe.HTTPGet.Path == "/healthz" {
			ask = append(ask, "--alive")
		}
		p.healthy(ask...)
	}
}

// Processors and connectors, as their pods describe them, become one server. Who is started anew, which changes its
// address, is a part of it again.
func TestPodsOfTheManifestsRun(t *testing.T) {
	t.Parallel()
	made := rendered(t, manifests.Files()["connectors.yaml"])
	k := newKubelet(t, made, map[string]map[string]string{"switchboard-secret": {"cluster": strings.Repeat("s", 32)}})
	set := made["StatefulSet switchboard"].(*appsv1.StatefulSet)
	pods := slices.Repeat([]corev1.PodTemplateSpec{set.Spec.Template}, int(*set.Spec.Replicas))
	pods = append(pods, made["Deployment switchboard-connector"].(*appsv1.Deployment).Spec.Template)
	var names, networks []string
	for i, pod := range pods {
		name := fmt.Sprintf("switchboard-%d", i)
		if i == len(pods)-1 {
			name = "switchboard-connector-5c9f6d7b8-x2x4z"
		}
		names, networks = append(names, name), append(networks, k.place(name, pod))
	}
	var running []*process
	for i, pod := range pods {
		b := k.box(names[i], networks[i], pod)
		b.wantSettings(t)
		running = append(running, b.start(t))
	}
	for i, p := range running {
		p.probed(pods[i])
	}
	status := []string{"/bin/switchboard", "cluster", "status"}
	running[0].answers(status, names)
	stop(t, running[0])
	running[0] = k.box(names[0], k.place(names[0], pods[0]), pods[0]).start(t)
	running[0].probed(pods[0])
	running[1].answers(status, []string{names[0] + " ", "up"})
	stop(t, running...)
}

// A node alone, which needs no secret of a cluster, with what the manifests do not have: secrets that its settings name, and
// an admin listener that wants certificates. It becomes one of three as docs/deploy.md says.
func TestAPodAloneRunsWithSecretsAndCertificatesAndBecomesOneOfThree(t *testing.T) {
	t.Parallel()
	certificate, key := selfSigned(t)
	values := map[string]any{
		"replicas": 1, "secret": map[string]any{"settings": "of-apps"},
		"settings": map[string]any{
			"apps":     []any{map[string]any{"appName": "SHOP", "appId": "shop-1", "jwt": map[string]any{"secret": map[string]any{"secret": "SHOP_JWT"}}}},
			"adminTLS": map[string]any{"cert": "/etc/tls/tls.crt", "key": "/etc/tls/tls.key", "clientCA": "/etc/tls/ca.crt"},
			"cluster":  map[string]any{"lease": "7s"},
		},
		"extraVolumes":      []any{map[string]any{"name": "tls", "secret": map[string]any{"secretName": "certificate"}}},
		"extraVolumeMounts": []any{map[string]any{"name": "tls", "mountPath": "/etc/tls", "readOnly": true}},
	}
	k := newKubelet(t, rendered(t, values), map[string]map[string]string{
		"of-apps":     {"SHOP_JWT": strings.Repeat("j", 32)},
		"certificate": {"tls.crt": certificate, "tls.key": key, "ca.crt": certificate},
	})
	const first = "switchboard-0"
	pod := k.made["StatefulSet switchboard"].(*appsv1.StatefulSet).Spec.Template
	b := k.box(first, k.place(first, pod), pod)
	b.wantSettings(t)
	p := b.start(t)
	p.probed(pod)
	if out, err := p.exec(t, "/bin/switchboard", "config", "print", "--config", "/etc/switchboard/switchboard.yaml"); err != nil || !strings.Contains(out, "lease: 7s") || strings.Contains(out, "jjjj") {
		t.Errorf("the settings are (%v):\n%s", err, out)
	}

	values["replicas"] = 3
	values["secret"] = map[string]any{"settings": "of-apps", "cluster": strings.Repeat("x", 32)}
	k.apply(rendered(t, values))
	pod = k.made["StatefulSet switchboard"].(*appsv1.StatefulSet).Spec.Template
	running := []*process{nil}
	for _, name := range []string{"switchboard-1", "switchboard-2"} {
		another := k.box(name, k.place(name, pod), pod).start(t)
		another.healthy(pod.Spec.Containers[0].LivenessProbe.Exec.Command...)
		running = append(running, another)
	}
	stop(t, p)
	running[0] = k.box(first, k.place(first, pod), pod).start(t)
	for _, p := range running {
		p.probed(pod)
	}
	running[1].answers([]string{"/bin/switchboard", "cluster", "status"}, []string{first + " ", "switchboard-1 (this)", "switchboard-2 "})
	stop(t, running...)
}

// selfSigned returns a certificate and its key, in PEM.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"switchboard"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, of, of, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}
