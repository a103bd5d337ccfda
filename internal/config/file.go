package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// layer is what one source sets: scalars as text, lists as []string, by key.
type layer struct {
	values   map[string]any
	apps     []App     // nil when the source names none
	ofChat   []Webhook // likewise
	routes   []Route   // likewise
	places   map[string]Place
	hidden   map[string]bool // keys whose values come from secrets that they name
	problems Problems
}

func newLayer() layer {
	return layer{values: map[string]any{}, places: map[string]Place{}, hidden: map[string]bool{}}
}

// refuse notes a problem with a key.
func (l *layer) refuse(at Place, key, format string, args ...any) {
	l.problems = append(l.problems, Problem{Place: at, Key: key, Text: fmt.Sprintf(format, args...)})
}

// put checks a value and keeps it if it is good.
func (l *layer) put(k Key, at Place, text string) {
	var scratch Settings
	if err := k.set(&scratch, text); err != nil {
		if l.hidden[k.Name] {
			l.refuse(at, k.Name, hiddenProblem)
			return
		}
		for _, one := range each(err) {
			l.refuse(at, k.Name, "%s", one)
		}
		return
	}
	l.values[k.Name] = k.text(&scratch)
	l.places[k.Name] = at
}

// fileReader reads the layer of a YAML file.
type fileReader struct {
	layer
	name string
	keys []string // all that there are

	secretsFrom *secretSource        // nil: a value cannot name a secret
	nodes       map[*yaml.Node]Place // where each stands, of a repository; nil for a file
}

// readFile reads the settings that a YAML document makes. Its problems are in
// the layer.
func readFile(name string, content []byte, secrets secretSource) layer {
	r := &fileReader{layer: newLayer(), name: name, keys: keyNames(), secretsFrom: &secrets}
	root, ok := r.parse(content)
	if ok && root != nil {
		r.read(root)
	}
	return r.layer
}

// read reads all settings.
func (r *fileReader) read(root *yaml.Node) {
	for _, top := range r.fields(root, "", childrenOf("")) {
		if k, ok := keyNamed(top.name); ok {
			r.value(k, top.value)
			continue
		}
		if top.name == "apps" {
			r.readApps(top)
			continue
		}
		r.group(top.name+".", top.value)
	}
}

// group reads the keys, and groups of keys, below a prefix.
func (r *fileReader) group(prefix string, n *yaml.Node) {
	for _, f := range r.fields(n, prefix, childrenOf(prefix)) {
		if k, ok := keyNamed(prefix + f.name); ok {
			r.value(k, f.value)
			continue
		}
		if prefix+f.name == "chat.webhooks" {
			r.places[prefix+f.name] = r.at(f.value)
			r.ofChat = r.readWebhooks(prefix+f.name, f.value)
			continue
		}
		if prefix+f.name == gatewayRoutes {
			r.places[gatewayRoutes] = r.at(f.value)
			r.routes = r.readRoutes(f.value)
			continue
		}
		r.group(prefix+f.name+".", f.value)
	}
}

// parse returns the content of the only document, nil when it is empty.
func (r *fileReader) parse(content []byte) (*yaml.Node, bool) {
	in := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	err := in.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, true
	}
	if err == nil {
		err = in.Decode(&more)
		if err == nil {
			r.refuse(r.at(&more), "", "a second document begins here; settings are one document")
			return nil, false
		}
	}
	if !errors.Is(err, io.EOF) {
		r.refuseSyntax(err, content)
		return nil, false
	}
	root := resolve(doc.Content[0])
	if isNull(root) {
		return nil, true
	}
	return root, true
}

// field is one entry of a mapping.
type field struct {
	name  string
	at    Place
	value *yaml.Node // resolved, not null
}

