// Package rest stands in for connections to a running Kubernetes.
package rest

// Config says nothing.
type Config struct{}
