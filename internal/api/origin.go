package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-3d8c1042/switchboard/internal/turnstile"
)

// OriginAllowed says whether a request may come from its web origin. Programs
// send no Origin and are let through; a page is when it is served by this
// server, is named in origins ("https://host[:port]"), or, with demo, is on
// this machine.
//
// Where this server was asked by TLS, or a trusted proxy says so of itself, a page that
// came in clear is none of its own: anybody on the way may have written it. Otherwise the
// scheme is not compared: a proxy may have ended TLS in front of it.
func OriginAllowed(r *http.Request, origins []string, demo bool) bool {
	sent := r.Header.Values("Origin")
	if len(sent) == 0 {
		return true
	}
	scheme, host, ok := splitOrigin(sent[0])
	if !ok || len(sent) > 1 {
		return false
	}
	if host == withoutPort(r.Host, scheme) && (scheme == "https" || !turnstile.Secure(r)) {
		return true
	}
	named := slices.ContainsFunc(origins, func(o string) bool {
		s, h, ok := splitOrigin(o)
		return ok && s == scheme && h == host
	})
	return named || demo && isLoopback(host)
}

// splitOrigin takes an origin apart: scheme and host in lower case, without the
// scheme's own port. "null" and its like are none.
func splitOrigin(origin string) (scheme, host string, ok bool) {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", "", false
	}
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", false
	}
	return u.Scheme, withoutPort(u.Host, u.Scheme), true
}

// withoutPort returns host[:port] in lower case, without the scheme's own port.
func withoutPort(host, scheme string) string {
	own := ":80"
	if scheme == "https" {
		own = ":443"
	}
	return strings.TrimSuffix(strings.ToLower(host), own)
}

// HostAllowed says whether a request names this server by a loopback name. The
// demo lets nothing else in: a name that an attacker points at 127.0.0.1 would
// make its pages same-origin with ours.
func HostAllowed(r *http.Request) bool { return isLoopback(r.Host) }

// isLoopback says whether host[:port] is localhost, a name below it, which
// browsers never look up, or a loopback address.
func isLoopback(host string) bool {
	name := strings.ToLower(host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	} else if len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']' {
		name = name[1 : len(name)-1]
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}
