package meta

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitserver "github.com/go-git/go-git/v5/plumbing/transport/server"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// plainServer serves a repository over HTTP by the library's own server, which can
// neither send snapshots nor leave anything out.
func plainServer(t *testing.T, d *depot) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := answerGit(w, r, d.path); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func answerGit(w http.ResponseWriter, r *http.Request, path string) error {
	server := gitserver.NewServer(gitserver.NewFilesystemLoader(osfs.New("/")))
	session, err := server.NewUploadPackSession(&transport.Endpoint{Protocol: "file", Path: path}, nil)
	if err != nil {
		return err
	}
	defer session.Close() // nothing was written
	if r.Method == http.MethodGet {
		refs, err := session.AdvertisedReferencesContext(r.Context())
		if err != nil {
			return err
		}
		refs.Prefix = [][]byte{[]byte("# service=git-upload-pack"), {}}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		return refs.Encode(w)
	}
	request := packp.NewUploadPackRequest()
	if err := request.Decode(r.Body); err != nil {
		return err
	}
	answer, err := session.UploadPack(r.Context(), request)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	return answer.Encode(w)
}

// gitServer serves a repository over HTTP by Git's own program.
func gitServer(t *testing.T, d *depot) *httptest.Server {
	t.Helper()
	program, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&cgi.Handler{
		Path: program, Args: []string{"http-backend"}, Dir: "/", Stderr: io.Discard,
		Env: append(trusting(), "GIT_PROJECT_ROOT="+d.path, "GIT_HTTP_EXPORT_ALL=1"),
	})
	t.Cleanup(s.Close)
	return s
}

// trusting is an environment in which Git takes repositories of whoever made them,
// and leaves files out for who asks for it.
func trusting() []string {
	return []string{
		"HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_CONFIG_KEY_1=uploadpack.allowFilter", "GIT_CONFIG_VALUE_1=true",
	}
}

// newKey makes a key, and the file with its private part.
func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return signer, path
}

// sshServer serves a repository over SSH by Git's own program, to who has the key
// that META_TEST_KEY names then.
func sshServer(t *testing.T, d *depot) string {
	t.Helper()
	client, keyFile := newKey(t)
	host, _ := newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{knownhosts.Normalize(l.Addr().String())}, host.PublicKey())
	if err := os.WriteFile(known, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_KNOWN_HOSTS", known)
	t.Setenv("META_TEST_KEY", keyFile)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serveSSH(conn, config) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return fmt.Sprintf("ssh://git@%s%s", l.Addr(), d.path)
}

// serveSSH runs the one command that a Git client asks for. What fails shows in the
// client.
func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for request := range requests {
			var command struct{ Line string }
			if request.Type != "exec" || ssh.Unmarshal(request.Payload, &command) != nil {
				_ = request.Reply(false, nil)
				continue
			}
			_ = request.Reply(true, nil)
			path, _ := strings.CutPrefix(command.Line, "git-upload-pack ")
			program := exec.Command("git", "upload-pack", strings.Trim(path, "'"))
			program.Env = trusting()
			program.Stdout, program.Stderr = channel, channel.Stderr()
			in, err := program.StdinPipe()
			if err == nil {
				go func() {
					_, _ = io.Copy(in, channel)
					_ = in.Close()
				}()
				err = program.Run()
			}
			status := struct{ Code uint32 }{0}
			if err != nil {
				status.Code = 128
			}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(&status))
			_ = channel.Close()
		}
	}
}

