// Package manifests renders the Helm chart as Helm does, without Helm and without a Kubernetes.
package manifests

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

// heading is what a file of manifests begins with.
const heading = "# Made by make manifests out of the chart in deploy/helm; change that instead. docs/deploy.md says how to use it.\n"

// Files are the manifests that are kept beside the chart, with the values that make them. Their
// secrets are in a Secret that is made by hand.
func Files() map[string]map[string]any {
	secret := map[string]any{"existing": "switchboard-secret"}
	return map[string]map[string]any{
		"nodes.yaml":      {"secret": secret},
		"connectors.yaml": {"secret": secret, "connectors": map[string]any{"enabled": true}},
	}
}

// Write renders all Files into a folder.
func Write(chart, folder string) error {
	for file, values := range Files() {
		text, err := Render(chart, "switchboard", values)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), []byte(heading+text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Render returns what the chart in a folder makes of values, one document after the other in the
// order of its templates. Values that the chart's schema does not know are refused.
func Render(folder, release string, values map[string]any) (string, error) {
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return "", fmt.Errorf("load the chart: %w", err)
	}
	if err := chart.Validate(); err != nil {
		return "", fmt.Errorf("check the chart: %w", err)
	}
	options := common.ReleaseOptions{Name: release, Namespace: "default", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, options, common.DefaultCapabilities)
	if err != nil {
		return "", fmt.Errorf("check the values: %w", err)
	}
	files, err := engine.Engine{Strict: true}.RenderWithContext(context.Background(), chart, all)
	if err != nil {
		return "", fmt.Errorf("render the chart: %w", err)
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := strings.TrimSpace(files[name])
		if text != "" && strings.HasSuffix(name, ".yaml") {
			fmt.Fprintf(&out, "---\n%s\n", text)
		}
	}
	return out.String(), nil
}
