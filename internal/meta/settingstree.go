package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// Limits of one file of settings, as it stands when aliases are written out.
const (
	maxValues  = 20_000
	maxTexts   = 1 << 20 // bytes of all values, keys, and the ways to them
	maxDepth   = 32
	maxKeyText = 256 // bytes
)

// value is one value of settings: a scalar, a list or a mapping. It is never changed.
type value struct {
	file   string
	line   int
	scalar []byte            // as JSON; nil for the others
	list   []*value          // nil for the others
	fields map[string]*value // nil for the others
}

// treeReader makes a tree of values of a YAML file.
type treeReader struct {
	name     string
	problems config.Problems
	values   int
	texts    int
	full     bool
}

// readTree reads a file of settings. Without content it is an empty mapping.
func readTree(name string, text []byte) (*value, config.Problems) {
	r := &treeReader{name: name}
	root := r.parse(text)
	if root == nil {
		return &value{file: name, line: 1, fields: map[string]*value{}}, r.problems
	}
	if root.Kind != yaml.MappingNode {
		r.refuse(root.Line, "", "must be keys with values (a mapping)")
		return nil, r.problems
	}
	return r.value(root, "", 0), r.problems
}

func (r *treeReader) refuse(line int, key, format string, args ...any) {
	if len(r.problems) < 10*mostSaid {
		r.problems = append(r.problems, config.Problem{Place: config.Place{File: r.name, Line: line}, Key: key, Text: fmt.Sprintf(format, args...)})
	}
}

// parse returns the only document; nil when it is empty, or no YAML.
func (r *treeReader) parse(text []byte) *yaml.Node {
	in := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := in.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = in.Decode(&more); err == nil {
			r.refuse(more.Line, "", "a second document begins here; settings are one document")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		line, what := 1, strings.TrimPrefix(err.Error(), "yaml: ") // the parser leaves out the first line's number
		if m := regexp.MustCompile(`^line (\d+): (.*)$`).FindStringSubmatch(what); m != nil {
			line, _ = strconv.Atoi(m[1])
			what = m[2]
		}
		r.refuse(line, "", "not YAML: %s", what)
		return nil
	}
	root := aliased(doc.Content[0])
	if root.ShortTag() == "!!null" {
		return nil
	}
	return root
}

func aliased(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// value makes a value of a node; nil for one without a value, and for what is too much.
func (r *treeReader) value(n *yaml.Node, key string, depth int) *value {
	r.values++
	r.texts += len(key) + len(n.Value)
	switch {
	case r.full:
		return nil
	case r.values > maxValues || r.texts > maxTexts:
		r.full = true
		r.refuse(n.Line, key, "the file is too large: with aliases written out it has more than %d values, or %d MiB of text", maxValues, maxTexts>>20)
		return nil
	case depth > maxDepth:
		r.refuse(n.Line, key, "is nested more than %d deep", maxDepth)
		return nil
	}
	v := &value{file: r.name, line: n.Line}
	switch n.Kind {
	case yaml.MappingNode:
		v.fields = map[string]*value{}
		r.mapping(n, v, key, depth)
	case yaml.SequenceNode:
		v.list = []*value{}
		for i, item := range n.Content {
			at := key + "[" + strconv.Itoa(i) + "]"
			one := r.value(aliased(item), at, depth+1)
			if one == nil && !r.full && depth < maxDepth {
				r.refuse(item.Line, at, "must not be empty")
			}
			if one != nil {
				v.list = append(v.list, one)
			}
		}
	default:
		if n.ShortTag() == "!!null" {
			return nil
		}
		v.scalar = scalarJSON(n)
	}
	return v
}

func (r *treeReader) mapping(n *yaml.Node, v *value, key string, depth int) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && !r.full; i += 2 {
		name, of := aliased(n.Content[i]), aliased(n.Content[i+1])
		at := strings.TrimPrefix(key+"."+name.Value, ".")
		switch {
		case name.Kind != yaml.ScalarNode || name.Value == "" || len(name.Value) > maxKeyText:
			r.refuse(name.Line, key, "a key must be text of 1 to %d bytes", maxKeyText)
		case name.ShortTag() == "!!merge":
			r.refuse(name.Line, key, "merging by << is not read: write the keys out, or use the order of the files")
		case seen[name.Value]:
			r.refuse(name.Line, at, "is set twice")
		default:
			seen[name.Value] = true
			if one := r.value(of, at, depth+1); one != nil {
				v.fields[name.Value] = one
			}
		}
	}
	r.checkSecret(n, v, key)
}

// checkSecret checks the form of {secret: NAME}: whoever uses the settings looks for a
// secret of that name. It may be the key of a setting as well: {secret: {secret: NAME}}.
func (r *treeReader) checkSecret(n *yaml.Node, v *value, key string) {
	of := v.fields["secret"]
	if of == nil || len(n.Content) != 2 || of.fields != nil {
		return
	}
	var name string
	if of.list != nil || json.Unmarshal(of.scalar, &name) != nil || config.CheckSecretName(name) != nil {
		r.refuse(of.line, strings.TrimPrefix(key+".secret", "."), "must name a secret, as in {secret: ORDERS_PASSWORD}: a letter, then letters, digits, _, - and dots, at most %d; the secret itself does not belong into the repository", config.MaxSecretName)
	}
}

// jsonNumber is a number as JSON has it.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// scalarJSON writes a scalar as JSON. A number that JSON writes otherwise (007, 0x1F,
// 1_000, .5) and a date are text, as they stand in the file.
func scalarJSON(n *yaml.Node) []byte {
	switch n.ShortTag() {
	case "!!bool":
		if n.Value == "true" || n.Value == "false" {
			return []byte(n.Value)
		}
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) {
			return []byte(n.Value)
		}
	}
	text, err := plainJSON(n.Value)
	if err != nil {
		panic(err) // a string
	}
	return text
}

// over lays a value over another one: mappings merge, everything else is replaced.
func over(below, above *value) *value {
	if below == nil || below.fields == nil || above.fields == nil {
		return above
	}
	v := &value{file: above.file, line: above.line, fields: make(map[string]*value, len(below.fields))}
	for name, of := range below.fields {
		v.fields[name] = of
	}
	for name, of := range above.fields {
		v.fields[name] = over(v.fields[name], of)
	}
	return v
}

// appendJSON writes a value, with its keys in order, and notes where each value below
// came from, by its way: "limits.frame", "apps[0].appName".
func (v *value) appendJSON(b []byte, key string, places map[string]string) []byte {
	if key != "" {
		places[key] = v.file + ":" + strconv.Itoa(v.line)
	}
	switch {
	case v.scalar != nil:
		return append(b, v.scalar...)
	case v.list != nil:
		b = append(b, '[')
		for i, item := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b, key+"["+strconv.Itoa(i)+"]", places)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i, name := range sortedKeys(v.fields) {
		if i > 0 {
			b = append(b, ',')
		}
		text, err := plainJSON(name)
		if err != nil {
			panic(err) // a string
		}
		b = append(append(b, text...), ':')
		b = v.fields[name].appendJSON(b, strings.TrimPrefix(key+"."+name, "."), places)
	}
	return append(b, '}')
}

func sortedKeys(fields map[string]*value) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
