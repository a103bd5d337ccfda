package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// OriginAllowed says whether a request may come from its web origin. Programs
// send no Origin and are let through; a page is when it is served by this
// server, is named in origins ("https://host[:port]"), or, with demo, is on
// this machine.
func OriginAllowed(r *http.Request, origins []string, demo bool) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return len(r.Header.Values("Origin")) == 0
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return false // "null" and its like
	}
	switch {
	case strings.EqualFold(u.Host, r.Host):
		return true
	case slices.ContainsFunc(origins, func(o string) bool { return strings.EqualFold(o, origin) }):
		return true
	}
	return demo && isLoopback(u.Hostname())
}

// HostAllowed says whether a request names this server by a loopback name. The
// demo lets nothing else in: a name that an attacker points at 127.0.0.1 would
// make its pages same-origin with ours.
func HostAllowed(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return isLoopback(strings.Trim(host, "[]"))
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
