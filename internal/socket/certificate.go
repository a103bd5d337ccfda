package socket

import (
	"crypto/tls"
	"net"
)

// certificateNames returns whom the certificate names that a client has shown and that
// was verified: its common name and its DNS names. Nil where there is none.
func certificateNames(conn net.Conn) []string {
	secured, ok := conn.(*tls.Conn)
	for !ok {
		around, more := conn.(interface{ NetConn() net.Conn })
		if !more {
			return nil
		}
		conn = around.NetConn()
		secured, ok = conn.(*tls.Conn)
	}
	state := secured.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	return append([]string{leaf.Subject.CommonName}, leaf.DNSNames...)
}
