// Package api is the HTTP door: health, readiness, metrics and profiles for
// operators, and for clients the way to the socket and the console.
//
// Errors are problem details (RFC 9457) with a stable "code" and a sentence in
// "detail". Every request has limits: header time and size, body time and size,
// answer time, idle time; every server has one on its connections. A panic in a
// handler is logged, answered with 500, and ends no other request. Refusals are
// counted.
package api
