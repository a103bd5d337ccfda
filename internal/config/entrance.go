package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// PublicTLS says what clients at Listen are shown. Without Cert and without domains of
// ACME they talk in clear.
type PublicTLS struct {
	Cert     string `yaml:"cert"`     // PEM: the certificate, and those between it and who is trusted
	Key      string `yaml:"key"`      // PEM
	ClientCA string `yaml:"clientCA"` // PEM: who signed certificates that clients may show
	ACME     ACME   `yaml:"acme"`
}

// On says whether clients talk over TLS.
func (t PublicTLS) On() bool { return t.Cert != "" || len(t.ACME.Domains) > 0 }

// ACME says where certificates are got by RFC 8555.
type ACME struct {
	Domains     []string `yaml:"domains"` // host names; empty: none are got
	Email       string   `yaml:"email"`
	Directory   string   `yaml:"directory"` // https URL
	CA          string   `yaml:"ca"`        // PEM: who signed that server's own certificate; empty: the system's
	AcceptTerms bool     `yaml:"acceptTerms"`
	Cache       string   `yaml:"cache"`  // folder; empty: in the data folder
	Listen      string   `yaml:"listen"` // for http-01, beside tls-alpn-01 at Settings.Listen; empty: none
}

// AdminTLS says what operators at Admin are shown, and have to show.
type AdminTLS struct {
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	ClientCA string `yaml:"clientCA"` // then everybody has to show a certificate
}

// Proxies says whom to believe where a client is.
type Proxies struct {
	ProtocolFrom []string `yaml:"protocolFrom"` // CIDRs whose connections begin with PROXY
	Trusted      []string `yaml:"trusted"`      // CIDRs whose Header counts
	Header       string   `yaml:"header"`       // X-Forwarded-For or Forwarded
}

// Audit says where it is written down who signed in, was refused, and changed what.
type Audit struct {
	File string `yaml:"file"` // JSON lines; "-": standard output; empty: nowhere
}

// Networks returns a list of networks, which was checked, as such.
func Networks(list []string) []netip.Prefix {
	networks := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			networks = append(networks, p)
		}
	}
	return networks
}

// parseNetwork checks an address or a network, and returns it as the latter.
func parseNetwork(text string) (string, error) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 { // IPv4, as programs with one kind of socket write it
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is neither an address nor a network, as 10.0.0.0/8 or 2001:db8::/32", text)
	case p != p.Masked():
		return "", fmt.Errorf("%q has bits behind its length: did you mean %s?", text, p.Masked())
	}
	return p.String(), nil
}

// parseHost checks the name of a host as certificates have it.
func parseHost(text string) (string, error) {
	name := strings.ToLower(text)
	_, isIP := netip.ParseAddr(name)
	switch {
	case strings.Contains(name, "*"):
		return "", fmt.Errorf("%q is a pattern: certificates for those are not got by tls-alpn-01 or http-01; name each host", text)
	case isIP == nil || !strings.Contains(name, ".") || len(name) > 253 || !plainHost.MatchString(name) || strings.Contains(name, ":"):
		return "", fmt.Errorf("%q is not the name of a host, as chat.example is", text)
	}
	return name, nil
}

// checkDirectory checks where an ACME server is.
func checkDirectory(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || checkPort(u.Port()) != nil {
		return fmt.Errorf("%s is not the URL of an ACME directory: it begins with https://", said(text))
	}
	return nil
}

// checkEntrance notes what is wrong with certificates of listeners, and with who comes
// in there.
func (c *checker) checkEntrance(s Settings) {
	t := s.TLS
	c.checkPair("tls", t.Cert, t.Key, t.ClientCA)
	if t.ClientCA != "" && !t.On() {
		c.refuse("tls.clientCA", "takes tls.cert or tls.acme: nobody shows a certificate without TLS")
	}
	c.checkPair("adminTLS", s.AdminTLS.Cert, s.AdminTLS.Key, s.AdminTLS.ClientCA)
	if s.AdminTLS.ClientCA != "" && s.AdminTLS.Cert == "" {
		c.refuse("adminTLS.clientCA", "takes adminTLS.cert: nobody shows a certificate without TLS")
	}
	c.checkACME(s)
	if s.Audit.File != "" && s.Audit.File != "-" && strings.HasSuffix(s.Audit.File, "/") {
		c.refuse("audit.file", "%s is a folder: name a file, or - for standard output", s.Audit.File)
	}
}

// checkPair notes a certificate without its key, and files that are none.
func (c *checker) checkPair(group, cert, key, clientCA string) {
	if (cert == "") != (key == "") {
		missing := map[bool]string{true: "cert", false: "key"}[cert == ""]
		c.refuseBy(c.firstSet(group+".cert", group+".key"), group+"."+missing, "is required beside the other")
		return
	}
	if cert == "" && clientCA == "" {
		return
	}
	if _, err := (TLS{Cert: cert, Key: key, CA: clientCA}).Config(); err != nil {
		c.refuseBy(c.firstSet(group+".cert", group+".key", group+".clientCA"), group, "%s", err)
	}
}

