package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML returns the settings as a file that would make them, every key
// included. Secrets are masked.
func (s Settings) YAML() []byte {
	root := mapping()
	groups := map[string]*yaml.Node{}
	for _, k := range Keys() {
		if strings.HasPrefix(k.Name, "chat.webhooks[].") {
			if groups["chat.webhooks"] == nil && len(s.Chat.Webhooks) > 0 {
				groups["chat.webhooks"] = s.webhooksNode("chat.webhooks", s.Chat.Webhooks)
				add(groups["chat."], "webhooks", groups["chat.webhooks"])
			}
			continue
		}
		if strings.HasPrefix(k.Name, gatewayRoutes) {
			if groups["gateway."] == nil {
				groups["gateway."] = mapping()
				add(root, "gateway", groups["gateway."])
				if len(s.Gateway.Routes) > 0 {
					add(groups["gateway."], "routes", routesNode(s.Gateway.Routes))
				}
			}
			continue
		}
		if k.field == nil {
			if groups["apps"] == nil {
				groups["apps"] = s.appsNode()
				add(root, "apps", groups["apps"])
			}
			continue
		}
		into, name := root, k.Name
		for path := ""; strings.Contains(name, "."); {
			group, rest, _ := strings.Cut(name, ".")
			path += group + "."
			if groups[path] == nil {
				groups[path] = mapping()
				add(into, group, groups[path])
			}
			into, name = groups[path], rest
		}
		if list, ok := k.field(&s).(*[]string); ok {
			add(into, name, listNode(*list))
			continue
		}
		add(into, name, k.node(&s))
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		panic("config: write YAML: " + err.Error()) // a buffer takes it, and the nodes are ours
	}
	return out.Bytes()
}

// node returns a scalar; numbers and switches stay what they are, all else is text.
func (k Key) node(s *Settings) *yaml.Node {
	if s.hidden[k.Name] && k.Kind != kindSecrets {
		return textNode(s.shown(k.Name, k.text(s)))
	}
	switch k.Kind {
	case kindCount:
		if k.text(s) == "" {
			break
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: k.text(s)}
	case kindNumber:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: k.text(s)}
	case kindSwitch:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: k.text(s)}
	case kindSecret:
		return textNode(Secret(k.text(s)).String())
	case kindNATS:
		return textNode(redactedAll(k.text(s)))
	case kindMeta, kindURL:
		return textNode(redactedURL(k.text(s)))
	case kindDB:
		return textNode(redactedDB(k.text(s)))
	case kindSecrets:
		return secretsNode(*k.field(s).(*map[string]Secret))
	}
	return textNode(k.text(s))
}

// shown returns a text, or the mask where it comes from a secret.
func (s Settings) shown(key, text string) string {
	if s.hidden[key] && text != "" {
		return mask
	}
	return text
}

