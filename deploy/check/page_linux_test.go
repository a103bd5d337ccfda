package check

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/seed-3d8c1042/switchboard/deploy/check/manifests"
)

func TestThePageSaysWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	_, config := unpacked(t)
	says := []string{
		"user | " + strings.Replace(config.User, ":", ", group ", 1),
		"`" + strings.Join(append(config.Entrypoint, config.Cmd...), " ") + "`",
	}
	for _, v := range config.Env {
		if strings.HasPrefix(v, "SWITCHBOARD_") {
			says = append(says, "`"+v+"`")
		}
	}
	for port := range config.ExposedPorts {
		says = append(says, strings.TrimSuffix(port, "/tcp")+" ")
	}
	for _, folder := range []string{"compose/one", "compose/three", "compose/domains", "helm/switchboard", "manifests", "systemd"} {
		if _, err := os.Stat("../" + folder); err != nil {
			t.Error(err)
		}
		says = append(says, "deploy/"+folder)
	}
	rated := regexp.MustCompile(`exposure level for \S+: (\S+) `).FindStringSubmatch(analyze(t, "security", "--offline=true", "--no-pager", unit))
	if rated == nil {
		t.Fatal("systemd rates nothing")
	}
	for _, want := range append(says, fmt.Sprintf("rates it %s of 10", rated[1])) {
		if !strings.Contains(page, want) {
			t.Errorf("docs/deploy.md does not say %q", want)
		}
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(page)
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte(example[1]), &values); err != nil {
		t.Fatal(err)
	}
	made, err := manifests.Render(chart, "switchboard", values)
	if err != nil || !strings.Contains(made, "appId: shop-1") {
		t.Errorf("the values of docs/deploy.md: %v\n%s", err, made)
	}
	decode(t, made).wantFitting(t)
}