func (c *checker) checkACME(s Settings) {
	a := s.TLS.ACME
	if len(a.Domains) == 0 {
		for _, one := range []struct {
			key string
			is  bool
		}{{"email", a.Email != ""}, {"ca", a.CA != ""}, {"acceptTerms", a.AcceptTerms}, {"cache", a.Cache != ""}, {"listen", a.Listen != ""}} {
			if one.is {
				c.refuseBy("tls.acme."+one.key, "tls.acme.domains", "is required: without it no certificates are got, and tls.acme.%s means nothing", one.key)
				return
			}
		}
		return
	}
	if s.TLS.Cert != "" {
		c.refuse(c.firstSet("tls.acme.domains", "tls.cert"), "tls.cert and tls.acme.domains exclude each other: certificates stand in files, or are got")
	}
	if !a.AcceptTerms {
		c.refuseBy("tls.acme.domains", "tls.acme.acceptTerms", "must be true: who runs the ACME server gives certificates only to those who agree to its terms; read them first")
	}
	if a.CA != "" {
		if _, err := (TLS{CA: a.CA}).Config(); err != nil {
			c.refuse("tls.acme.ca", "%s", err)
		}
	}
	for _, other := range []struct{ key, address string }{{"listen", s.Listen}, {"admin", s.Admin}} {
		if a.Listen != "" && sameAddress(a.Listen, other.address) {
			c.refuse(c.firstSet("tls.acme.listen", other.key), "tls.acme.listen (%s) and %s (%s) want the same port", a.Listen, other.key, other.address)
		}
	}
}

// checkLinkTLS notes what is wrong with certificates of links and of the meta server.
func (c *checker) checkLinkTLS(s Settings) {
	c.checkTLS("links.tls", s.Links.TLS, false)
	if s.Links.RequireCertificate && s.TLS.ClientCA == "" {
		c.refuseBy("links.requireCertificate", "tls.clientCA", "is required: without it nobody can tell whose the certificates of neighbours are")
	}
	if s.MetaCA == "" {
		return
	}
	if !strings.HasPrefix(s.Meta, "https://") {
		c.refuse("metaCA", "is for a meta server at https://, but meta is %s", s.Meta)
		return
	}
	if _, err := (TLS{CA: s.MetaCA}).Config(); err != nil {
		c.refuse("metaCA", "%s", err)
	}
}

// MetaTLS returns how the meta server's certificate is checked; nil for as usual.
func (s Settings) MetaTLS() (*tls.Config, error) { return TLS{CA: s.MetaCA}.client("metaCA") }

// LinkTLS returns what neighbours are shown, and how theirs are checked; nil for as usual.
// The files are read each time.
func (s Settings) LinkTLS() (*tls.Config, error) { return s.Links.TLS.client("links.tls") }

// client reads the files for who connects.
func (t TLS) client(key string) (*tls.Config, error) {
	c, err := t.Config()
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w", key, err)
	}
	return c, nil
}

// checkAudit checks where the audit log is written.
func checkAudit(text string) error {
	if strings.ContainsRune(text, 0) {
		return errors.New("must name a file, or be - for standard output")
	}
	return nil
}

// PublicScheme returns what the address of Listen begins with for HTTP, and for
// WebSockets.
func (s Settings) PublicScheme() (http, ws string) {
	if s.TLS.On() {
		return "https", "wss"
	}
	return "http", "ws"
}

// AdminScheme returns what the address of Admin begins with.
func (s Settings) AdminScheme() string {
	if s.AdminTLS.Cert != "" {
		return "https"
	}
	return "http"
}

