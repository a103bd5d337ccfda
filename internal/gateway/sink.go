package gateway

import (
	"bufio"
	"net"
	"net/http"
)

// sink is where an answer goes. The deadline of the client moves on with each write.
type sink struct {
	http.ResponseWriter
	control *http.ResponseController
	client  deadline
	kept    http.Header  // that the door has set, and nobody else may
	begun   func()       // is told when the answer begins
	status  int          // of the answer; 0 before there is any
	why     func() error // says why what lasts was ended; nil: it was not
}

// newSink takes over an answer of which nothing is written yet.
func (g *Gateway) newSink(w http.ResponseWriter, c *http.ResponseController) *sink {
	s := &sink{ResponseWriter: w, control: c, client: deadline{set: c.SetWriteDeadline, now: g.opts.Now, time: g.clientTime}}
	if h := w.Header(); len(h) > 0 {
		s.kept = h.Clone()
		clear(h)
	}
	return s
}

// WriteHeader implements http.ResponseWriter.
func (s *sink) WriteHeader(status int) {
	s.client.move()
	if status < 200 {
		s.ResponseWriter.WriteHeader(status)
		return
	}
	if s.status != 0 {
		return
	}
	s.status = status
	h := s.Header()
	for name, values := range s.kept {
		if name == "Vary" {
			values = append(values, h[name]...)
		}
		h[name] = values
	}
	s.begin()
	s.ResponseWriter.WriteHeader(status)
}

func (s *sink) begin() {
	if s.begun != nil {
		s.begun()
	}
}

// Write implements http.ResponseWriter.
func (s *sink) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.WriteHeader(http.StatusOK)
	}
	s.client.move()
	return s.ResponseWriter.Write(p)
}

// FlushError is for http.ResponseController.
func (s *sink) FlushError() error {
	if s.status == 0 {
		s.WriteHeader(http.StatusOK)
	}
	s.client.move()
	return s.control.Flush()
}

// Hijack implements http.Hijacker, for WebSockets.
func (s *sink) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := s.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	s.status = http.StatusSwitchingProtocols
	s.begin()
	u := &upgraded{Conn: conn, early: rw.Reader, client: s.client, why: s.why}
	u.client.set = conn.SetWriteDeadline
	return u, rw, nil
}
