package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// WebhookEvents returns the kinds of events that a webhook may be told of.
func WebhookEvents() []string {
	return []string{"connected", "disconnected", "delivered", "undelivered", "expired"}
}

// webhookSecretPrefix begins a secret that is written in base64.
const webhookSecretPrefix = "whsec_"

// WebhookKey returns the bytes that a secret of a webhook stands for: what
// follows "whsec_" in base64, 24 to 64 bytes as Standard Webhooks has it, or
// else the text itself, at least 32 bytes.
func WebhookKey(secret Secret) ([]byte, error) {
	text, encoded := strings.CutPrefix(string(secret), webhookSecretPrefix)
	if !encoded {
		if len(text) < 32 {
			return nil, errors.New("is too short: write whsec_ and base64, or at least 32 bytes of text")
		}
		return []byte(text), nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("begins with whsec_, so base64 must follow (with + and /, and = at the end where it is due)")
	}
	if len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("has %d bytes in base64: whsec_ is followed by 24 to 64", len(key))
	}
	return key, nil
}

// readWebhooks reads the list of an app's webhooks, as readApps does.
func (r *fileReader) readWebhooks(key string, n *yaml.Node) []Webhook {
	if n.Kind != yaml.SequenceNode {
		r.refuse(r.at(n), key, "must be a list of webhooks")
		return nil
	}
	list := make([]Webhook, len(n.Content))
	for i, item := range n.Content {
		list[i] = r.readWebhook(key+"["+strconv.Itoa(i)+"]", resolve(item))
	}
	return list
}

func (r *fileReader) readWebhook(key string, n *yaml.Node) Webhook {
	r.places[key] = r.at(n)
	var w Webhook
	for _, f := range r.fields(n, key+".", childrenOf("apps[].webhooks[].")) {
		path := key + "." + f.name
		r.places[path] = r.at(f.value)
		switch f.name {
		case "events":
			list, _ := r.list(path, f.value)
			w.Events = textsOf(list)
			continue
		case "allowPrivate":
			w.AllowPrivate = r.boolean(path, f.value)
			continue
		}
		text, _ := r.scalar(path, f.value)
		switch f.name {
		case "name":
			w.Name = text
		case "url":
			w.URL, w.HideURL = text, r.hidden[path]
		case "secret":
			w.Secret = Secret(text)
		case "secondSecret":
			w.SecondSecret = Secret(text)
		}
	}
	return w
}

// checkWebhooks notes what is wrong with an app's webhooks.
func (c *checker) checkWebhooks(key string, list []Webhook, events []string) {
	for i, w := range list {
		c.checkWebhook(key+"["+strconv.Itoa(i)+"].", w, list[:i], events)
	}
}

func (c *checker) checkWebhook(key string, w Webhook, before []Webhook, events []string) {
	switch {
	case w.Name == "":
		c.refuse(key+"name", "is required")
	case !validWebhookName(w.Name):
		c.refuse(key+"name", "%q is not a webhook's name: 1 to 64 letters, digits, _ and -", w.Name)
	case slices.ContainsFunc(before, func(b Webhook) bool { return b.Name == w.Name }):
		c.refuse(key+"name", "%q is named twice in this app", w.Name)
	}
	c.checkWebhookURL(key+"url", w)
	if w.Secret == "" {
		c.refuse(key+"secret", "is required")
	} else if _, err := WebhookKey(w.Secret); err != nil {
		c.refuse(key+"secret", "%s", err)
	}
	if w.SecondSecret != "" {
		if _, err := WebhookKey(w.SecondSecret); err != nil {
			c.refuse(key+"secondSecret", "%s", err)
		}
	}
	if len(w.Events) == 0 {
		c.refuse(key+"events", "must name at least one of %s", strings.Join(events, ", "))
	}
	for i, event := range w.Events {
		if !slices.Contains(events, event) {
			c.refuse(key+"events", "%q is none of %s%s", event, strings.Join(events, ", "), DidYouMean(event, events))
		} else if slices.Contains(w.Events[:i], event) {
			c.refuse(key+"events", "%q is named twice", event)
		}
	}
}

// checkWebhookURL checks the URL. An address that is written out and will not be
// dialled is refused here already, so that it is not found out only when nothing
// arrives; names are looked up when they are dialled.
func (c *checker) checkWebhookURL(key string, w Webhook) {
	if w.URL == "" {
		c.refuse(key, "is required")
		return
	}
	if err := checkURL(w.URL); err != nil {
		c.refuse(key, "%s", err)
		return
	}
	if u, err := url.Parse(w.URL); err == nil && !w.AllowPrivate && privateHost(u.Hostname()) {
		c.refuse(key, "%s is no address of the public network, but of this machine, a private network or a special use: if it is meant, write allowPrivate: true", u.Hostname())
	}
}

// privateHost says whether a host is written as this machine, or as an address
// that is not on the public network.
func privateHost(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && !PublicAddress(ip)
}

// validWebhookName says whether a webhook may have the name, which is part of
// paths, subjects and labels.
func validWebhookName(name string) bool {
	for _, c := range []byte(name) {
		if c != '-' && !validAppName(string(c)) {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 64
}

func (s Settings) webhooksNode(key string, list []Webhook) *yaml.Node {
	nodes := &yaml.Node{Kind: yaml.SequenceNode}
	for i, w := range list {
		n := mapping()
		add(n, "name", textNode(w.Name))
		add(n, "url", textNode(s.shown(key+"["+strconv.Itoa(i)+"].url", redactedURL(w.URL))))
		addText(n, "secret", w.Secret.String())
		addText(n, "secondSecret", w.SecondSecret.String())
		add(n, "events", listNode(w.Events))
		if w.AllowPrivate {
			add(n, "allowPrivate", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
		}
		nodes.Content = append(nodes.Content, n)
	}
	return nodes
}

// webhooksTemplate returns a commented-out webhook with everything that it may
// have, explained before.
func webhooksTemplate(what map[string]string) string {
	var b strings.Builder
	b.WriteString(commentLines("    ", "Where the app's own server is told of events, as docs/webhooks.md has it:"))
	for _, name := range childrenOf("apps[].webhooks[].") {
		b.WriteString(commentLines("    ", name+": "+what["webhooks[]."+name]))
	}
	for _, line := range []string{
		"#webhooks:",
		"#  - name: backend",
		"#    url: https://example.com/switchboard",
		"#    secret: (yours)",
		"#    secondSecret:",
		"#    events: [" + strings.Join(WebhookEvents(), ", ") + "]",
		"#    allowPrivate: false",
	} {
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}
