// Package tlsfiles has what a listener needs for TLS: certificates in files that are
// read again when they change, or that are got by ACME (RFC 8555).
//
// # Promises
//
//   - Nothing that changes in the files costs a connection: those that are open stay, and
//     a handshake gets the certificate before the change or after it, whole.
//   - A pair that is not good (the key of another certificate, half a file, one that has
//     expired) leaves the old one in force. It is logged once, when it has stayed so from
//     one look to the next: in between somebody may be about to replace the second file.
//     For the same reason what is good is taken when it was there a look before.
//   - TLS 1.2 at least. HTTP/2 is offered; who opens a WebSocket offers HTTP/1.1 alone.
//
// It knows nothing of the product.
package tlsfiles
