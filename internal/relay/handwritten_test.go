package relay

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wire is a connection on which a test writes by hand.
type wire struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &wire{t, conn, bufio.NewReader(conn)}
}

func (w *wire) send(text ...string) *wire {
	w.t.Helper()
	if _, err := io.WriteString(w.conn, strings.Join(text, "\r\n")); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// answer is an answer of which the body was read.
type answered struct {
	status int
	header http.Header
	body   string
}

func (w *wire) answer(method string) answered {
	w.t.Helper()
	r, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }() // it was read
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answered{r.StatusCode, r.Header, string(body)}
}

// raw makes a request by hand and returns the answer.
func raw(t *testing.T, address, method string, text ...string) answered {
	t.Helper()
	return dial(t, address).send(append([]string{method + " " + text[0]}, text[1:]...)...).answer(method)
}

// sent is a file as an uploader of ours announces it.
func announced(name, content string, key int) []string {
	sum := sha256.Sum256(fmt.Append(nil, key))
	return []string{
		"/" + name + " HTTP/1.1", "Host: 127.0.0.1", "Repr-Digest: " + Digest(sha256.Sum256([]byte(content))).header(),
		`Idempotency-Key: "` + hex.EncodeToString(sum[:]) + `"`,
	}
}

func with(head []string, more ...string) []string { return append(slices.Clone(head), more...) }

func put(t *testing.T, c *testCollector, head []string, body string, more ...string) answered {
	t.Helper()
	more = append(more, "Content-Length: "+strconv.Itoa(len(body)), "", body)
	return raw(t, c.says("listen"), http.MethodPut, with(head, more...)...)
}

func wantAnswer(t *testing.T, what string, got answered, status int, begins string) {
	t.Helper()
	if got.status != status || !strings.HasPrefix(got.body, begins) {
		t.Errorf("%s: %d %q, and not %d %s", what, got.status, got.body, status, begins)
	}
}
