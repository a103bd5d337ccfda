package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// copied is the form of the last good copy.
type copied struct {
	From     string            `json:"from"` // the meta server
	Profile  string            `json:"profile"`
	Commit   string            `json:"commit"`
	Files    []string          `json:"files"`
	Settings json.RawMessage   `json:"settings"`
	Places   map[string]string `json:"places"`
	Hash     string            `json:"hash"` // of the settings: tells a copy that was damaged
}

func hashOf(settings []byte) string {
	sum := sha256.Sum256(settings)
	return hex.EncodeToString(sum[:])
}

// recall returns the last good copy; nil when there is none, or one of other settings.
func (b *Book) recall() (*offer, error) {
	f, err := os.Open(b.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the last good copy of the settings cannot be read: %w", err)
	}
	defer f.Close() // nothing was written
	var c copied
	content, err := io.ReadAll(io.LimitReader(f, 2*maxAnswer))
	if err == nil {
		err = json.Unmarshal(content, &c)
	}
	if err == nil && (c.Commit == "" || hashOf(c.Settings) != c.Hash) {
		err = errors.New("it does not have its checksum")
	}
	if err != nil {
		return nil, fmt.Errorf("the last good copy of the settings (%s) is damaged: %w", b.path(), err)
	}
	if c.From != b.source.URL || c.Profile != b.source.Profile {
		return nil, nil
	}
	return &offer{Commit: c.Commit, Files: c.Files, Settings: c.Settings, Places: c.Places}, nil
}

// save writes the last good copy. If that fails it is tried again with each refresh. The
// caller has the lock taking.
func (b *Book) save() {
	of := b.good
	if of == nil {
		return
	}
	settings := compact(of.Settings)
	text, err := json.Marshal(copied{b.source.URL, b.source.Profile, of.Commit, of.Files, settings, of.Places, hashOf(settings)})
	if err == nil {
		// For its owner only: it says where things are.
		err = lifecycle.ReplaceFile(b.path(), append(text, '\n'))
	}
	b.unsaved = err != nil
	if err != nil {
		b.raise(partCopy, Trouble{Kind: kindDisk, Text: []string{err.Error()}})
		return
	}
	b.clear(partCopy)
}

// compact writes JSON as it stands in the copy, which the checksum is of.
func compact(settings json.RawMessage) json.RawMessage {
	text, err := json.Marshal(settings)
	if err != nil {
		return settings // it was checked
	}
	return text
}
