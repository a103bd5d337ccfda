// Package turnstile stands before a public listener: it finds out where a client is, and
// bounds what may come from one address.
//
// # Where a client is
//
// By the connection; or by the header of the PROXY protocol (versions 1 and 2), which the
// connections of some networks have to begin with; or by the one header of HTTP, Forwarded
// (RFC 7239) or X-Forwarded-For, that proxies of some networks add to. Of a chain of them
// the rightmost that is not such a proxy itself counts: what stands further left is the
// client's own word. Handlers find it in http.Request.RemoteAddr, the port being 0 where
// nobody says it.
//
// # What is bounded
//
// Connections at once, requests of HTTP/2 among them, and failed sign-ins a minute, of one
// address. Of IPv6 the network of 64 bits counts, which is what one customer has. What is
// known of addresses is bounded, too: of connections by how many there are, of failures by
// 100 000 entries, of which some go when there are more. An attacker with so many addresses
// has as many tries anyhow.
package turnstile
