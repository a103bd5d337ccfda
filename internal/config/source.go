package config

import (
	"crypto/tls"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Source says which meta server has further settings of this node, which change at run
// time. Without a URL there are none.
type Source struct {
	URL        string `yaml:"url"`        // http(s)
	Profile    string `yaml:"profile"`    // which of the settings for nodes are meant
	SecretFile string `yaml:"secretFile"` // holds what the meta server asks for; or empty
	CA         string `yaml:"ca"`         // PEM: who signed its certificate; empty: the system's
}

func sourceKeys() []Key {
	key := func(name, kind, def, what string, field func(*Source) any) Key {
		return Key{Name: "settings." + name, Kind: kind, Default: def, What: what, optional: def == "", field: func(s *Settings) any { return field(&s.Source) }}
	}
	return []Key{
		key("url", kindURL, "", "The meta server that has further settings of this node, such as http://meta.example:9000: they win over the file. Without it there are none.",
			func(s *Source) any { return &s.URL }),
		key("profile", kindText, "default", "Which of them are meant: over what all nodes have go those in switchboard-PROFILE.yaml. 1 to 64 letters, digits, _ and -.",
			func(s *Source) any { return &s.Profile }),
		key("secretFile", kindFile, "", "File that holds what the meta server asks for (its --secret-file), if it does. It is read each time.",
			func(s *Source) any { return &s.SecretFile }),
		key("ca", kindFile, "", "File with the certificates of who signed that of the meta server, in PEM, where settings.url begins with https://. The system's if absent.",
			func(s *Source) any { return &s.CA }),
	}
}

// TLS returns how the meta server's certificate is checked; nil for as usual.
func (s Source) TLS() (*tls.Config, error) { return TLS{CA: s.CA}.client("settings.ca") }

// checkSource notes what is wrong with where further settings come from.
func (c *checker) checkSource(s Source) {
	if s.CA == "" {
		return
	}
	if !strings.HasPrefix(s.URL, "https://") {
		c.refuse("settings.ca", "is for a meta server at https://, but settings.url is %q", s.URL)
		return
	}
	if _, err := (TLS{CA: s.CA}).Config(); err != nil {
		c.refuse("settings.ca", "%s", err)
	}
}

// allIndexes are the places in lists in the name of a key.
var allIndexes = regexp.MustCompile(`\[[0-9]+\]`)

// replaced forgets, before a layer is laid over the others, what was below a list that it
// replaces.
func (s *Settings) replaced(places map[string]Place, l layer) {
	for list, is := range map[string]bool{"apps": l.apps != nil, "chat.webhooks": l.ofChat != nil, gatewayRoutes: l.routes != nil} {
		if is {
			maps.DeleteFunc(places, func(key string, _ Place) bool { return strings.HasPrefix(key, list) })
			maps.DeleteFunc(s.hidden, func(key string, _ bool) bool { return strings.HasPrefix(key, list) })
		}
	}
}

// Placed are settings that are complete and checked, and where they come from.
type Placed struct {
	Settings Settings

	places map[string]Place
}

// Setting is one value, as people see it.
type Setting struct {
	Key   string // "limits.frame", "apps[0].appName"
	Value string // as it would be written; a list with commas; a secret is masked
	Place Place  // where it comes from
	Live  bool   // a change takes effect at run time
}

// List returns all settings, in the order of the file. No secret is in it.
func (p Placed) List() []Setting {
	var doc yaml.Node
	if err := yaml.Unmarshal(p.Settings.YAML(), &doc); err != nil {
		panic("config: read YAML of our own: " + err.Error())
	}
	live := map[string]bool{}
	for _, k := range Keys() {
		live[k.Name] = k.Live
	}
	var list []Setting
	var walk func(key string, n *yaml.Node)
	walk = func(key string, n *yaml.Node) {
		switch {
		case n.Kind == yaml.MappingNode && len(n.Content) > 0 && key != "links.secrets":
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(strings.TrimPrefix(key+"."+n.Content[i].Value, "."), n.Content[i+1])
			}
		case n.Kind == yaml.SequenceNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode:
			for i, item := range n.Content {
				walk(fmt.Sprintf("%s[%d]", key, i), item)
			}
		default:
			list = append(list, Setting{Key: key, Value: shortText(n), Place: p.place(key), Live: live[allIndexes.ReplaceAllString(key, "[]")]})
		}
	}
	walk("", doc.Content[0])
	return list
}

// place returns where a key, or what it is part of, was set.
func (p Placed) place(key string) Place {
	for part := key; part != ""; part = part[:max(0, strings.LastIndexAny(part, ".["))] {
		if at, ok := p.places[part]; ok {
			return at
		}
	}
	return Place{}
}

// shortText writes a value in a line.
func shortText(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	var texts []string
	for i, item := range n.Content {
		if n.Kind == yaml.SequenceNode || i%2 == 0 { // of a mapping, of secrets, the names
			texts = append(texts, shortText(item))
		}
	}
	return strings.Join(texts, ", ")
}

// Adopt is Adopt of the settings; what cannot change at run time stays as it is, and so
// does where it comes from.
func (p Placed) Adopt(wanted Placed) (Placed, error) {
	next, err := Adopt(p.Settings, wanted.Settings)
	if err != nil {
		return Placed{}, err
	}
	restart := map[string]bool{}
	for _, key := range Diff(p.Settings, wanted.Settings).Restart {
		restart[key] = true
	}
	places := map[string]Place{}
	for _, from := range []struct {
		places map[string]Place
		stays  bool
	}{{p.places, true}, {wanted.places, false}} {
		for key, at := range from.places {
			list, _, _ := strings.Cut(key, "[")
			if (restart[key] || restart[list]) == from.stays {
				places[key] = at
			}
		}
	}
	return Placed{next, places}, nil
}