func entranceKeys() []Key {
	key := func(name, kind, def, what string, field func(*Settings) any) Key {
		return Key{Name: name, Kind: kind, Default: def, What: what, optional: def == "", field: field}
	}
	return []Key{
		key("tls.cert", kindFile, "", "File with the certificate that clients at listen are shown, in PEM, with those between it and who is trusted. With it they come by https and wss. It is read again when it changes.",
			func(s *Settings) any { return &s.TLS.Cert }),
		key("tls.key", kindFile, "", "File with its key, likewise.",
			func(s *Settings) any { return &s.TLS.Key }),
		key("tls.clientCA", kindFile, "", "File with the certificates of who signed those that clients may show, likewise. Nobody has to show one but neighbours, with links.requireCertificate; one that is not signed so is refused.",
			func(s *Settings) any { return &s.TLS.ClientCA }),
		key("tls.acme.domains", kindHosts, "", "Names of hosts for which certificates are got by ACME, instead of tls.cert; the first is shown to who names none.",
			func(s *Settings) any { return &s.TLS.ACME.Domains }),
		key("tls.acme.email", kindLine, "", "Where the ACME server writes to when something is wrong with a certificate.",
			func(s *Settings) any { return &s.TLS.ACME.Email }),
		key("tls.acme.directory", kindDirectory, "https://acme-v02.api.letsencrypt.org/directory", "The directory of the ACME server.",
			func(s *Settings) any { return &s.TLS.ACME.Directory }),
		key("tls.acme.ca", kindFile, "", "File with the certificates of who signed that server's own. The system's if absent.",
			func(s *Settings) any { return &s.TLS.ACME.CA }),
		key("tls.acme.acceptTerms", kindSwitch, "false", "Whether you agree to the terms of who runs it. With tls.acme.domains it must be true.",
			func(s *Settings) any { return &s.TLS.ACME.AcceptTerms }),
		key("tls.acme.cache", kindFile, "", "The folder where account and certificates are kept. The folder acme in the data folder if absent.",
			func(s *Settings) any { return &s.TLS.ACME.Cache }),
		key("tls.acme.listen", kindAddress, "", "Where the ACME server may look by http-01, which has to be port 80 from outside; others are sent on to https there. Without it tls-alpn-01 alone is used, at listen, which has to be port 443 from outside.",
			func(s *Settings) any { return &s.TLS.ACME.Listen }),
		key("adminTLS.cert", kindFile, "", "File with the certificate that operators at admin are shown, in PEM. It is read again when it changes.",
			func(s *Settings) any { return &s.AdminTLS.Cert }),
		key("adminTLS.key", kindFile, "", "File with its key, likewise.",
			func(s *Settings) any { return &s.AdminTLS.Key }),
		key("adminTLS.clientCA", kindFile, "", "File with the certificates of who signed those of operators, likewise. With it everybody at admin has to show one, /healthz and /readyz included.",
			func(s *Settings) any { return &s.AdminTLS.ClientCA }),
		key("proxies.protocolFrom", kindNetworks, "", "Addresses and networks of proxies whose connections to listen begin with a header of the PROXY protocol, version 1 or 2, which says where the client is. From these it is required; from others it is refused as no HTTP.",
			func(s *Settings) any { return &s.Proxies.ProtocolFrom }),
		key("proxies.trusted", kindNetworks, "", "Addresses and networks of proxies that say in proxies.header where a client is. From others it is not looked at.",
			func(s *Settings) any { return &s.Proxies.Trusted }),
		Key{
			Name: "proxies.header", Kind: kindChoice, Default: "X-Forwarded-For", Choices: []string{"X-Forwarded-For", "Forwarded"},
			What:  "The header to which those add. The other one, which they may hand on as a client wrote it, is not looked at.",
			field: func(s *Settings) any { return &s.Proxies.Header },
		},
		key("audit.file", kindAudit, "", "Where it is written, as a JSON line each, who signed in or out, was refused, and changed what; - for standard output. SIGHUP has it opened anew. Without it nothing is written.",
			func(s *Settings) any { return &s.Audit.File }),
	}
}

// strangerLimits bound what somebody may do of whom only the address is known, and what
// everybody sends.
func strangerLimits() []Key {
	const most = 1_000_000_000
	return []Key{
		count("connectionsPerAddress", "1000", 1, 10_000_000, "Connections to listen, and to tls.acme.listen, from one address, WebSockets included; of IPv6 from one network of 64 bits. Each request of HTTP/2 that is under way counts as one, too. One more is closed at once, or refused with 429 by HTTP/2 and behind a trusted proxy.",
			func(l *Limits) any { return &l.ConnectionsPerAddress }),
		count("failedSignIns", "60", 1, most, "Sign-ins from one address, counted likewise, that may fail in a minute: on sockets, with API keys, access tokens and tokens of apps, at the simple door and at routes of the gateway, too. Further ones are refused with RATE_LIMITED until some time is over; a good API key or access token is let in all the same, as it cannot be guessed.",
			func(l *Limits) any { return &l.FailedSignIns }),
		count("frameRate", "1000", 1, most, "Frames a second that one session may send, on average; ten seconds' worth may come at once. Further ones are refused with RATE_LIMITED, and of a device at the simple door dropped. Acknowledgements do not count, what is no frame does.",
			func(l *Limits) any { return &l.FrameRate }),
		size("byteRate", "4MiB", 64*KiB, 64*GiB, "Bytes of frames a second that one session may send, likewise.",
			func(l *Limits) any { return &l.ByteRate }),
		count("userFrameRate", "4000", 1, most, "Frames a second that all sessions of one user on this node may send together, likewise.",
			func(l *Limits) any { return &l.UserFrameRate }),
		size("userByteRate", "16MiB", 64*KiB, 64*GiB, "Bytes of frames a second that they may send together, likewise.",
			func(l *Limits) any { return &l.UserByteRate }),
		count("appFrameRate", "1000000", 1, most, "Frames a second that all users of one app on this node may send together, likewise.",
			func(l *Limits) any { return &l.AppFrameRate }),
		size("appByteRate", "1GiB", 64*KiB, 64*GiB, "Bytes of frames a second that they may send together, likewise.",
			func(l *Limits) any { return &l.AppByteRate }),
		{Name: "limits.exempt", Kind: kindNetworks, Default: "127.0.0.0/8,::1/128", Live: true, optional: true,
			What:  "Addresses and networks for which the limits above that count by address, session, user and app do not hold: from connectionsPerAddress to appByteRate. Behind a proxy on this machine name it in proxies.trusted, or nobody is bound by them.",
			field: func(s *Settings) any { return &s.Limits.Exempt }},
	}
}
