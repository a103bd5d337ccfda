package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// MaxFile is the largest file of static instances, in bytes.
const MaxFile = 1 << 20

// maxProblems is after how many problems a file is read no further.
const maxProblems = 100

// ReadFile reads the static instances of a file, of which there may be so many. What is
// wrong with it comes back as config.Problems, all at once, each with its line; any other
// error is that it cannot be read.
func ReadFile(name string, most int) ([]Instance, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the static instances of services: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the static instances of services: %w", err)
	}
	return parse(name, content, most)
}

// parse reads what a file says.
func parse(name string, content []byte, most int) ([]Instance, error) {
	r := &reader{name: name, most: most, lines: make(map[string]int)}
	if len(content) > MaxFile {
		r.refuse(0, "", "has more than %d bytes", MaxFile)
	} else if root := r.document(content); root != nil {
		r.root(root)
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.list, nil
}

// reader reads a file of static instances.
type reader struct {
	name     string
	most     int
	problems config.Problems
	list     []Instance
	lines    map[string]int // where each instance is, by key
}

func (r *reader) refuse(line int, key, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, config.Problem{Place: config.Place{File: r.name, Line: line}, Key: key, Text: fmt.Sprintf(format, args...)})
	}
}

// document returns the content of the only document; nil when it is empty, or wrong.
func (r *reader) document(content []byte) *yaml.Node {
	in := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	err := in.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = in.Decode(&more); err == nil {
			r.refuse(more.Line, "", "a second document begins here; the file is one document")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1 // the parser leaves out the first line's number
		if m := regexp.MustCompile(`(?s)^line (\d+): (.*)$`).FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = m[2]
		}
		r.refuse(line, "", "not YAML: %s", text)
		return nil
	}
	if root := doc.Content[0]; root.Tag != "!!null" {
		return root
	}
	return nil
}

// field is one member of a mapping.
type field struct {
	name  string
	line  int
	value *yaml.Node
}

// fields returns the members of a mapping, each once; known are those that there are,
// nil for any. Aliases are not followed: what they stand for is written out.
func (r *reader) fields(key string, n *yaml.Node, known ...string) (list []field) {
	if n.Kind != yaml.MappingNode {
		r.refuse(n.Line, key, "must be a mapping")
		return nil
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(key+"."+shown(name.Value), ".")
		switch {
		case name.Kind != yaml.ScalarNode || value.Kind == yaml.AliasNode || value.Anchor != "":
			r.refuse(name.Line, at, "must be written out, without & and *")
		case seen[name.Value]:
			r.refuse(name.Line, at, "is given twice")
		case len(known) > 0 && !slices.Contains(known, name.Value):
			r.refuse(name.Line, at, "is no key here; there are %s", strings.Join(known, ", "))
		default:
			list = append(list, field{name: name.Value, line: name.Line, value: value})
		}
		seen[name.Value] = true
	}
	return list
}

// shown is a name that a stranger wrote, for a sentence of one line.
func shown(name string) string {
	if checkName("", name) == nil {
		return name
	}
	if len(name) > MaxName {
		name = name[:MaxName] + "…"
	}
	return strconv.QuoteToASCII(name)
}

func (r *reader) root(n *yaml.Node) {
	for _, top := range r.fields("", n, "services") {
		services := r.fields(top.name, top.value)
		if len(services) > MaxServices {
			r.refuse(top.line, top.name, "are more than %d", MaxServices)
			return
		}
		for _, s := range services {
			r.service(s)
		}
	}
}

func (r *reader) service(s field) {
	key := "services." + shown(s.name)
	if refused := checkService(s.name); refused != nil {
		r.refuse(s.line, key, "%s", refused.Reason)
	}
	if s.value.Kind != yaml.SequenceNode {
		r.refuse(s.value.Line, key, "must be a list of instances")
		return
	}
	for n, one := range s.value.Content {
		if len(r.list) >= r.most {
			r.refuse(one.Line, key, "there are more than %d instances, as many as registry.instances allows", r.most)
			return
		}
		r.instance(fmt.Sprintf("%s[%d]", key, n), s.name, one)
	}
}

// instance reads one instance.
func (r *reader) instance(key, service string, n *yaml.Node) {
	i := Instance{Service: service, Weight: 1, TTL: DefaultTTL, Source: Static}
	lines := map[string]int{}
	for _, f := range r.fields(key, n, "instance", "url", "weight", "meta") {
		lines[f.name] = f.line
		switch f.name {
		case "instance":
			i.Name = r.text(key+".instance", f.value)
		case "url":
			i.URL = r.text(key+".url", f.value)
		case "weight":
			i.Weight, _ = strconv.Atoi(r.text(key+".weight", f.value)) // 0, which is refused, for what is no number
		case "meta":
			i.Meta = make(map[string]string)
			for _, m := range r.fields(key+".meta", f.value) {
				i.Meta[m.name] = r.text(key+".meta."+shown(m.name), m.value)
			}
		}
	}
	for _, refused := range i.Check() {
		line := lines[refused.Field]
		if line == 0 {
			line = n.Line
		}
		if refused.Field != "service" { // which is said once
			r.refuse(line, key+"."+refused.Field, "%s", refused.Reason)
		}
	}
	at := keyOf(service, i.Name)
	if first := r.lines[at]; first > 0 && i.Name != "" {
		r.refuse(n.Line, key+".instance", "%s is the name of another, in line %d", shown(i.Name), first)
	}
	r.lines[at] = n.Line
	i.TTL = 0
	r.list = append(r.list, i)
}

// text returns a scalar as it is written.
func (r *reader) text(key string, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.refuse(n.Line, key, "must be text")
		return ""
	}
	return n.Value
}
