package nodetest

import (
	"os"
	"testing"
)

// The test binary is also the clients that have to be processes of their own,
// to be stopped and killed: see process_test.go.
func TestMain(m *testing.M) {
	if url := os.Getenv(receiverURL); url != "" {
		os.Exit(receive(url, os.Getenv(receiverUser), os.Getenv(receiverOptions)))
	}
	os.Exit(Run(m))
}
