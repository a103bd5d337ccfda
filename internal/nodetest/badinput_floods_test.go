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
	t.Run("groups to nobody", func(t *testing.T) { groupsToNobody(t, s) })
	return len(cases) + 5
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

// garbageAtOnce is more of them than answers may wait for one session: it is
// read as fast as it reads, and each is answered.
func garbageAtOnce(t *testing.T, s *Server) {
	const n = 20_000
	p := signInRaw(t, s, mallory, "")
	defer awaitLeft(t, s, 2)
	var sent sync.WaitGroup
	defer sent.Wait()
	defer p.conn.Close()
	sent.Go(func() { _ = p.tryWrite(bytes.Repeat(rawFrame(rawText, "not JSON"), n)) }) // the server may close
	for range n {
		wantFrames(t, []string{"INVALID_MESSAGE NOT_JSON"}, []Frame{p.text()})
	}
}

// groupsToNobody is users who write, as fast as they may, to as many users as a
// message may name, none of whom was ever seen.
func groupsToNobody(t *testing.T, s *Server) {
	const senders, groups, receivers = 4, 3, 10_000
	defer awaitLeft(t, s, 2)
	var sent sync.WaitGroup
	defer sent.Wait()
	peers := make([]*rawPeer, senders)
	for i := range peers {
		user := fmt.Sprintf("ANZ-%d", 900+i)
		peers[i] = signInRaw(t, s, user, "")
		defer peers[i].conn.Close()
		sent.Go(func() {
			group := rawFrame(rawText, `{"type":"GROUP_MESSAGE","data":{"content":1,"to":[`+ids(1_000_000*(i+1), receivers)+`]}}`)
			last := rawFrame(rawText, `{"type":"MESSAGE","data":{"to":"`+user+`","content":"all sent"}}`)
			_ = peers[i].tryWrite(append(bytes.Repeat(group, groups), last...)) // if it fails, so does what follows
		})
	}
	for i, p := range peers {
		wantFrames(t, []string{`{"type":"MESSAGE","data":{"from":"` + fmt.Sprintf("ANZ-%d", 900+i) + `","content":"all sent"}}`}, []Frame{p.text()})
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