func credentials(t *testing.T, environ []string) Credentials {
	t.Helper()
	c, err := CredentialsFrom(environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAVariableThatIsNearlyACredentialIsNotMissed(t *testing.T) {
	_, err := CredentialsFrom([]string{"SWITCHBOARD_GIT_TOKEN=hunter2-hunter2"})
	if err == nil || !strings.HasPrefix(err.Error(), "SWITCHBOARD_GIT_TOKEN: unknown variable: there are "+EnvUsername) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("it says: %v", err)
	}
}

func TestCredentialsComeFromTheEnvironmentAndAreNeverLogged(t *testing.T) {
	const password = "hunter2-hunter2"
	d := newDepot(t, true, 2)
	git := gitServer(t, d).Config.Handler
	var taken atomic.Value
	taken.Store(password)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, shown, ok := r.BasicAuth(); !ok || name != "robot" || shown != taken.Load() {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	o := gitOptions(t, s.URL)

	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "set "+EnvUsername+" and "+EnvPassword) {
		t.Errorf("without credentials it says: %v", err)
	}
	o.Credentials = credentials(t, []string{"X=1", EnvUsername + "=robot", EnvPassword + "=wrong"})
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "does not take the credentials") {
		t.Errorf("with wrong ones it says: %v", err)
	}
	o.Credentials = credentials(t, []string{EnvUsername + "=robot", EnvPassword + "=" + password})
	r := start(t, o)
	r.serves(2)
	taken.Store("another")
	d.commit("main", describe(3))
	r.look()
	r.serves(2)
	r.logged(1, "does not take the credentials")
	taken.Store(password)
	r.look()
	r.serves(3)
	if said := r.log.String() + r.out.String(); strings.Contains(said, password) || strings.Contains(said, "cm9ib3Q6") {
		t.Errorf("the password is logged:\n%s", said)
	}
}

func TestAKeyThatTheHostDoesNotKnowIsATroubleThatSaysWhatToDo(t *testing.T) {
	d := newDepot(t, true, 2)
	o := gitOptions(t, sshServer(t, d))
	_, o.Credentials.SSHKey = newKey(t)
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "name one that it knows in "+EnvSSHKey) {
		t.Errorf("it says: %v", err)
	}
	o.Credentials.SSHKey = filepath.Join(t.TempDir(), "none")
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "the key in "+EnvSSHKey+" cannot be used") {
		t.Errorf("it says: %v", err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	o.Credentials.SSHKey = ""
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "takes a key: name its file in "+EnvSSHKey) {
		t.Errorf("it says: %v", err)
	}
}

func TestAHostWithAnotherKeyThanBeforeIsNotBelieved(t *testing.T) {
	d := newDepot(t, true, 2)
	o := gitOptions(t, sshServer(t, d))
	other, _ := newKey(t)
	address := strings.TrimPrefix(strings.Split(o.Git, d.path)[0], "ssh://git@")
	line := knownhosts.Line([]string{knownhosts.Normalize(address)}, other.PublicKey())
	if err := os.WriteFile(os.Getenv("SSH_KNOWN_HOSTS"), []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Credentials.SSHKey = os.Getenv("META_TEST_KEY")
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "known_hosts") {
		t.Errorf("it says: %v", err)
	}
}

func TestAServerThatGoesAndComesBackChangesNothing(t *testing.T) {
	d := newDepot(t, true, 2)
	git := gitServer(t, d).Config.Handler
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve := func(l net.Listener) *httptest.Server {
		s := httptest.NewUnstartedServer(git)
		_ = s.Listener.Close() // another one is used
		s.Listener = l
		s.Start()
		return s
	}
	s := serve(l)
	r := start(t, gitOptions(t, s.URL))
	s.CloseClientConnections()
	s.Close()
	for range 3 {
		r.look()
	}
	r.serves(2)
	r.logged(1, "the description cannot be read: the last good one stays")
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(serve(l).Close)
	d.commit("main", describe(3))
	r.look()
	r.serves(3)
}

