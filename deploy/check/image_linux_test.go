package check

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	ggcr "github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/seed-3d8c1042/switchboard/deploy/check/image"
)

// created is the time of the image that is made here.
var created = time.Unix(1_700_000_000, 0)

// binary is the program that is shipped, as make build makes it.
func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/switchboard")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("there is no program to ship: make build first: %v", err)
	}
	return path
}

// other is a program for the platform that this machine is not of. A small one will do here, as it
// is not run; make dist makes the real one.
func other(t *testing.T) (arch, path string) {
	t.Helper()
	arch = map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	folder := t.TempDir()
	write(t, filepath.Join(folder, "main.go"), "package main\n\nfunc main() {}\n")
	path = filepath.Join(folder, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, filepath.Join(folder, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return arch, path
}

// shipped is the image as it came back from a registry, unpacked. It is made once, for all tests.
var shipped struct {
	sync.Mutex
	root   string
	config v1.Config
}

// unpacked has make push the image of the program to a registry, pulls it from there and unpacks it. It
// returns the folder, which all tests share, and how the image is to be run.
func unpacked(t *testing.T) (string, v1.Config) {
	t.Helper()
	shipped.Lock()
	defer shipped.Unlock()
	if shipped.root != "" {
		return shipped.root, shipped.config
	}
	arch, foreign := other(t)
	dist := t.TempDir()
	const path = "switchboard-linux-"
	if err := errors.Join(os.Symlink(binary(t), filepath.Join(dist, path+runtime.GOARCH)), os.Symlink(foreign, filepath.Join(dist, path+arch))); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/team"
	// The programs are there: -o has make take them for made.
	ship := exec.Command("make", "--no-print-directory", "-o", "dist-linux", "image", "push",
		"DIST="+dist, "REGISTRY="+repository, "VERSION=1.2.3", fmt.Sprint("CREATED=", created.Unix()))
	ship.Dir = "../.."
	ship.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	out, err := ship.CombinedOutput()
	if err != nil {
		t.Fatalf("make image push: %v\n%s", err, out)
	}
	said := strings.Fields(string(out))
	digest := said[len(said)-1]
	wantSaved(t, filepath.Join(dist, "switchboard-image.tar"), digest)
	ref, err := name.ParseReference(repository + "/switchboard:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if there, err := remote.Head(ref); err != nil || !strings.HasSuffix(digest, "@"+there.Digest.String()) || there.MediaType != ggcr.OCIImageIndex {
		t.Errorf("make push said %s, and there is %v (%v)", digest, there, err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		pulled, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatalf("pull for %s: %v", arch, err)
		}
		config, err := pulled.ConfigFile()
		if err != nil || config.Architecture != arch || config.OS != "linux" || !config.Created.Equal(created) || config.Config.Labels["org.opencontainers.image.version"] != "1.2.3" {
			t.Fatalf("the image for %s is %+v: %v", arch, config, err)
		}
		if arch == runtime.GOARCH {
			shipped.root, shipped.config = extract(t, pulled), config.Config
		}
	}
	return shipped.root, shipped.config
}

// wantSaved wants of the file that engines load that it has the image with this digest.
func wantSaved(t *testing.T, file, digest string) {
	t.Helper()
	folder := t.TempDir()
	from, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	untar(t, from, folder)
	saved, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := saved.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || !strings.HasSuffix(digest, "@"+manifest.Manifests[0].Digest.String()) {
		t.Errorf("pushed %s, saved %v (%v)", digest, manifest, err)
	}
	// As docker save would have it, for engines that read no OCI layout.
	for _, arch := range []string{"amd64", "arm64"} {
		tag, err := name.NewTag("switchboard:1.2.3-" + arch)
		if err != nil {
			t.Fatal(err)
		}
		one, err := tarball.ImageFromPath(file, &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := one.ConfigFile()
		if err != nil || config.Architecture != arch || config.Config.User == "" {
			t.Errorf("%s is %+v (%v)", tag, config, err)
		}
		layers, err := one.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%s has %d layers: %v", tag, len(layers), err)
		}
		files, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if sum, _, err := v1.SHA256(files); err != nil || sum != config.RootFS.DiffIDs[0] {
			t.Errorf("the layer of %s is %s, not %s (%v)", tag, sum, config.RootFS.DiffIDs[0], err)
		}
		_ = files.Close()
	}
}

// extract unpacks the files of an image, with their owners.
func extract(t *testing.T, from v1.Image) string {
	t.Helper()
	root, err := os.MkdirTemp("", "switchboard-image-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	files := mutate.Extract(from)
	defer files.Close()
	untar(t, files, root)
	return root
}

func untar(t *testing.T, from io.Reader, root string) {
	t.Helper()
	r := tar.NewReader(from)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = place(r, h, filepath.Join(root, filepath.Clean("/"+h.Name)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func place(from io.Reader, h *tar.Header, at string) error {
	mode := os.FileMode(h.Mode)
	if h.Typeflag == tar.TypeDir {
		return errors.Join(os.MkdirAll(at, mode), os.Chown(at, h.Uid, h.Gid), os.Chmod(at, mode))
	}
	out, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close(), os.Chown(at, h.Uid, h.Gid))
}

// boxOf is a box that runs the image as it says by itself, with another command if args are given,
// with more environment, and with a volume for its data.
func boxOf(t *testing.T, network, host string, args, env []string, mounts ...mount) box {
	t.Helper()
	root, config := unpacked(t)
	if args == nil {
		args = config.Cmd
	}
	data := t.TempDir()
	if err := errors.Join(os.Chmod(data, 0o700), os.Chown(data, image.User, image.User), open(data)); err != nil {
		t.Fatal(err)
	}
	if config.User != fmt.Sprintf("%d:%d", image.User, image.User) {
		t.Fatalf("the image's user is %q", config.User)
	}
	return box{
		Root: root, Network: network, Host: host, UID: image.User, Dir: config.WorkingDir,
		Args: slices.Concat(config.Entrypoint, args), Env: slices.Concat(config.Env, env),
		Mounts: append([]mount{{From: data, To: "/data"}}, mounts...),
	}
}

// open lets others pass through the folders above a test's own.
func open(folder string) error {
	for folder = filepath.Dir(folder); folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func TestTheImageRunsAsItSaysWithoutWritingToItself(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	network := e.host("alone")
	settings := write(t, filepath.Join(t.TempDir(), "switchboard.yaml"), "chat:\n  enabled: true\n")
	b := boxOf(t, network, "alone", nil, nil, mount{settings, "/etc/switchboard/switchboard.yaml", true})
	p := b.start(t)
	p.healthy("/bin/switchboard", "health")

	pid := p.cmd.Process.Pid
	for name, want := range map[string]string{
		"Uid": "65532\t65532\t65532\t65532", "Gid": "65532\t65532\t65532\t65532", "Groups": "",
		"CapEff": strings.Repeat("0", 16), "CapBnd": strings.Repeat("0", 16), "NoNewPrivs": "1",
	} {
		if got := status(pid, name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if got := strings.TrimRight(string(environ), "\x00"); err != nil || got != strings.Join(b.Env, "\x00") {
		t.Errorf("the environment is %q, not %q (%v)", got, b.Env, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(fmt.Sprintf("/proc/%d/root/", pid), &fs); err != nil || fs.Flags&unix.ST_RDONLY == 0 {
		t.Errorf("the root can be written to: %v", err)
	}
	built, err := exec.Command(binary(t), "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := b.exec(t, "/bin/switchboard", "version"); err != nil || out != string(built) || strings.Contains(out, " devel ") {
		t.Errorf("the image's version is %q (%v), that of make build %q", out, err, built)
	}
	stop(t, p)
	if out, err := b.exec(t, "/bin/switchboard", "health"); err == nil {
		t.Errorf("what has stopped is healthy: %s", out)
	}
}

func TestAnImageWithoutSettingsSaysWhatItLacks(t *testing.T) {
	e := newEngine(t)
	b := boxOf(t, e.host("alone"), "alone", nil, nil)
	for want, args := range map[string][]string{
		"/etc/switchboard/none.yaml":  {"/bin/switchboard", "serve", "--config", "/etc/switchboard/none.yaml"},
		"the demo app lets anyone in": {"/bin/switchboard", "serve"},
	} {
		if out, err := b.exec(t, args...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%q says %q (%v), and not %q", args, out, err, want)
		}
	}
}

func TestWhatWouldNotRunInAnImageIsRefused(t *testing.T) {
	arch, foreign := other(t)
	for want, o := range map[string]map[string]string{
		"is no program for Linux": {"amd64": "image_linux_test.go"},
		"is a program for":        {runtime.GOARCH: foreign},
		"linked dynamically":      {runtime.GOARCH: "/bin/sh"},
		"no such file":            {arch: "nowhere"},
	} {
		if _, err := image.Build(image.Options{Version: "1", Created: created, Binaries: o}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, not %q", o, err, want)
		}
	}
}
