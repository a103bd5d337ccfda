package nodetest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// floods are much of what is allowed, or of what is ignored.
func floods(t *testing.T, s *Server) int {
	const many = 20_000
	message := toSelf(`"` + string(bytes.Repeat([]byte("x"), many)) + `"`)
	tiny := rawFrame(0x01, message[:1])
	for i := 1; i < len(message); i++ {
		tiny = append(tiny, rawFrame(rawMore, message[i:i+1])...)
	}
	tiny = append(tiny, rawFrame(rawFin|rawMore, "")...)
	var pongs []byte
	for i := range many {
		pongs = append(pongs, rawFrame(rawPong, fmt.Sprint(uint64(i)*0x9e3779b97f4a7c15))...)
	}
	cases := []badStream{
		{name: "pings", send: bytes.Repeat(rawFrame(rawPing, "are you there?"), many)},
		{name: "pongs with numbers that were never sent", send: pongs},
		{name: "fragments of one byte", send: tiny, want: []string{fromSelf(`"` + string(bytes.Repeat([]byte("x"), many)) + `"`)}},
		{name: "empty fragments", send: bytes.Join([][]byte{rawFrame(0x01, ""), bytes.Repeat(rawFrame(rawMore, ""), 5*many), rawFrame(rawFin|rawMore, "")}, nil),
			want: []string{"INVALID_MESSAGE NOT_JSON"}},
		{name: "pings between fragments", want: []string{fromSelf(`1`)},
			send: bytes.Join([][]byte{rawFrame(0x01, toSelf(`1`)), bytes.Repeat(rawFrame(rawPing, "x"), many), rawFrame(rawFin|rawMore, "")}, nil)},
	}
	before := s.Metric("switchboard_socket_pongs_ignored_total")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
	if n := s.Metric("switchboard_socket_pongs_ignored_total") - before; n < many {
		t.Errorf("%v pongs were counted as ignored, want at least %d", n, many)
	}
	t.Run("garbage", func(t *testing.T) { garbage(t, s) })
	t.Run("garbage at once", func(t *testing.T) { garbageAtOnce(t, s) })
	t.Run("declared and not sent", func(t *testing.T) { declared(t, s) })
	t.Run("connections that say nothing", func(t *testing.T) { silent(t, s) })
	return len(cases) + 4
}

// garbage is 5000 frames that are not understood, from a client that reads the
// answers as it goes.
func garbage(t *testing.T, s *Server) {
	p := signInRaw(t, s, mallory, "")
	defer awaitLeft(t, s, 2)
	defer p.conn.Close()
	for range 10 {
		p.write(bytes.Repeat(rawFrame(rawText, "not JSON"), 500))
		for range 500 {
			wantFrames(t, []string{"INVALID_MESSAGE NOT_JSON"}, []Frame{p.text()})
		}
	}
}

// garbageAtOnce is more of them than answers may wait for one session: each is
// answered, or the client is closed as too slow.
func garbageAtOnce(t *testing.T, s *Server) {
	const n = 20_000
	p := signInRaw(t, s, mallory, "")
	defer awaitLeft(t, s, 2)
	var sent sync.WaitGroup
	defer sent.Wait()
	defer p.conn.Close()
	sent.Go(func() { _ = p.tryWrite(bytes.Repeat(rawFrame(rawText, "not JSON"), n)) }) // the server may close
	for range n {
		f, code, err := p.textOrEnd()
		switch {
		case err != nil || code == 4007:
			return
		case code != 0:
			t.Fatalf("close code %d, want 4007 if any", code)
		}
		wantFrames(t, []string{"INVALID_MESSAGE NOT_JSON"}, []Frame{f})
	}
}

// declared is 200 clients that say how much they will send, and send nothing of
// it: what that costs is looked at in the end.
func declared(t *testing.T, s *Server) {
	peers := make([]*rawPeer, 200)
	for i := range peers {
		peers[i] = dialRaw(t, s, "")
		peers[i].write(append(rawHeader(rawText, badFrameLimit), '{'))
	}
	for _, p := range peers {
		p.conn.Close()
	}
}

// silent is 500 connections that never shake hands.
func silent(t *testing.T, s *Server) {
	peers := make([]*rawPeer, 500)
	for i := range peers {
		peers[i] = dialTCP(t, s.Addr)
	}
	for _, p := range peers {
		p.conn.Close()
	}
}
