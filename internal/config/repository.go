package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Repository is settings that a meta server serves, out of files of one commit.
type Repository struct {
	Commit   string            // names the commit for people
	Settings json.RawMessage   // an object
	Places   map[string]string // where each key came from: "limits.frame" from "switchboard.yaml:3"
}

// mostValues is how many values and names of values settings of a repository may have:
// more than three files make that a meta server takes. What it costs to read them is
// bounded by it.
const mostValues = 150_000

// sharedFile is the file of a repository that all services have: what is no setting of
// ours there is another service's.
const sharedFile = "application.yaml"

// CheckRepository says what is wrong with settings by themselves, without looking for
// the secrets that they name.
func CheckRepository(r Repository) Problems {
	return readRepository(r, secretSource{skip: true}).problems
}

// readRepository reads the settings that a repository makes. Its problems are in the
// layer.
func readRepository(from Repository, secrets secretSource) layer {
	r := &fileReader{layer: newLayer(), keys: keyNames(), secretsFrom: &secrets, nodes: map[*yaml.Node]Place{}}
	in := json.NewDecoder(bytes.NewReader(from.Settings))
	in.UseNumber()
	root, err := r.node(in, from, "")
	if err == nil && root.Kind != yaml.MappingNode {
		err = errors.New("they are no object")
	}
	if err != nil {
		r.refuse(Place{Commit: from.Commit}, "", "the settings are not as a meta server serves them: %s", err)
		return r.layer
	}
	r.read(root)
	r.problems = slices.DeleteFunc(r.problems, func(p Problem) bool { // likewise another service's
		top, _, _ := strings.Cut(p.Key, ".")
		return p.Place.File == sharedFile && (top == "data" || top == "settings")
	})
	for _, key := range []string{"data", "settings.url", "settings.profile", "settings.secretFile", "settings.ca"} {
		if _, set := r.values[key]; set {
			if r.places[key].File != sharedFile {
				r.refuse(r.places[key], key, "cannot be set in the repository: by it the node finds the repository, and its last good copy")
			}
			delete(r.values, key)
			delete(r.places, key)
		}
	}
	return r.layer
}

// node makes of the next value what the same would be in a file, and notes its place.
func (r *fileReader) node(in *json.Decoder, from Repository, key string) (*yaml.Node, error) {
	token, err := in.Token()
	if err != nil {
		return nil, err
	}
	if len(r.nodes) > mostValues {
		return nil, fmt.Errorf("they have more than %d values", mostValues)
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	r.nodes[n] = placeIn(from, key)
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			n.Kind = yaml.MappingNode
		} else {
			n.Kind = yaml.SequenceNode
		}
		for i := 0; in.More(); i++ {
			at := key + "[" + strconv.Itoa(i) + "]"
			if n.Kind == yaml.MappingNode {
				name, err := in.Token()
				if err != nil {
					return nil, err
				}
				at = strings.TrimPrefix(key+"."+name.(string), ".")
				of := textNode(name.(string))
				r.nodes[of] = placeIn(from, at)
				n.Content = append(n.Content, of)
			}
			item, err := r.node(in, from, at)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		if _, err := in.Token(); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	case string:
		n.SetString(token)
	case json.Number:
		n.Tag, n.Value = "!!float", token.String()
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(token)
	case nil:
		n.Tag = "!!null"
	}
	return n, nil
}

// placeIn returns where a key of a repository stands.
func placeIn(from Repository, key string) Place {
	at := Place{Commit: from.Commit}
	file, line, _ := strings.Cut(from.Places[key], ":")
	if n, err := strconv.Atoi(line); err == nil && n > 0 {
		at.File, at.Line = file, n
	}
	return at
}

// inCommit says of which commit a file is.
func inCommit(place, commit string) string {
	if place == "" {
		place = "the settings"
	}
	return fmt.Sprintf("%s in commit %s", place, commit[:min(len(commit), 10)])
}
