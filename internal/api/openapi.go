package api

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

//go:embed openapi
var openapiFiles embed.FS

// document is the OpenAPI document, as a tree that keeps its order.
type document struct{ root *yaml.Node }

// loadDocument reads base.yaml and merges the other files into it, by name.
func loadDocument() (document, error) {
	names, err := fs.Glob(openapiFiles, "openapi/*.yaml")
	if err != nil {
		return document{}, err
	}
	const base = "openapi/base.yaml"
	names = slices.Insert(slices.DeleteFunc(names, func(n string) bool { return n == base }), 0, base)
	d := document{root: &yaml.Node{Kind: yaml.MappingNode}}
	for _, name := range names {
		text, err := fs.ReadFile(openapiFiles, name)
		if err != nil {
			return document{}, err
		}
		var file yaml.Node
		if err := yaml.Unmarshal(text, &file); err != nil {
			return document{}, fmt.Errorf("read %s: %w", name, err)
		}
		if err := mergeNode(d.root, file.Content[0], ""); err != nil {
			return document{}, fmt.Errorf("merge %s: %w", name, err)
		}
	}
	d.dropEmptyTags()
	return d, nil
}

// mergeNode adds what from has to an object: objects are merged, lists appended.
// Anything else that both have is a mistake.
func mergeNode(into, from *yaml.Node, at string) error {
	for i := 0; i+1 < len(from.Content); i += 2 {
		key, value := from.Content[i], from.Content[i+1]
		have := member(into, key.Value)
		switch {
		case have == nil:
			into.Content = append(into.Content, key, value)
		case have.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			if err := mergeNode(have, value, at+"/"+key.Value); err != nil {
				return err
			}
		case have.Kind == yaml.SequenceNode && value.Kind == yaml.SequenceNode && at == "":
			have.Content = append(have.Content, value.Content...)
		default:
			return fmt.Errorf("%s/%s is there already", at, key.Value)
		}
	}
	return nil
}

// member returns what an object has under a name; nil for none. What it takes in
// by << counts.
func member(object *yaml.Node, name string) *yaml.Node {
	if object == nil {
		return nil
	}
	for key, value := range members(object) {
		if key == name {
			return value
		}
	}
	return nil
}

// members goes through an object, in order.
func members(object *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		if object = plainNode(object); object == nil || object.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(object.Content); i += 2 {
			if object.Content[i].Tag != "!!merge" {
				if !yield(object.Content[i].Value, plainNode(object.Content[i+1])) {
					return
				}
				continue
			}
			for key, value := range members(object.Content[i+1]) {
				if !yield(key, value) {
					return
				}
			}
		}
	}
}

// plainNode follows an alias of YAML.
func plainNode(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// dropEmptyTags drops the tags that no call has.
func (d document) dropEmptyTags() {
	used := map[string]bool{}
	for _, item := range members(member(d.root, "paths")) {
		for _, operation := range members(item) {
			for _, tag := range elements(member(operation, "tags")) {
				used[tag.Value] = true
			}
		}
	}
	tags := member(d.root, "tags")
	tags.Content = slices.DeleteFunc(tags.Content, func(tag *yaml.Node) bool { return !used[member(tag, "name").Value] })
}

func elements(list *yaml.Node) []*yaml.Node {
	if list == nil {
		return nil
	}
	return list.Content
}

// json returns the document as JSON, in its order.
func (d document) json() ([]byte, error) { return nodeJSON(d.root, "  ") }

// nodeJSON writes a tree as JSON; without an indent on one line.
func nodeJSON(n *yaml.Node, indent string) ([]byte, error) {
	var b bytes.Buffer
	options := []jsontext.Options{jsontext.EscapeForHTML(false)}
	if indent != "" {
		options = append(options, jsontext.WithIndent(indent))
	}
	if err := writeNode(jsontext.NewEncoder(&b, options...), n); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func writeNode(to *jsontext.Encoder, n *yaml.Node) error {
	n = plainNode(n)
	switch n.Kind {
	case yaml.MappingNode:
		if err := to.WriteToken(jsontext.BeginObject); err != nil {
			return err
		}
		for key, value := range members(n) {
			if err := to.WriteToken(jsontext.String(key)); err != nil {
				return err
			}
			if err := writeNode(to, value); err != nil {
				return err
			}
		}
		return to.WriteToken(jsontext.EndObject)
	case yaml.SequenceNode:
		if err := to.WriteToken(jsontext.BeginArray); err != nil {
			return err
		}
		for _, e := range n.Content {
			if err := writeNode(to, e); err != nil {
				return err
			}
		}
		return to.WriteToken(jsontext.EndArray)
	}
	return writeScalar(to, n)
}

func writeScalar(to *jsontext.Encoder, n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return to.WriteToken(jsontext.String(n.Value))
	case "!!null":
		return to.WriteToken(jsontext.Null)
	case "!!bool", "!!int", "!!float":
		return to.WriteValue(jsontext.Value(n.Value))
	}
	return fmt.Errorf("line %d: a %s is not for JSON", n.Line, n.ShortTag())
}
