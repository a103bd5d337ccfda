// Package fake is there for go mod tidy, which also looks at the tests of Helm's engine.
package fake
