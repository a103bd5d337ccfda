// Package scheme stands in for the table of all types of Kubernetes: the checks have one of
// those that the chart uses.
package scheme

import "k8s.io/apimachinery/pkg/runtime"

// Scheme is empty.
var Scheme = runtime.NewScheme()
