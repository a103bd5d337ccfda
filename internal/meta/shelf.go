package meta

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// Limits of a folder of settings. They are far beyond what services need, and keep what
// a commit can cost within some seconds and some hundred MiB.
const (
	// maxSettings is the largest file, in bytes.
	maxSettings = 256 << 10
	// maxSettingsFiles is how many files there may be.
	maxSettingsFiles = 1000
	// maxSettingsBytes is how large all of them together may be.
	maxSettingsBytes = 16 << 20
	// maxSettingsEntries is how many entries of any kind a plain folder may have.
	maxSettingsEntries = 10_000
	// maxName is the longest name of a service, and of a profile.
	maxName = 64
)

// yamlExt is how the name of a file of settings ends.
const yamlExt = ".yaml"

// shelf gathers the files of a folder of settings: those whose names end in .yaml. What
// is else there, folders too, is passed over.
type shelf struct {
	files    map[string][]byte
	problems config.Problems
	bytes    int
	full     bool
}

func newShelf() *shelf { return &shelf{files: map[string][]byte{}} }

func (s *shelf) refuse(name, format string, args ...any) {
	s.problems = append(s.problems, config.Problem{Place: config.Place{File: name}, Text: fmt.Sprintf(format, args...)})
}

func (s *shelf) tooLarge(name string) {
	s.refuse(name, "is larger than %d KiB, the most that a file of settings may have", maxSettings>>10)
}

// wants says whether an entry is to be put. It notes what nobody could ask for, and what
// leads elsewhere.
func (s *shelf) wants(name string, folder, regular bool) bool {
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	switch {
	case strings.HasPrefix(name, ".") || folder || ext != yamlExt && ext != ".yml":
		return false
	case !regular:
		s.refuse(name, "is a symbolic link that is not followed, or no file: put the file itself there")
	case ext == ".yml":
		s.refuse(name, "would not be read: call it %s%s", stem, yamlExt)
	case !validName(stem, 2*maxName+1):
		s.refuse(name, "is the file of no service: call it %s%s, SERVICE%s or SERVICE-PROFILE%s, of letters, digits, -, _ and dots", shared, yamlExt, yamlExt, yamlExt)
	case len(s.files) == maxSettingsFiles:
		if !s.full {
			s.refuse("", "there are more than %d files of settings", maxSettingsFiles)
		}
		s.full = true
	default:
		return true
	}
	return false
}

// put takes a file.
func (s *shelf) put(name string, text []byte) {
	if len(text) > maxSettings {
		s.tooLarge(name)
		return
	}
	s.bytes += len(text)
	if s.bytes > maxSettingsBytes {
		if s.bytes-len(text) <= maxSettingsBytes {
			s.refuse("", "the files of settings have more than %d MiB together", maxSettingsBytes>>20)
		}
		return
	}
	s.files[name] = text
}

// sumOf is a digest of files.
func sumOf(commit string, files map[string][]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%q", commit) // a hash takes anything
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q%x", name, sha256.Sum256(files[name]))
	}
	h.Sum(sum[:0])
	return sum
}

// validName says whether a service, a profile or a file may be called so. A name has no
// way to lead anywhere.
func validName(name string, most int) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return name != "" && len(name) <= most
}
