package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Links says by what this domain and its neighbours know each other.
type Links struct {
	Secret     Secret            `yaml:"secret"`     // of all links that have none of their own
	SecretFile string            `yaml:"secretFile"` // holds it instead
	Secrets    map[string]Secret `yaml:"secrets"`    // by neighbour
	TLS        TLS               `yaml:"tls"`        // what is shown to them, and by whom theirs are signed; none of them is needed
	// RequireCertificate refuses the link of a neighbour that shows no certificate of
	// PublicTLS.ClientCA that names it.
	RequireCertificate bool `yaml:"requireCertificate"`
}

// LinkSecret returns the secret of the link with a neighbour; empty for none. A
// file is read each time, so what is put into it counts from the next sign-in on.
func (s Settings) LinkSecret(domain string) (Secret, error) {
	if secret := s.Links.Secrets[domain]; secret != "" {
		return secret, nil
	}
	if s.Links.SecretFile == "" {
		return s.Links.Secret, nil
	}
	content, err := readRegular(s.Links.SecretFile)
	if err != nil {
		return "", fmt.Errorf("read links.secretFile: %w", err)
	}
	secret := Secret(strings.TrimSpace(string(content)))
	if err := checkLinkSecret(secret); err != nil {
		return "", fmt.Errorf("links.secretFile: %s %w", s.Links.SecretFile, err)
	}
	return secret, nil
}

// LinkNames returns the neighbours that have a secret of their own, in order.
func (s Settings) LinkNames() []string { return sortedNames(s.Links.Secrets) }

// BareLinks says whether links without a secret may come up between any addresses.
func (s Settings) BareLinks() bool {
	return s.InsecureLinks && s.Links.Secret == "" && s.Links.SecretFile == ""
}

// MetaURL says whether the description of all domains comes from a meta server,
// rather than from a file.
func (s Settings) MetaURL() bool { return metaURL(s.Meta) }

func metaURL(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

// leastLinkSecret is how long the secret of a link must be: whoever has it gets
// what is meant for a whole domain.
const leastLinkSecret = 32

func checkLinkSecret(secret Secret) error {
	if len(secret) < leastLinkSecret {
		return fmt.Errorf("is too short: whoever has it gets what is meant for a whole domain; at least %d bytes, as openssl rand -hex 32 makes", leastLinkSecret)
	}
	return nil
}

// checkMeta checks where the description of all domains comes from. What is wrong
// is said without the text: it may carry a password.
func checkMeta(text string) error {
	scheme, _, found := strings.Cut(text, "://")
	switch {
	case metaURL(text):
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Hostname() == "" || checkPort(u.Port()) != nil:
			return errors.New("is not a URL such as http://meta.example:9000")
		case u.User != nil:
			return errors.New("must not carry a user name or password: put what the meta server asks for into metaSecret")
		case u.RawQuery != "" || u.Fragment != "":
			return errors.New("must not have a query or a fragment (?… or #…)")
		}
		return nil
	case found && nameByteAll(scheme):
		return fmt.Errorf("begins with %s://: the URL of a meta server begins with http:// or https://; anything else is a file", scheme)
	case strings.ContainsRune(text, 0):
		return errors.New("is neither the URL of a meta server nor a file")
	}
	return nil
}

func nameByteAll(text string) bool {
	for i := range len(text) {
		if !nameByte(text[i]) {
			return false
		}
	}
	return text != ""
}

// maxDomainName is how long the name of a domain may be, as package domains has it.
const maxDomainName = 59

func checkDomainName(text string) error {
	if text == "" || len(text) > maxDomainName || !nameByteAll(strings.ReplaceAll(text, ".", "_")) {
		return fmt.Errorf("%q is not the name of a domain: 1 to %d letters, digits, _, - and dots", text, maxDomainName)
	}
	return nil
}

// checkDomain notes what is wrong with how this domain is linked to others.
func (c *checker) checkDomain(s Settings) {
	if s.Meta != "" && s.Domain == "" {
		c.refuseBy("meta", "domain", "is required: with meta this domain has to know which of those that are described it is")
	}
	if s.Meta != "" && !s.MetaURL() {
		if info, err := os.Stat(s.Meta); err != nil || !info.Mode().IsRegular() {
			c.refuse("meta", "%s is no file that can be read, and no URL of a meta server (http:// or https://)", s.Meta)
		}
	}
	if s.Meta == "" {
		for _, one := range []struct {
			key string
			is  bool
		}{
			{"links.secret", s.Links.Secret != ""}, {"links.secretFile", s.Links.SecretFile != ""}, {"links.secrets", len(s.Links.Secrets) > 0},
			{"links.tls", s.Links.TLS != TLS{}}, {"links.requireCertificate", s.Links.RequireCertificate},
			{"insecureLinks", s.InsecureLinks}, {"metaSecret", s.MetaSecret != ""}, {"metaCA", s.MetaCA != ""},
		} {
			if one.is {
				c.refuseBy(one.key, "meta", "is required: without it this domain knows no others, and %s means nothing", one.key)
				return
			}
		}
		return
	}
	if s.MetaSecret != "" && !s.MetaURL() {
		c.refuse("metaSecret", "is for a meta server, but meta names a file")
	}
	c.checkLinks(s)
	c.checkLinkTLS(s)
}

