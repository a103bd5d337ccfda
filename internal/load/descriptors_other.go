//go:build !unix

package load

// reserveDescriptors does nothing where there is no such limit.
func reserveDescriptors(int) error { return nil }
