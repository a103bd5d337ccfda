package socket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/lxzan/gws"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// This file is all that knows lxzan/gws. From it we take the handshake's answer
// and the reading: unmasking, joining of fragments, decompression, UTF-8. It is
// given a connection on which it can neither write nor close: what it would
// answer is noted, and the session answers itself, in its turn.

// readBuffer is the size of a connection's read buffer; larger payloads are
// read past it.
const readBuffer = 1 << 10

// inbound is what hears what a client sends. The slices are valid during the
// call only.
type inbound interface {
	text(message []byte)
	ping(payload []byte)
	pong(payload []byte)
}

// upgrader turns connections into frame readers, all with one limit.
type upgrader struct {
	gws   *gws.Upgrader
	limit int
	wait  time.Duration
}

// newUpgrader makes one for messages of up to limit bytes. Writing the answer
// to a handshake may take as long as wait.
func newUpgrader(limit int, wait time.Duration) *upgrader {
	return &upgrader{limit: limit, wait: wait, gws: gws.NewUpgrader(gwsEvents{}, &gws.ServerOption{
		ReadMaxPayloadSize: limit,
		CheckUtf8Enabled:   true,
		HandshakeTimeout:   wait,
		NewSession:         func() gws.SessionStorage { return nil },
		PermessageDeflate: gws.PermessageDeflate{
			Enabled:  true, // both sides without kept context
			Level:    flate.HuffmanOnly,
			PoolSize: 8,
		},
	})}
}

// frameReader reads the frames of one connection.
type frameReader struct {
	conn *gwsConn
	gws  *gws.Conn
}

// upgrade answers a checked handshake. On an error the connection is closed.
func (u *upgrader) upgrade(conn net.Conn, h handshake, g *guard, in inbound) (*frameReader, error) {
	r := &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {h.key},
	}}
	if h.deflate {
		r.Header.Set("Sec-Websocket-Extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
	g.limit, g.deflate = int64(u.limit), h.deflate
	c := &gwsConn{Conn: conn, guard: g, in: in}
	ws, err := u.gws.UpgradeFromConn(c, bufio.NewReaderSize(g, readBuffer), r)
	if err != nil {
		return nil, fmt.Errorf("answer the handshake: %w", err)
	}
	c.mute = true
	return &frameReader{conn: c, gws: ws}, nil
}

// read calls inbound until the connection is lost, the client closes it, or
// sends what it must not. It returns how the session ends.
func (r *frameReader) read() ending {
	r.gws.ReadLoop()
	c := r.conn
	var closed *gws.CloseError
	switch {
	case errors.As(c.err, &closed): // whatever came after it
		if c.reply == wire.CloseProtocolError || c.reply == wire.CloseInvalidText {
			return fault(c.reply, "the close frame is malformed")
		}
		code := closed.Code
		if code == 0 {
			code = closeSilent
		}
		return ending{code: code, frame: true, send: c.reply, abort: true, peer: true}
	case c.guard.broken != nil:
		return fault(c.guard.broken.code, c.guard.broken.reason)
	case c.guard.err != nil:
		return ending{code: closeLost, abort: true, cause: c.guard.err}
	}
	var status interface{ Uint16() uint16 } // gws's own codes; for a bomb it would send another
	if errors.As(c.err, &status) {
		return fault(status.Uint16(), "")
	}
	if c.reply == wire.CloseInternal {
		return fault(wire.CloseInvalidText, "the message cannot be decompressed")
	}
	return fault(c.reply, "")
}

// fault is the ending of a client that sent what it must not. What else it has
// sent is not read as frames any more.
func fault(code uint16, reason string) ending {
	return ending{code: code, frame: true, send: code, reason: reason, unread: true}
}

// gwsConn is the connection as gws has it.
type gwsConn struct {
	net.Conn
	guard *guard
	in    inbound
	mute  bool // the handshake is over

	reply uint16 // the close code that gws would send; 0 for none
	err   error  // why it stopped
}

// Write notes the close frame that gws sends when it stops reading.
func (c *gwsConn) Write(p []byte) (int, error) {
	if !c.mute {
		return c.Conn.Write(p)
	}
	if len(p) >= 4 && p[0] == finClose {
		c.reply = binary.BigEndian.Uint16(p[2:])
	}
	return len(p), nil
}

// Close does nothing after the handshake: the session closes.
func (c *gwsConn) Close() error {
	if c.mute {
		return nil
	}
	return c.Conn.Close()
}

// gwsEvents passes on what gws reads.
type gwsEvents struct{}

func inboundOf(c *gws.Conn) inbound { return c.NetConn().(*gwsConn).in }

func (gwsEvents) OnOpen(*gws.Conn)               {}
func (gwsEvents) OnPing(c *gws.Conn, p []byte)   { inboundOf(c).ping(p) }
func (gwsEvents) OnPong(c *gws.Conn, p []byte)   { inboundOf(c).pong(p) }
func (gwsEvents) OnClose(c *gws.Conn, err error) { c.NetConn().(*gwsConn).err = err }
func (gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	inboundOf(c).text(m.Bytes())
}
