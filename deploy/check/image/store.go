package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Save writes an index as a tar of an OCI layout, which engines load, under a name such as
// switchboard:1.0. Docker that keeps images in a store of its own and not in containerd's
// reads no such layout, and has no indexes: it finds in the same file an image for each
// platform, as switchboard:1.0-amd64. A file that is there is replaced.
func Save(index v1.ImageIndex, as, file string) error {
	tag, err := name.NewTag(as)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(filepath.Dir(file), ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	err = path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          tag.Name(),
		"org.opencontainers.image.ref.name": tag.TagStr(),
	}))
	if err != nil {
		return err
	}
	if err := describe(index, as, folder); err != nil {
		return err
	}
	return pack(folder, file)
}

// single is how docker save describes an image, by the paths of what it is made of.
type single struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// describe writes beside an OCI layout what docker save would say of its images.
func describe(index v1.ImageIndex, as, folder string) error {
	all, err := index.IndexManifest()
	if err != nil {
		return err
	}
	blob := func(d v1.Descriptor) string { return "blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex }
	var list []single
	for _, of := range all.Manifests {
		one, err := index.Image(of.Digest)
		if err != nil {
			return err
		}
		manifest, err := one.Manifest()
		if err != nil {
			return err
		}
		entry := single{Config: blob(manifest.Config), RepoTags: []string{as + "-" + of.Platform.Architecture}}
		for _, layer := range manifest.Layers {
			entry.Layers = append(entry.Layers, blob(layer))
		}
		list = append(list, entry)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "manifest.json"), text, 0o600)
}

// pack writes the files of a folder into a tar, in the order of their names and without their times.
func pack(folder, file string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		return add(w, folder, path, entry)
	})
	if err != nil {
		return err
	}
	return w.Close()
}

func add(w *tar.Writer, folder, path string, entry fs.DirEntry) error {
	name, err := filepath.Rel(folder, path)
	if err != nil {
		return err
	}
	if entry.IsDir() {
		return w.WriteHeader(&tar.Header{Name: name + "/", Mode: 0o755, Typeflag: tar.TypeDir, ModTime: time.Unix(0, 0)})
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: info.Size(), ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(w, from)
	return err
}

// Push uploads an index under a name such as registry.example/team/switchboard:1.0, signing in
// with what docker login, or its like, has left for that registry. It returns by which digest it
// can be had.
func Push(ctx context.Context, index v1.ImageIndex, as string) (string, error) {
	ref, err := name.ParseReference(as)
	if err != nil {
		return "", err
	}
	if err := remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return "", err
	}
	return ref.Context().Digest(digest.String()).Name(), nil
}