// lying answers what no Git server would.
func TestAServerThatIsNoGitServerChangesNothing(t *testing.T) {
	d := newDepot(t, true, 2)
	git := gitServer(t, d).Config.Handler
	var answer atomic.Pointer[http.HandlerFunc]
	tell := func(h http.HandlerFunc) { answer.Store(&h) }
	tell(git.ServeHTTP)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) }))
	t.Cleanup(s.Close)
	r := start(t, gitOptions(t, s.URL))
	d.commit("main", describe(3))
	for name, lie := range map[string]http.HandlerFunc{
		"a page":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>welcome</html>")) },
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"an error":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"half a pack": func(w http.ResponseWriter, r *http.Request) { git.ServeHTTP(&half{ResponseWriter: w}, r) },
		"an abort": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				panic(http.ErrAbortHandler)
			}
			git.ServeHTTP(w, r)
		},
	} {
		tell(lie)
		r.look()
		r.serves(2)
		if v := r.metric("switchboard_meta_in_trouble"); v != "1" {
			t.Errorf("%s is no trouble\n%s", name, r.log.String())
		}
	}
	r.logged(1, "the description cannot be read: the last good one stays")
	tell(git.ServeHTTP)
	r.look()
	r.serves(3)
}

// half sends 40 bytes of what is written to it: less than a commit has.
type half struct {
	http.ResponseWriter
	sent int
}

// Write implements io.Writer.
func (h *half) Write(p []byte) (int, error) {
	n := min(len(p), max(40-h.sent, 0))
	h.sent += n
	_, err := h.ResponseWriter.Write(p[:n])
	return len(p), err
}

// at makes a source of a URL, as a server would.
func at(t *testing.T, repository string) *remote {
	t.Helper()
	o := gitOptions(t, repository)
	o.fill()
	s, err := o.networkSource()
	if err != nil {
		t.Fatal(err)
	}
	return s.(*remote)
}

func TestASnapshotThatIsTooLargeIsATrouble(t *testing.T) {
	d := newDepot(t, true, 2)
	for name, url := range map[string]string{"HTTP": gitServer(t, d).URL, "HTTP without snapshots": plainServer(t, d).URL} {
		r := at(t, url)
		if _, err := r.look(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r = at(t, url)
		r.size = 64
		if _, err := r.look(t.Context()); err == nil || !strings.Contains(err.Error(), "is larger than") {
			t.Errorf("%s: it says: %v", name, err)
		}
		if _, err := os.Stat(r.scratch); err == nil {
			t.Errorf("%s: the snapshot is left behind", name)
		}
	}
}

// A branch whose commit is known costs a server one small answer.
func TestNothingIsFetchedThatIsKnown(t *testing.T) {
	d := newDepot(t, true, 2)
	git := gitServer(t, d).Config.Handler
	var fetched atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			fetched.Add(1)
		}
		git.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	r := at(t, s.URL)
	for i := range 3 {
		found, err := r.look(t.Context())
		if err != nil || string(found.text) != describe(2) || fetched.Load() != 1 {
			t.Errorf("look %d: %v, %d times fetched\n%s", i, err, fetched.Load(), found.text)
		}
	}
	d.commit("main", describe(3))
	if found, err := r.look(t.Context()); err != nil || string(found.text) != describe(3) || fetched.Load() != 2 {
		t.Errorf("%v, %d times fetched\n%s", err, fetched.Load(), found.text)
	}
}

func TestAServerThatStaysSilentIsLeftInTime(t *testing.T) {
	// It accepts, and says nothing until it is released.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var holding sync.WaitGroup
	release := make(chan struct{})
	holding.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			holding.Go(func() {
				<-release
				_ = conn.Close()
			})
		}
	})
	sshServer(t, newDepot(t, true, 2)) // for its key
	for _, scheme := range []string{"http", "ssh"} {
		r := at(t, scheme+"://"+l.Addr().String()+"/depot")
		r.time = 50 * time.Millisecond
		if _, err := r.look(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer within 50ms") {
			t.Errorf("%s: it says: %v", scheme, err)
		}
		_, err := r.look(t.Context())
		if err == nil || !strings.Contains(err.Error(), "not answer") {
			t.Errorf("%s: it says: %v", scheme, err)
		}
		if scheme == "ssh" && !strings.Contains(err.Error(), "still") {
			t.Errorf("a second look is begun beside the first: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if scheme == "http" {
			if _, err := r.look(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: stopped, it says: %v", scheme, err)
			}
		}
		defer func() { <-r.busy }() // until the look that was left behind has ended
	}
	close(release)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	holding.Wait()
}