// fields returns the entries of a mapping that are known and not null; known nil
// stands for any. It notes unknown and repeated keys, and a node that is no mapping.
func (r *fileReader) fields(n *yaml.Node, prefix string, known []string) []field {
	if n.Kind != yaml.MappingNode {
		kind := "a single value"
		if n.Kind == yaml.SequenceNode {
			kind = "a list"
		}
		which := ""
		if known != nil {
			which = "; the keys are " + strings.Join(known, ", ")
		}
		r.refuse(r.at(n), strings.TrimSuffix(prefix, "."), "must be keys with values (a mapping), not %s%s", kind, which)
		return nil
	}
	var list []field
	for i := 0; i+1 < len(n.Content); i += 2 {
		f := field{name: n.Content[i].Value, at: r.at(n.Content[i]), value: resolve(n.Content[i+1])}
		switch {
		case known != nil && !slices.Contains(known, f.name) && r.nodes != nil && f.at.File == sharedFile:
			// It is another service's.
		case known != nil && !slices.Contains(known, f.name):
			suggestion := ""
			if len(r.problems) < mostSuggested {
				suggestion = suggestKey(f.name, known, r.keys)
			}
			r.refuse(f.at, prefix+f.name, "unknown key%s", suggestion)
		case slices.ContainsFunc(list, func(g field) bool { return g.name == f.name }):
			r.refuse(f.at, prefix+f.name, "is set twice")
		case !isNull(f.value):
			list = append(list, f)
		}
	}
	return list
}

// mostSuggested is after how many problems no key is suggested any more: to look for one
// takes a millisecond, and a file may have twenty thousand keys.
const mostSuggested = 100

// suggestKey looks among the keys of this place first, then among all.
func suggestKey(name string, known, all []string) string {
	if text := DidYouMean(name, known); text != "" {
		return text
	}
	for _, k := range all {
		if i := strings.LastIndexByte(k, '.'); i >= 0 && plain(k[i+1:]) == plain(name) {
			return ": did you mean " + k + "?"
		}
	}
	return ""
}

// value reads a key that is kept directly in Settings.
func (r *fileReader) value(k Key, n *yaml.Node) {
	if k.isList() && !(k.Kind == kindRoles && n.Kind == yaml.ScalarNode) { // "roles: all" is what one writes
		r.items(k, n)
		return
	}
	if k.Kind == kindSecrets && n.Kind == yaml.MappingNode {
		r.secrets(k, n)
		return
	}
	if text, ok := r.scalar(k.Name, n); ok {
		r.put(k, r.at(n), text)
	}
}

// items reads a list, and notes every bad item at its line.
func (r *fileReader) items(k Key, n *yaml.Node) {
	before := len(r.problems)
	list, _ := r.list(k.Name, n)
	for _, item := range list {
		text := strings.TrimSpace(item.Value)
		if strings.Contains(text, ",") {
			r.refuse(r.at(item), k.Name, "%q is not %s: write each as an item of its own", text, map[string]string{kindOrigins: "an origin", kindPeers: "host:port", kindRoles: "a role", kindNetworks: "a network", kindHosts: "a host"}[k.Kind])
			continue
		}
		if text == "all" && k.Kind == kindRoles && len(list) == 1 {
			continue
		}
		if _, err := k.item(text); err != nil {
			r.refuse(r.at(item), k.Name, "%s", err)
		}
	}
	if len(r.problems) == before {
		r.put(k, r.at(n), strings.Join(textsOf(list), ","))
	}
}

// scalar returns the text of a single value.
func (r *fileReader) scalar(key string, n *yaml.Node) (string, bool) {
	if name, is := secretNamed(n); is && r.secretsFrom != nil {
		return r.secret(key, name, n)
	}
	if n.Kind != yaml.ScalarNode {
		r.refuse(r.at(n), key, "must be a single value")
		return "", false
	}
	return n.Value, true
}

// list returns the good items of a list of single values, and whether all are
// good. An item must not be null.
func (r *fileReader) list(key string, n *yaml.Node) ([]*yaml.Node, bool) {
	if n.Kind != yaml.SequenceNode {
		r.refuse(r.at(n), key, "must be a list")
		return nil, false
	}
	items := make([]*yaml.Node, 0, len(n.Content))
	ok := true
	for _, item := range n.Content {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode || isNull(item) {
			r.refuse(r.at(item), key, "every item must be a single value")
			ok = false
			continue
		}
		items = append(items, item)
	}
	return items, ok
}

// textsOf returns what scalars say, in their order.
func textsOf(nodes []*yaml.Node) []string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = n.Value
	}
	return texts
}

func (r *fileReader) at(n *yaml.Node) Place {
	if r.nodes != nil {
		return r.nodes[n]
	}
	return Place{File: r.name, Line: n.Line}
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
