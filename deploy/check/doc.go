// Package check has the tests of what is in deploy/, each by the library of whoever reads it: the
// image, the compose files, the chart and its manifests, the unit. No container engine is there to
// run what they describe, so a small one of the tests' own does: for each container namespaces of
// its own for network, mounts and host name, the image's root read-only, its user and environment
// and nothing besides. That takes root and the command ip.
package check
