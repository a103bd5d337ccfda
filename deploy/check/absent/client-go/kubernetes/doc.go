// Package kubernetes stands in for the client of a running Kubernetes, which nobody asks here.
package kubernetes
