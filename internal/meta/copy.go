package meta

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

const (
	copyName    = "network.json" // the last good copy, in the data folder
	scratchName = "fetched"      // a snapshot of a repository, while it is read
)

// lastGood is the last good copy on disk: what is served, with its version, and a
// checksum that tells a damaged one. It is there whole or not at all, whenever the
// process or the machine ends.
type lastGood struct {
	folder string
	rename func(from, to string) error // os.Rename; for tests
}

// kept is the file's form.
type kept struct {
	Checksum string          `json:"sha256"` // of network
	Network  json.RawMessage `json:"network"`
}

// save writes a graph.
func (l *lastGood) save(graph []byte) error {
	sum := sha256.Sum256(graph)
	// Not by the encoder, which would compact what the checksum is of.
	text := fmt.Appendf(nil, "{\"sha256\":\"%s\",\"network\":%s}\n", hex.EncodeToString(sum[:]), graph)
	if err := l.write(text); err != nil {
		return fmt.Errorf("write the last good copy %s: %w", filepath.Join(l.folder, copyName), cause(err))
	}
	return nil
}

func (l *lastGood) write(text []byte) error {
	name := filepath.Join(l.folder, copyName)
	// One name, so that what a killed process left is written over.
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := l.rename(name+".new", name); err != nil {
		return err
	}
	folder, err := os.Open(l.folder)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// load returns the copy, and nil where there is none. A copy that is not as it was
// written is an error.
func (l *lastGood) load() (*domains.Network, []byte, error) {
	name := filepath.Join(l.folder, copyName)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the last good copy cannot be read: %s: %w", name, cause(err))
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, nil, fmt.Errorf("the last good copy %s is damaged: %w", name, err)
	}
	if sum := sha256.Sum256(k.Network); hex.EncodeToString(sum[:]) != k.Checksum {
		return nil, nil, fmt.Errorf("the last good copy %s is damaged: it does not have its checksum", name)
	}
	network, err := domains.ParseJSON(k.Network)
	if err != nil {
		return nil, nil, fmt.Errorf("the last good copy %s is not one that this version takes: %w", name, err)
	}
	return network, bytes.Clone(k.Network), nil
}
