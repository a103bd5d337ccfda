package domains

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Parse reads the YAML file of a meta server and checks it as a whole. It
// returns the description (with version 0), and what was passed over or looks
// odd, as sentences with their lines. If anything is wrong, the error is
// [Problems]: all of it at once. What the rules have against apps is no error, for a
// domain may have another app of the name in its settings: it is passed over there.
func Parse(file []byte, rules ...AppRule) (*Network, []string, error) {
	r := &reader{budget: maxEntries, rules: rules}
	if len(file) > MaxFile {
		r.refuse(1, "", "the file has %d bytes: at most %d are read", len(file), MaxFile)
		return nil, nil, r.problems.orNil()
	}
	root := r.parseYAML(file)
	if root == nil {
		return nil, nil, r.problems.orNil()
	}
	d := r.document(root)
	n, err := r.finish(d)
	return n, r.notices, err
}

// ParseJSON reads a description as a meta server serves it (GET
// /domains/graph), and checks it as Parse does. It takes JSON types as they are
// meant, where YAML has only text. It must name its version, which is 0 for what
// comes from a file. If anything is wrong, the error is [Problems].
func ParseJSON(data []byte) (*Network, error) {
	r := &reader{budget: maxEntries, json: true}
	if len(data) > MaxJSON {
		r.refuse(1, "", "the description has %d bytes: at most %d are read", len(data), MaxJSON)
		return nil, r.problems.orNil()
	}
	root := r.parseJSON(data)
	if root == nil {
		return nil, r.problems.orNil()
	}
	d := r.document(root)
	return r.finish(d)
}

// parseYAML returns the content of the only document; nil when something is
// wrong.
func (r *reader) parseYAML(file []byte) *yaml.Node {
	in := yaml.NewDecoder(bytes.NewReader(file))
	var doc, more yaml.Node
	err := in.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		r.refuseEmpty(1)
		return nil
	case err != nil:
		r.refuseSyntax(file, err)
		return nil
	}
	if err := in.Decode(&more); err == nil {
		r.refuse(max(more.Line, 1), "", "a second document begins here: a description is one document")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.refuseSyntax(file, err)
		return nil
	}
	root := resolve(doc.Content[0])
	if isNull(root) {
		r.refuseEmpty(1)
		return nil
	}
	return root
}

func (r *reader) refuseEmpty(line int) {
	r.refuse(line, "", "is empty: name the domains under domains, their links under domainLinks, the apps under clientApps")
}

// refuseSyntax turns what the YAML parser says into a problem with a line.
func (r *reader) refuseSyntax(file []byte, err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1 // the parser leaves out the first line's number
	if offset, what := strangeAt(file); offset >= 0 {          // of which the parser never says the line
		r.refuse(lineAt(file, int64(offset)), "", "not YAML: %s is in this line: take it away", what)
		return
	}
	if m := regexp.MustCompile(`(?s)^line (\d+): (.*)$`).FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	if strings.HasPrefix(text, "did not find") {
		text += ", here or in a later line" // the line is where the list or mapping around it begins
	}
	r.refuse(max(line, 1), "", "not YAML: %s: correct the line, and mind its indentation", text)
}

// strangeAt finds the first byte that no YAML file may hold, and says what it is; -1 for
// none.
func strangeAt(file []byte) (offset int, what string) {
	for i := 0; i < len(file); {
		c, n := utf8.DecodeRune(file[i:])
		switch {
		case c == utf8.RuneError && n <= 1:
			return i, "a byte that is not UTF-8"
		case c < ' ' && !strings.ContainsRune("\t\n\r", c) || c == 0x7f:
			return i, fmt.Sprintf("a control character (0x%02x)", c)
		}
		i += n
	}
	return -1, ""
}

// parseJSON returns the JSON text as the nodes that YAML would make of it; nil
// when something is wrong.
func (r *reader) parseJSON(data []byte) *yaml.Node {
	var all json.RawMessage
	err := json.Unmarshal(data, &all)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		r.refuse(lineAt(data, syntax.Offset), "", "not JSON: %s at byte %d", syntax, syntax.Offset)
		return nil
	}
	if err != nil {
		r.refuse(1, "", "not JSON: %s", err)
		return nil
	}
	if !utf8.Valid(data) {
		r.refuse(1, "", "not UTF-8, as JSON has to be")
		return nil
	}
	b := jsonBuilder{in: json.NewDecoder(bytes.NewReader(data)), lines: lineCounter{data: data, line: 1}}
	b.in.UseNumber()
	b.budget = maxNodes
	root, err := b.value(0)
	if err != nil {
		r.refuse(b.line(), "", "%s", err)
		return nil
	}
	if isNull(root) {
		r.refuseEmpty(1)
		return nil
	}
	return root
}

// maxDepth is how deep a description is nested: app, range, value. What is
// deeper is no description.
const maxDepth = 10

var (
	errDeep = errors.New("is nested too deeply for a description")
	errMany = errors.New("has more values than a description can have")
)

// jsonBuilder makes YAML nodes of JSON that is known to be well formed.
type jsonBuilder struct {
	in     *json.Decoder
	lines  lineCounter
	budget int // values and keys that may yet be read
}

func (b *jsonBuilder) line() int { return b.lines.at(b.in.InputOffset()) }

func (b *jsonBuilder) value(depth int) (*yaml.Node, error) {
	token, err := b.in.Token()
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if b.budget--; b.budget < 0 {
		return nil, errMany
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: b.line()}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, errDeep
		}
		n.Kind = yaml.SequenceNode
		if token == '{' {
			n.Kind = yaml.MappingNode
		}
		for b.in.More() {
			child, err := b.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := b.in.Token()
		return n, err
	case string:
		n.Tag, n.Value = tagText, token
	case json.Number:
		n.Tag, n.Value = tagNumber, token.String()
	case bool:
		n.Tag, n.Value = tagBool, strconv.FormatBool(token)
	default:
		n.Tag = tagNull
	}
	return n, nil
}

// lineCounter tells lines of rising offsets.
type lineCounter struct {
	data   []byte
	offset int64
	line   int
}

func (c *lineCounter) at(offset int64) int {
	offset = min(offset, int64(len(c.data)))
	if offset > c.offset {
		c.line += bytes.Count(c.data[c.offset:offset], []byte{'\n'})
		c.offset = offset
	}
	return c.line
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte{'\n'})
}

const (
	tagNull   = "!!null"
	tagText   = "!!str"
	tagNumber = "!!int"
	tagBool   = "!!bool"
)

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == tagNull }