// checkLinks notes what is wrong with the secrets of links.
func (c *checker) checkLinks(s Settings) {
	if s.Links.Secret != "" && s.Links.SecretFile != "" {
		c.refuse(c.firstSet("links.secretFile", "links.secret"), "links.secret and links.secretFile exclude each other")
	}
	if s.Links.Secret != "" {
		if err := checkLinkSecret(s.Links.Secret); err != nil {
			c.refuse("links.secret", "%s", err)
		}
	}
	if s.Links.SecretFile != "" {
		if _, err := (Settings{Links: Links{SecretFile: s.Links.SecretFile}}).LinkSecret(""); err != nil {
			c.refuse("links.secretFile", "%s", strings.TrimPrefix(err.Error(), "links.secretFile: "))
		}
	}
	for _, domain := range sortedNames(s.Links.Secrets) {
		if err := checkLinkSecret(s.Links.Secrets[domain]); err != nil {
			c.refuse("links.secrets", "that of %s %s", domain, err)
		}
		if domain == s.Domain {
			c.refuse("links.secrets", "%s is this domain: name its neighbours", domain)
		}
	}
}

func sortedNames(secrets map[string]Secret) []string {
	names := make([]string, 0, len(secrets))
	for name := range secrets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// parseSecrets reads secrets by name: a JSON object, which is how a variable or a
// flag has them. What is wrong is said without the text.
func parseSecrets(text string) (map[string]Secret, error) {
	if text == "" {
		return nil, nil
	}
	var plain map[string]string
	if err := json.Unmarshal([]byte(text), &plain); err != nil {
		return nil, errors.New(`must be a secret for each name, as {"domain-02": "…"}`)
	}
	if len(plain) == 0 {
		return nil, nil
	}
	secrets := make(map[string]Secret, len(plain))
	for name, secret := range plain {
		if err := checkDomainName(name); err != nil {
			return nil, err
		}
		secrets[name] = Secret(secret)
	}
	return secrets, nil
}

// secretsText is what parseSecrets reads.
func secretsText(secrets map[string]Secret) string {
	if len(secrets) == 0 {
		return ""
	}
	plain := make(map[string]string, len(secrets))
	for name, secret := range secrets {
		plain[name] = string(secret)
	}
	text, err := json.Marshal(plain)
	if err != nil {
		panic("config: write secrets: " + err.Error()) // strings always have a JSON
	}
	return string(text)
}

// secrets reads secrets that stand by name in the file.
func (r *fileReader) secrets(k Key, n *yaml.Node) {
	plain := map[string]Secret{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolve(n.Content[i+1])
		if _, twice := plain[name.Value]; twice {
			r.refuse(r.at(name), k.Name, "%s is set twice", name.Value)
			return
		}
		text, ok := r.scalar(k.Name, value)
		if !ok {
			return
		}
		plain[name.Value] = Secret(text)
	}
	r.put(k, r.at(n), secretsText(plain))
}

func secretsNode(secrets map[string]Secret) *yaml.Node {
	n := mapping()
	if len(secrets) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, name := range sortedNames(secrets) {
		add(n, name, textNode(secrets[name].String()))
	}
	return n
}

func domainKeys() []Key {
	key := func(name, kind, def, what string, field func(*Settings) any) Key {
		return Key{Name: name, Kind: kind, Default: def, What: what, optional: def == "", field: field}
	}
	return []Key{
		key("domain", kindDomain, "", "The name of the site that this node belongs to: 1 to 59 letters, digits, _, - and dots. With meta it is one of those that are described there.",
			func(s *Settings) any { return &s.Domain }),
		key("meta", kindMeta, "", "Where the description of all domains comes from: the URL of a meta server, such as http://meta.example:9000, or a file as it reads one. Without it there are no other domains.",
			func(s *Settings) any { return &s.Meta }),
		key("metaSecret", kindSecret, "", "What the meta server asks for (its --secret-file), if it does.",
			func(s *Settings) any { return &s.MetaSecret }),
		key("metaCA", kindFile, "", "File with the certificates of who signed that of the meta server, in PEM, where it is at https://. The system's if absent.",
			func(s *Settings) any { return &s.MetaCA }),
		key("links.secret", kindSecret, "", "What this domain and its neighbours know each other by, the same at both ends of a link, at least 32 bytes. Without a secret a link comes up between loopback addresses only.",
			func(s *Settings) any { return &s.Links.Secret }),
		key("links.secretFile", kindFile, "", "File that holds it, instead. It is read at each sign-in.",
			func(s *Settings) any { return &s.Links.SecretFile }),
		key("links.secrets", kindSecrets, "", "Secrets for the links with some neighbours, by their names, which go before the one for all.",
			func(s *Settings) any { return &s.Links.Secrets }),
		key("links.tls.cert", kindFile, "", "File with the certificate that neighbours at wss:// are shown, in PEM, which names this domain (as its common name or a DNS name). It is read at each attempt, as are the next two.",
			func(s *Settings) any { return &s.Links.TLS.Cert }),
		key("links.tls.key", kindFile, "", "File with its key.",
			func(s *Settings) any { return &s.Links.TLS.Key }),
		key("links.tls.ca", kindFile, "", "File with the certificates of who signed those of neighbours. The system's if absent.",
			func(s *Settings) any { return &s.Links.TLS.CA }),
		key("links.requireCertificate", kindSwitch, "false", "Whether the link of a neighbour is refused that shows no certificate of tls.clientCA with the neighbour's name, besides the secret.",
			func(s *Settings) any { return &s.Links.RequireCertificate }),
		key("insecureLinks", kindSwitch, "false", "Whether a link without a secret may come up between any addresses: then anyone who reaches this domain can take what is meant for a neighbour.",
			func(s *Settings) any { return &s.InsecureLinks }),
	}
}
