package apps

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// LinkAppID is the appId with which the user of a link signs in.
const LinkAppID = "link"

// Link is a link from another domain, as it signs in here.
type Link struct {
	Domain string // the neighbour
	Secret string // what it shows as its token; empty: it needs none
	// Open lets a link without a secret come from any address. Otherwise only a
	// neighbour on this machine may do without: see Loopback.
	Open bool
	// Loopback says that this domain and the neighbour are both described as being
	// on this machine. An address alone does not tell: a proxy that stands before
	// this server has a loopback address, whoever stands before it.
	Loopback bool
	// Certificate says that the neighbour has to show a certificate, too, with Domain as
	// its common name or one of its DNS names.
	Certificate bool
	// Err says why the secret is not known, for the log: then nobody is let in.
	Err error
}

// AuthenticateLink says whether the user of a link may sign in now, from an
// address (host:port), with a certificate of these names that was verified, or with none.
// The error is always a *[Refusal].
func (r *Registry) AuthenticateLink(a wire.Auth, address string, names ...string) (Grant, error) {
	link, known := r.link(a.User)
	refusal := refuse(wire.CodeUnknownApp, reasonNoNeighbour, nil)
	if known {
		if refusal = r.decideLink(a, address, link); refusal == nil {
			refusal = link.decideCertificate(names)
		}
	}
	r.metrics.link(refusal)
	if refusal != nil {
		refusal.Domain = link.Domain
		return Grant{}, refusal
	}
	return Grant{User: a.User, Domain: link.Domain}, nil
}

// decideLink decides about the link of a neighbour.
func (r *Registry) decideLink(a wire.Auth, address string, link Link) *Refusal {
	switch {
	case a.AppID != LinkAppID:
		return refuse(wire.CodeWrongAppID, reasonWrongLinkID, nil)
	case link.Err != nil:
		return refuse(wire.CodeRefused, reasonNoLinkSecret, link.Err)
	case link.Secret != "":
		var cause error
		if a.Token == "" {
			cause = errors.New("the neighbour shows none: put this domain's into the setting links.secret there, or into links.secrets under this domain's name")
		}
		if subtle.ConstantTimeCompare([]byte(link.Secret), []byte(a.Token)) != 1 {
			return refuse(wire.CodeBadToken, reasonLinkSecret, cause)
		}
		return nil
	case a.Token != "":
		// One end has a secret and the other none: whoever set it believes that it is
		// asked for.
		return refuse(wire.CodeBadToken, reasonLinkSecret, fmt.Errorf("the neighbour shows a secret, but this domain has none for the link: put it into the setting links.secret here, or into links.secrets under the name %s", link.Domain))
	case !link.Open && !(link.Loopback && isLoopback(address)):
		return refuse(wire.CodeRefused, reasonBareLink, errors.New("put the same secret into the setting links.secret of both domains"))
	}
	r.env.log.Warn("a link without a secret has signed in: give both domains the same links.secret", "domain", link.Domain, "addr", address)
	return nil
}

// decideCertificate decides about the certificate of a neighbour that may sign in else.
func (l Link) decideCertificate(names []string) *Refusal {
	fits := func(name string) bool { return strings.EqualFold(name, l.Domain) }
	switch {
	case !l.Certificate || slices.ContainsFunc(names, fits):
		return nil
	case len(names) == 0:
		return refuse(wire.CodeRefused, reasonLinkCertificate, errors.New("it has shown none: links.tls.cert names one there"))
	}
	return refuse(wire.CodeRefused, reasonLinkCertificate, fmt.Errorf("its certificate is that of %.200q: give it one with the common name %s", names, l.Domain))
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
