// Package postgres runs Debian's PostgreSQL for tests: each Server is one of its
// own, in a folder of its own, on a port of loopback and on a Unix socket.
//
// Database is for tests that need no server of their own: it makes a database on one
// that all tests of a process share, and that End ends. None of them touches the
// service that Debian may have started, or needs rights but those of the test; what
// is ended is what was started, by its process ID. PostgreSQL refuses to run as root;
// where the test does, it runs as nobody.
package postgres

import (
	"sync"
	"syscall"
	"testing"
)

// Server is one PostgreSQL.
type Server struct {
	t testing.TB
	*instance
}

// Start starts a server with an empty database, which ends with the test. Settings
// are such as "max_connections=20". It does not sync what it stores, unless
// "fsync=on" is among them: a test that ends processes, and not the machine, sees no
// difference.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	i, err := newInstance(settings)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, instance: i}
	t.Cleanup(func() { s.must(i.remove()) })
	return s
}

// shared is the server of all tests that need none of their own.
var shared struct {
	sync.Mutex
	*instance
}

// Database makes an empty database on a server that all tests of the process share,
// and returns its URL. End ends it.
func Database(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.instance == nil {
		i, err := newInstance([]string{"max_connections=300"})
		if err != nil {
			t.Fatal(err)
		}
		shared.instance = i
	}
	url, err := shared.database()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// End ends the server of Database, if there is one: for TestMain.
func End() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.instance == nil {
		return nil
	}
	err := shared.remove()
	shared.instance = nil
	return err
}

// must fails the test.
func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Database makes an empty database and returns its URL.
func (s *Server) Database() string {
	s.t.Helper()
	url, err := s.database()
	s.must(err)
	return url
}

// Ask has the server carry a statement out in a database.
func (s *Server) Ask(database, statement string) {
	s.t.Helper()
	s.must(s.ask(database, statement))
}

// Start starts the server again after Stop or Kill, and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.must(s.start())
}

// Stop ends the server as an operator does: connections are cut, what was stored is
// kept.
func (s *Server) Stop() {
	s.t.Helper()
	s.must(s.end(syscall.SIGINT))
}

// Kill ends the server at once, and what it started.
func (s *Server) Kill() {
	s.t.Helper()
	s.must(s.end(syscall.SIGQUIT))
}
