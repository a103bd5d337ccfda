// Package image makes the container image of Switchboard out of binaries that are there, without
// a container engine and from scratch: one layer, that holds the program and the folders that it
// needs. The same binaries, version and time make the same bytes.
package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// User is whose process it is, by number and group: a name means nothing to a supervisor that
// refuses root.
const User = 65532

// source is where the image says that it is made from.
const source = "https://github.com/seed-3d8c1042/switchboard"

// machines are the platforms that there are images for, by their names in Go.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// Options say what an image is made of.
type Options struct {
	Binaries map[string]string // a static Linux binary for each of amd64, arm64
	Version  string
	Created  time.Time // of all files, too: that of the commit, so that the same commit makes the same image
}

// Build makes the images of all platforms and an index of them.
func Build(o Options) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range slices.Sorted(maps.Keys(o.Binaries)) {
		one, err := build(o, arch)
		if err != nil {
			return nil, fmt.Errorf("make the image for linux/%s: %w", arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        one,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return mutate.Annotations(index, labels(o)).(v1.ImageIndex), nil
}

// build makes the image of one platform.
func build(o Options, arch string) (v1.Image, error) {
	program, err := os.ReadFile(o.Binaries[arch])
	if err != nil {
		return nil, err
	}
	if err := check(program, arch); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Binaries[arch], err)
	}
	files, err := archive(program, o.Created)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil },
		tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.Append(base, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{
		Created: v1.Time{Time: o.Created}, CreatedBy: "make image", Comment: "switchboard " + o.Version,
	}})
	if err != nil {
		return nil, err
	}
	config, err := made.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: o.Created}
	config.Config = settings(o)
	return mutate.ConfigFile(made, config)
}

// settings are how the image has its process run.
func settings(o Options) v1.Config {
	return v1.Config{
		User:       fmt.Sprintf("%d:%d", User, User),
		Entrypoint: []string{"/bin/switchboard"},
		Cmd:        []string{"serve", "--config", "/etc/switchboard/switchboard.yaml"},
		WorkingDir: "/data",
		Env: []string{
			"PATH=/bin",
			"HOME=/data",
			"SWITCHBOARD_LISTEN=0.0.0.0:8088",
			"SWITCHBOARD_ADMIN=0.0.0.0:9088",
			"SWITCHBOARD_DATA=/data",
		},
		ExposedPorts: map[string]struct{}{"8088/tcp": {}, "9088/tcp": {}, "7088/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		StopSignal:   "SIGTERM",
		Labels:       labels(o),
	}
}

func labels(o Options) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    "switchboard",
		"org.opencontainers.image.version":  o.Version,
		"org.opencontainers.image.created":  o.Created.UTC().Format(time.RFC3339),
		"org.opencontainers.image.source":   source,
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
}

// check refuses what would not run in an image that has nothing else.
func check(program []byte, arch string) error {
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("is no program for Linux: %w", err)
	}
	if want, ok := machines[arch]; !ok || file.Machine != want {
		return fmt.Errorf("is a program for %s, not for %s", file.Machine, arch)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("is linked dynamically, and there are no libraries in the image: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

// archive is the layer. The account has a name for what looks it up, such as SSH.
func archive(program []byte, at time.Time) ([]byte, error) {
	account := fmt.Sprintf("switchboard:x:%d:%d:switchboard:/data:/\n", User, User)
	group := fmt.Sprintf("switchboard:x:%d:\n", User)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name    string
		mode    int64
		owner   int
		content []byte // nil for a folder
	}{
		{"bin/", 0o755, 0, nil},
		{"bin/switchboard", 0o755, 0, program},
		{"data/", 0o700, User, nil},
		{"etc/", 0o755, 0, nil},
		{"etc/group", 0o644, 0, []byte(group)},
		{"etc/passwd", 0o644, 0, []byte(account)},
		{"etc/switchboard/", 0o755, 0, nil},
	} {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if f.content == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