func (s Settings) appsNode() *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for i, a := range s.Apps {
		key := "apps[" + strconv.Itoa(i) + "]."
		n := mapping()
		add(n, "appName", textNode(a.Name))
		add(n, "appId", textNode(s.shown(key+"appId", a.ID)))
		addText(n, "masterUserId", a.Master)
		add(n, "authEnabled", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(a.AuthEnabled)})
		addText(n, "authUrl", s.shown(key+"authUrl", redactedURL(a.AuthURL)))
		if a.JWT != nil {
			j := mapping()
			addText(j, "secret", a.JWT.Secret.String())
			addText(j, "publicKey", s.shown(key+"jwt.publicKey", a.JWT.PublicKey))
			addText(j, "jwksUrl", s.shown(key+"jwt.jwksUrl", redactedURL(a.JWT.JWKSURL)))
			addText(j, "issuer", s.shown(key+"jwt.issuer", a.JWT.Issuer))
			addText(j, "audience", s.shown(key+"jwt.audience", a.JWT.Audience))
			add(n, "jwt", j)
		}
		if len(a.AllowApps) > 0 {
			add(n, "allowApps", listNode(a.AllowApps))
		}
		if len(a.Webhooks) > 0 {
			add(n, "webhooks", s.webhooksNode(key+"webhooks", a.Webhooks))
		}
		list.Content = append(list.Content, n)
	}
	return list
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func textNode(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

func listNode(items []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if len(items) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, item := range items {
		n.Content = append(n.Content, textNode(item))
	}
	return n
}

func add(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = append(m.Content, textNode(key), value)
}

// addText adds a text unless it is empty.
func addText(m *yaml.Node, key, text string) {
	if text != "" {
		add(m, key, textNode(text))
	}
}

// Template returns a settings file to start from: every key with its default
// and what it does. It loads as it is, and then serves the demo app on
// loopback.
func Template() []byte {
	var b strings.Builder
	b.WriteString("# Settings of Switchboard. Every key stands here with its default; what you do not\n" +
		"# need may go. A variable (SWITCHBOARD_LIMITS_FRAME=128KiB) wins over this file, a\n" +
		"# flag over both. \"switchboard config check FILE\" checks without starting.\n")
	group := ""
	for _, k := range Keys() {
		if strings.HasPrefix(k.Name, "chat.webhooks[].") {
			if strings.HasSuffix(k.Name, ".name") {
				b.WriteString("\n" + webhooksOfChatTemplate())
			}
			continue
		}
		if strings.HasPrefix(k.Name, gatewayRoutes) {
			if group != "gateway" {
				group = "gateway"
				b.WriteString("\n" + routesTemplate())
			}
			continue
		}
		if k.field == nil {
			if group != "apps" {
				group = "apps"
				b.WriteString("\n" + appsTemplate())
			}
			continue
		}
		parts := strings.Split(k.Name, ".")
		name, groups := parts[len(parts)-1], parts[:len(parts)-1]
		if g := strings.Join(groups, "."); g != group && len(groups) > 0 {
			if !strings.HasPrefix(group+".", g+".") {
				last := len(groups) - 1
				b.WriteString("\n" + groupComment(g) + strings.Repeat("  ", last) + groups[last] + ":")
			}
			group = g
		}
		indent := strings.Repeat("  ", len(groups))
		b.WriteString("\n" + k.comment(indent) + strings.TrimSuffix(indent+name+": "+k.templateValue(), " ") + "\n")
	}
	return []byte(b.String())
}

func (k Key) templateValue() string {
	switch {
	case k.isList() && k.Default == "":
		return "[]"
	case k.Kind == kindNetworks:
		return `["` + strings.ReplaceAll(k.Default, ",", `", "`) + `"]`
	case k.Kind == kindSecrets:
		return "{}"
	}
	return k.Default
}

// groupComment returns what is to be known of a group of keys as comment lines,
// with an example.
func groupComment(group string) string {
	lines := func(text string, example ...string) string {
		return commentLines("", text) + "# " + strings.Join(example, "\n# ") + "\n"
	}
	switch group {
	case "settings":
		return lines("Further settings, from a repository, as docs/runtime-settings.md has it. For example:",
			"  url: http://meta.example:9000", "  secretFile: /etc/switchboard/meta.secret")
	case "cluster":
		return lines("With other nodes, as docs/cluster.md has it. On the first of three, for example:",
			"  name: chat", "  node: node1", "  peers: [node1:7088, node2:7088, node3:7088]", "  secret: (the same on all, as openssl rand -hex 32 makes)")
	case "tls":
		return lines("What clients are shown, as docs/tls.md has it. For example:",
			"  cert: /etc/switchboard/chat.example.pem", "  key: /etc/switchboard/chat.example.key")
	case "links":
		return lines("To other domains, as docs/domains.md has it. For example:",
			"  secret: (the same on all domains, as openssl rand -hex 32 makes)", "  secrets: {domain-02: (one for the link with that domain alone)}")
	case "nats":
		return lines("With a NATS that there is, instead of the embedded one. For example:",
			"  url: nats://nats1.example:4222,nats2.example:4222", "  credentials: /etc/switchboard/nats.creds")
	}
	return ""
}

// comment returns what the key does, and what it may be, as comment lines.
func (k Key) comment(indent string) string {
	text := k.What
	switch {
	case k.Max > 0:
		text += " " + k.bound(k.Min) + " to " + k.bound(k.Max) + "."
	case len(k.Choices) > 0:
		text += " One of " + strings.Join(k.Choices, ", ") + "."
	}
	return commentLines(indent, text)
}

// links are those to other pages of the documentation, whose first group is the page, as
// docs/settings.md has them.
var links = regexp.MustCompile(`\[[^\]]*\]\(([a-z-]+\.md)[^)]*\)`)

// commentLines wraps a text at about 90 columns, with links as the pages that they lead to.
func commentLines(indent, text string) string {
	const width = 90
	var b strings.Builder
	line := indent + "#"
	for word := range strings.FieldsSeq(links.ReplaceAllString(text, "docs/$1")) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// appsTemplate returns the demo app, written out, with everything else that an
// app may have as blocks that can be uncommented: between the lines of one
// stands no explanation.
func appsTemplate() string {
	what := map[string]string{}
	for _, k := range Keys() {
		if name, ok := strings.CutPrefix(k.Name, "apps[]."); ok {
			what[name] = k.What
		}
	}
	var b strings.Builder
	explain := func(text string) { b.WriteString(commentLines("    ", text)) }
	b.WriteString(commentLines("", "The client applications whose users may sign in. Replace the demo app, which lets anyone in, "+
		"before others than this machine can connect."))
	b.WriteString("apps:\n")
	demo, start := demoApps()[0], "  - "
	for _, line := range [][2]string{
		{"appName", demo.Name}, {"appId", demo.ID}, {"masterUserId", demo.Master}, {"authEnabled", fmt.Sprint(demo.AuthEnabled)},
	} {
		explain(what[line[0]])
		b.WriteString(start + line[0] + ": " + line[1] + "\n")
		start = "    "
	}
	b.WriteString("\n")
	explain("To have sign-ins verified, remove the line \"authEnabled: false\" above, and the # of each line of one of the next four blocks.")
	explain("1. " + what["authUrl"])
	b.WriteString("    #authUrl: https://example.com/auth\n\n")
	explain("2. " + what["jwt.jwksUrl"] + " In this and the next two:")
	explain("issuer: " + what["jwt.issuer"])
	explain("audience: " + what["jwt.audience"])
	b.WriteString(jwtTemplate("jwksUrl: https://example.com/jwks.json"))
	explain("3. " + what["jwt.publicKey"])
	b.WriteString(jwtTemplate("publicKey: |", "  -----BEGIN PUBLIC KEY-----", "  (yours)", "  -----END PUBLIC KEY-----"))
	explain("4. " + what["jwt.secret"])
	b.WriteString(jwtTemplate("secret: (yours)"))
	explain(what["allowApps"])
	b.WriteString("    #allowApps: [OTHER]\n\n")
	b.WriteString(webhooksTemplate(what))
	return b.String()
}

// jwtTemplate returns a commented-out block that verifies tokens with a key.
// What stands for a secret or public key is refused: one that all can read here
// would let anyone in.
func jwtTemplate(key ...string) string {
	var b strings.Builder
	b.WriteString("    #jwt:\n")
	for _, line := range append(key, "issuer: https://example.com/", "audience: switchboard") {
		b.WriteString("    #  " + line + "\n")
	}
	return b.String() + "\n"
}
