package config

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// Relay says which network of a relay the console shows. Without a Network it shows
// none.
type Relay struct {
	Network    string `yaml:"network"`    // host:port or URL of its network server
	SecretFile string `yaml:"secretFile"` // what its calls ask for, or empty
	CA         string `yaml:"ca"`         // file in PEM: who signed its certificate; empty: the system's
}

// checkRelay checks the address of a network server.
func checkRelay(text string) error {
	if !strings.Contains(text, "://") {
		host, port, err := net.SplitHostPort(text)
		if err != nil || host == "" || port == "0" || checkPort(port) != nil {
			return errors.New("is not host:port, as in 127.0.0.1:9200, nor a URL of a network server")
		}
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || checkPort(u.Port()) != nil:
		return errors.New("is not a URL such as https://relay.example:9200, nor host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("must not carry a user name, a query or a fragment: what the network server asks for goes into relay.secretFile")
	}
	return nil
}

// checkRelayUse notes what is set of a network that is not named, and files that
// cannot be read.
func (c *checker) checkRelayUse(r Relay) {
	for _, one := range []struct{ key, file string }{{"relay.secretFile", r.SecretFile}, {"relay.ca", r.CA}} {
		if one.file == "" {
			continue
		}
		if r.Network == "" {
			c.refuseBy(one.key, "relay.network", "is required: without it no relay is shown, and %s means nothing", one.key)
			return
		}
		if _, err := readRegular(one.file); err != nil {
			c.refuse(one.key, "%s", err)
		}
	}
}

func relayKeys() []Key {
	return []Key{
		{Name: "relay.network", Kind: kindRelay, optional: true,
			What:  "The network server of a relay, as host:port or a URL: the console shows its clusters, uploaders and failures. Without it none is shown.",
			field: func(s *Settings) any { return &s.Relay.Network }},
		{Name: "relay.secretFile", Kind: kindFile, optional: true,
			What:  "File with the secret that the network server asks for, if it does. It is read each time.",
			field: func(s *Settings) any { return &s.Relay.SecretFile }},
		{Name: "relay.ca", Kind: kindFile, optional: true,
			What:  "File with the certificates of who signed the network server's, in PEM. The system's if absent. With it an address without a scheme is asked over TLS.",
			field: func(s *Settings) any { return &s.Relay.CA }},
	}
}
