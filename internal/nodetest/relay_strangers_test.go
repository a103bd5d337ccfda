package nodetest

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A file comes by curl -T.
func TestCurlIsAnUploader(t *testing.T) {
	t.Parallel()
	spool := t.TempDir()
	c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\n", portsFor(t, 1)[0], spool))
	content := []byte(strings.Repeat("a report\n", 100_000))
	file := filepath.Join(t.TempDir(), "report 1 ü.txt")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, how := range [][]string{{"-T", file}, {"-T", file, "-H", "Transfer-Encoding: chunked"}, {"-T", file, "-H", "Expect:"}} {
		out, err := exec.CommandContext(t.Context(), "curl", append(how, "-sS", "--fail-with-body", "http://"+c.addr()+"/report%201%20%C3%BC.txt")...).CombinedOutput()
		if err != nil || string(out) != "success" {
			t.Errorf("curl %v: %v: %s", how[2:], err, out)
		}
	}
	wantFiles(t, "the spool", spool, map[string][32]byte{filepath.Base(file): sha256.Sum256(content)})
	// Other content of that name is kept beside it.
	if out, err := exec.CommandContext(t.Context(), "curl", "-sS", "-X", "PUT", "--data-binary", "other", "http://"+c.addr()+"/report%201%20%C3%BC.txt").CombinedOutput(); err != nil || string(out) != "success" {
		t.Errorf("curl: %v: %s", err, out)
	}
	other := sha256.Sum256([]byte("other"))
	wantFiles(t, "the spool", spool, map[string][32]byte{filepath.Base(file): sha256.Sum256(content), fmt.Sprintf("report 1 ü.%x.txt", other[:4]): other})
}

// stubborn is a collector of another make: it knows PUT and nothing else, and does
// badly at first.
type stubborn struct {
	mu    sync.Mutex
	tries int
	files map[string][32]byte
}

func (s *stubborn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if r.Method != http.MethodPut || err != nil {
		http.Error(w, "only PUT", http.StatusNotImplemented)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.tries++
	switch s.tries {
	case 1:
		panic(http.ErrAbortHandler) // the connection drops without an answer
	case 2:
		http.Error(w, "not now", http.StatusInternalServerError)
	default:
		s.files[name] = sha256.Sum256(content)
		_, _ = io.WriteString(w, "success")
	}
}

// A collector of a dozen lines drops connections and answers with errors. Each file is
// there in the end, and is removed only then.
func TestACollectorOfAnotherMakeGetsEachFile(t *testing.T) {
	t.Parallel()
	s := &stubborn{files: map[string][32]byte{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	served := make(chan struct{})
	go func() {
		_ = server.Serve(l) // closed below
		close(served)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	out, want := t.TempDir(), map[string][32]byte{}
	for i, size := range []int{0, 1, 1000, 100_000, 3 << 20} {
		content := []byte(strings.Repeat("x", size))
		name := fmt.Sprintf("%d %%2f ü.bin", i)
		want[name] = sha256.Sum256(content)
		drop(t, out, name, content)
	}
	port := l.Addr().(*net.TCPAddr).Port
	startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: one, address: 127.0.0.1, port: %d}]}\n", out, port))
	Eventually(t, "all files have left", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := filesIn(t, out); n+len(s.files) < len(want) {
			t.Fatalf("%d files are left, and only %d have come", n, len(s.files))
		}
		return filesIn(t, out) == 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, sum := range want {
		if s.files[name] != sum {
			t.Errorf("%s did not come as it was sent", name)
		}
	}
}

// A collector of another make joins with bare GETs, written by hand, and an uploader
// of ours finds it; a network server of another make is enough for ours.
func TestBareRequestsAreEnoughForTheNetwork(t *testing.T) {
	t.Parallel()
	_, at := startNetwork(t, "clusters: {port: {start: 4100}}\n")
	ask := func(path string) (status string, answer map[string]any) {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, at)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err != nil && res.StatusCode == http.StatusOK {
			t.Fatalf("%s: %v: %s", path, err, body)
		}
		return res.Status, answer
	}
	_, first := ask("/register?cluster=all&address=127.0.0.1&id=&port=undefined")
	if first["port"] != 4100.0 || first["id"] == "" {
		t.Fatalf("given out is %v", first)
	}
	if _, again := ask("/register?cluster=all&address=127.0.0.1"); again["port"] != 4100.0 || again["id"] != first["id"] {
		t.Errorf("the same one is given %v, first %v", again, first)
	}
	if _, next := ask("/register?cluster=other&address=127.0.0.1&id=b"); next["port"] != 4101.0 || next["id"] != "b" {
		t.Errorf("the next one is given %v", next)
	}
	_, clusters := ask("/clusters")
	if got := fmt.Sprint(clusters); got != fmt.Sprintf("map[all:map[%s:map[address:127.0.0.1 port:4100]] other:map[b:map[address:127.0.0.1 port:4101]]]", first["id"]) {
		t.Errorf("the clusters are %s", got)
	}
	if _, gone := ask("/remove?id=b"); gone["success"] != 1.0 {
		t.Errorf("leaving is answered %v", gone)
	}
	if _, clusters = ask("/clusters"); clusters["other"] != nil {
		t.Errorf("the clusters are %v", clusters)
	}
	if status, _ := ask("/register?address=127.0.0.1"); !strings.HasPrefix(status, "400") {
		t.Errorf("without a cluster: %s", status)
	}
}
