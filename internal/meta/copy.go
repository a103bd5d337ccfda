package meta

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

const (
	copyName     = "network.json"  // the last good copy of a description, in the data folder
	settingsName = "settings.json" // that of settings
	scratchName  = "fetched"       // a snapshot of a repository, while it is read
)

// lastGood is the last good copy on disk: what is served, with its version, and a
// checksum that tells a damaged one. It is there whole or not at all, whenever the
// process or the machine ends.
type lastGood struct {
	folder string
	name   string                      // copyName if empty
	rename func(from, to string) error // os.Rename; for tests
}

// kept is the file's form.
type kept struct {
	Checksum string          `json:"sha256"` // of what follows
	Network  json.RawMessage `json:"network,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"`
}

func (l *lastGood) path() string { return filepath.Join(l.folder, cmp.Or(l.name, copyName)) }

// save writes the JSON of what is served.
func (l *lastGood) save(served []byte) error {
	sum := sha256.Sum256(served)
	member := strings.TrimSuffix(filepath.Base(l.path()), ".json")
	// Not by the encoder, which would compact what the checksum is of.
	text := fmt.Appendf(nil, "{\"sha256\":\"%s\",\"%s\":%s}\n", hex.EncodeToString(sum[:]), member, served)
	if err := l.write(text); err != nil {
		return fmt.Errorf("write the last good copy %s: %w", l.path(), cause(err))
	}
	return nil
}

func (l *lastGood) write(text []byte) error {
	name := l.path()
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

// load returns the copy of a description, and nil where there is none. A copy that is
// not as it was written is an error.
func (l *lastGood) load() (*domains.Network, []byte, error) {
	graph, err := l.read()
	if graph == nil || err != nil {
		return nil, nil, err
	}
	network, err := domains.ParseJSON(graph)
	if err != nil {
		return nil, nil, fmt.Errorf("the last good copy %s is not one that this version takes: %w", l.path(), err)
	}
	return network, graph, nil
}

// read returns the JSON that was saved, and nil where there is none.
func (l *lastGood) read() ([]byte, error) {
	text, err := os.ReadFile(l.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the last good copy cannot be read: %s: %w", l.path(), cause(err))
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("the last good copy %s is damaged: %w", l.path(), err)
	}
	served := k.Network
	if l.name == settingsName {
		served = k.Settings
	}
	if sum := sha256.Sum256(served); hex.EncodeToString(sum[:]) != k.Checksum {
		return nil, fmt.Errorf("the last good copy %s is damaged: it does not have its checksum", l.path())
	}
	return bytes.Clone(served), nil
}
