package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Sources says where settings come from.
type Sources struct {
	// File is the path of the YAML file. When it is empty the variable
	// SWITCHBOARD_CONFIG names the file; when that is empty too there is none.
	File string
	// Environ is the environment as os.Environ returns it; nil for none.
	Environ []string
	// Repository is what a meta server serves, which wins over the file; nil for none.
	Repository *Repository
	// Flags are the settings of the command line, the last of a key wins.
	Flags []Flag
}

// Flag is one setting of the command line.
type Flag struct {
	Name  string // as it was written, "--listen" or "--set", for problems
	Key   string // "listen", "limits.frame"
	Value string // as it would be written in the file; lists with commas
	Wrong string // what is wrong with it when it names no key; the problem is then this
}

// Path returns the file that Load reads, or "" for none.
func (s Sources) Path() string {
	if s.File != "" {
		return s.File
	}
	return fileFromEnviron(s.Environ)
}

// Load reads the sources and returns complete, checked settings. What is wrong
// with the settings comes back as [Problems], all at once; any other error is
// that the file cannot be read.
func Load(from Sources) (Settings, error) {
	l, err := LoadPlaced(from)
	return l.Settings, err
}

// LoadPlaced is Load, and says where the settings come from.
func LoadPlaced(from Sources) (Placed, error) {
	layers := []layer{}
	secrets := secretSource{environ: from.Environ}
	if path := from.Path(); path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return Placed{}, readError(path, err)
		}
		layers = append(layers, readFile(path, content, secrets))
	}
	if from.Repository != nil {
		layers = append(layers, readRepository(*from.Repository, secrets))
	}
	return compose(append(layers, readEnviron(from.Environ), readFlags(from.Flags)), from.Repository != nil)
}

// compose makes checked settings of the layers, the last of which wins. repository says
// that one of them is a repository, so that no more is to come.
func compose(layers []layer, repository bool) (Placed, error) {
	s, places, err := merge(layers)
	if err != nil {
		return Placed{}, err
	}
	var problems Problems
	for _, l := range layers {
		problems = append(problems, l.problems...)
	}
	c := checker{places: places, hidden: s.hidden, single: problems}
	c.checkApps(s)
	if repository && len(s.Apps) == 0 && s.Meta == "" && !s.Chat.Enabled {
		c.refuse("apps", "must name at least one app, here or in the repository, unless chat.enabled is true")
	}
	c.checkGateway(s)
	c.checkSource(s.Source)
	c.checkTogether(s, problems)
	more := slices.DeleteFunc(c.problems, func(p Problem) bool { return problems.cover(p) })
	if err := append(problems, more...).orNil(); err != nil {
		return Placed{}, err
	}
	return Placed{s, places}, nil
}

// readError says in a line why a settings file cannot be read.
func readError(path string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("read settings file %s: %w", path, err)
}

// merge lays the layers over the defaults, the last on top, and says where
// each key that was set came from.
func merge(layers []layer) (Settings, map[string]Place, error) {
	const delim = "."
	k := koanf.New(delim)
	s := Defaults()
	s.hidden = map[string]bool{}
	places, chatOfFile := map[string]Place{}, false
	for _, l := range layers {
		if err := k.Load(confmap.Provider(l.values, delim), nil); err != nil {
			return Settings{}, nil, fmt.Errorf("merge settings: %w", err)
		}
		s.replaced(places, l)
		maps.Copy(places, l.places)
		maps.Copy(s.hidden, l.hidden)
		if l.apps != nil {
			s.Apps, s.Demo = l.apps, false
		}
		if at := l.places["chat.enabled"]; l.values["chat.enabled"] == "true" && at.File != "" {
			chatOfFile = true
		}
		if l.ofChat != nil {
			s.Chat.Webhooks = l.ofChat
		}
		if l.routes != nil {
			s.Gateway.Routes = l.routes
		}
	}
	for _, key := range Keys() {
		if key.field == nil || !k.Exists(key.Name) {
			continue
		}
		if err := key.set(&s, k.String(key.Name)); err != nil {
			return Settings{}, nil, fmt.Errorf("merge %s: %w", key.Name, err)
		}
	}
	if s.Demo && (s.Meta != "" || s.Source.URL != "") {
		s.Apps, s.Demo = nil, false // the network names them, or the repository
	}
	switch {
	case !k.Exists("chat.enabled"):
		s.Chat.Enabled = s.Demo
	case s.Demo && s.Chat.Enabled && chatOfFile:
		s.Apps, s.Demo = nil, false // the app of chat is what there is
	}
	if !k.Exists("matching.simple.enabled") {
		s.Matching.Simple.Enabled = s.Demo
	}
	if !k.Exists("matching.simple.access") && !s.Demo {
		s.Matching.Simple.Access = AccessKey
	}
	return s, places, nil
}
