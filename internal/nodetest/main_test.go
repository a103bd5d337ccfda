package nodetest

import (
	"fmt"
	"os"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/postgres"
)

// The test binary is also the clients that have to be processes of their own,
// to be stopped and killed: see process_test.go.
func TestMain(m *testing.M) {
	if url := os.Getenv(receiverURL); url != "" {
		os.Exit(receive(url, os.Getenv(receiverUser), os.Getenv(receiverOptions)))
	}
	if letter := os.Getenv(serviceLetter); letter != "" {
		os.Exit(serveInstance(letter))
	}
	os.Exit(Run(withDatabases{m}))
}

// withDatabases ends the PostgreSQL that the tests share.
type withDatabases struct{ tests *testing.M }

func (m withDatabases) Run() int {
	code := m.tests.Run()
	if err := postgres.End(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}
