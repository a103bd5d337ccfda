package nodetest

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowSettings are short time-outs, yet long enough for a slow machine.
const slowSettings = "limits: {handshakeTimeout: 2s, signInDeadline: 4s, pingInterval: 1s, proofTimeout: 5s, frame: 256KiB}\n"

// drip is how long a slow client waits between two bytes.
const drip = 50 * time.Millisecond

// slowClient sends something whole, then the rest byte by byte, for as long as
// the server lets it.
type slowClient struct {
	name     string
	signedIn bool
	first    string // sent at once
	rest     string // dripped, again and again if forever
	forever  bool
	code     int // with which the server closes; 0: without a close frame
}

func slowClients() []slowClient {
	header := "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n" + handshakeLines
	whole := string(rawFrame(rawText, own(900, toSelf(`"slow"`)))) // to somebody who is not there
	message := string(rawFrame(rawText, padded(1000)))
	sign := string(rawFrame(rawText, authFrame("app-id-343", mallory, "")))
	return []slowClient{
		{name: "says nothing at all"},
		{name: "a request line without an end", first: "GET /ws HTTP"},
		{name: "a header without an end", first: header},
		{name: "a header byte by byte", rest: header + strings.Repeat("X-More: x\r\n", 20)},
		{name: "headers for ever", first: header, rest: "X-More: x\r\n", forever: true},
		{name: "shakes hands and says nothing", first: header + "\r\n", code: 4001},
		{name: "shakes hands and sends half a frame header", first: header + "\r\n" + whole[:1], code: 4001},
		{name: "signs in byte by byte", first: header + "\r\n", rest: sign, code: 4001},
		{name: "asks for ever, without having signed in", first: header + "\r\n", rest: whole, forever: true, code: 4001},
		{name: "pings for ever, without having signed in", first: header + "\r\n", rest: string(rawFrame(rawPing, "")), forever: true, code: 4001},
		{name: "declares a frame before having signed in", first: header + "\r\n" + string(rawHeader(rawText, 16<<10)), code: 4001},
		{name: "declares a frame and sends nothing of it", signedIn: true, first: string(rawHeader(rawText, badFrameLimit)), code: 4004},
		{name: "sends half a frame", signedIn: true, first: whole[:len(whole)/2], code: 4004},
		{name: "sends a frame byte by byte", signedIn: true, first: message[:9], rest: message[9:], code: 4004},
		{name: "sends frames and answers no ping", signedIn: true, rest: whole, forever: true, code: 4004},
		{name: "answers pings with nothing", signedIn: true, rest: string(rawFrame(rawPong, "")), forever: true, code: 4004},
		{name: "answers pings with a number of its own", signedIn: true, rest: string(rawFrame(rawPong, "999999")), forever: true, code: 4004},
		{name: "answers pings with the first number only", signedIn: true, first: string(rawFrame(rawPong, "1")), rest: string(rawFrame(rawPong, "1")), forever: true, code: 4004},
	}
}

// What is slow ends by its time-out, and holds nobody else up.
func TestSlowClientsAreClosedInTime(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonMemory)
	s := Start(t, "--config", Settings(t, slowSettings))
	n := startNeighbours(t, s)
	h := measure(t, s)
	stop := make(chan struct{})
	var dripping sync.WaitGroup
	defer dripping.Wait()
	defer close(stop)
	cases := slowClients()
	peers := make([]*rawPeer, len(cases)) // all at once: their time-outs run side by side
	for i, c := range cases {
		peers[i] = c.begin(t, s, i)
		dripping.Go(func() { c.drip(peers[i], stop) })
	}
	t.Run("slow, but alive", func(t *testing.T) { slowButAlive(t, s) })
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.awaitEnd(t, peers[i]) })
	}
	n.judge()
	awaitLeft(t, s, 2)
	h.judge(128 << 20)
}

// begin connects, and sends what is sent at once.
func (c slowClient) begin(t *testing.T, s *Server, i int) *rawPeer {
	t.Helper()
	var p *rawPeer
	if c.signedIn {
		p = signInRaw(t, s, own(i, mallory), "")
	} else {
		p = dialTCP(t, s.Addr)
	}
	p.write([]byte(c.first))
	if !c.signedIn && c.code != 0 {
		p.response()
	}
	return p
}

// awaitEnd fails unless the server closes the connection as it should.
func (c slowClient) awaitEnd(t *testing.T, p *rawPeer) {
	p.t = t
	defer p.conn.Close()
	if c.code != 0 {
		if code := p.muteUntilClosed(); code != c.code {
			t.Errorf("close code %d, want %d", code, c.code)
		}
		return
	}
	// An answer to what has not ended is as good as none.
	b, err := io.ReadAll(p.r)
	if err != nil || len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
		t.Errorf("got %q, %v; want the connection to be closed", b, err)
	}
}

// drip sends the rest until it is sent, or stop is closed.
func (c slowClient) drip(p *rawPeer, stop chan struct{}) {
	tick := time.NewTicker(drip)
	defer tick.Stop()
	for i := 0; c.forever || i < len(c.rest); i++ {
		if len(c.rest) == 0 {
			return
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if p.tryWrite([]byte{c.rest[i%len(c.rest)]}) != nil {
			return
		}
	}
}

// muteUntilClosed is closeCode for a client that answers no ping.
func (p *rawPeer) muteUntilClosed() int {
	p.t.Helper()
	for {
		first, payload, err := p.frame()
		if err != nil {
			p.t.Fatalf("the connection ended without a close frame: %v", err)
		}
		if first == rawClose {
			return int(payload[0])<<8 | int(payload[1])
		}
	}
}

// slowButAlive needs longer for one message than a proof may take, in fragments,
// and answers pings between them: that is a slow link, and its message arrives.
func slowButAlive(t *testing.T, s *Server) {
	const fragments = 120
	message := padded(fragments)
	p := signInRaw(t, s, mallory, "")
	defer p.conn.Close()
	out := make(chan []byte) // one goroutine writes: frames must not mix
	var writing sync.WaitGroup
	defer writing.Wait()
	defer close(out)
	writing.Go(func() {
		for b := range out {
			_ = p.tryWrite(b) // if it fails, reading does, too
		}
	})
	pongs := make(chan string, 100)
	done := make(chan Frame, 1)
	go func() {
		defer close(done)
		for {
			first, payload, err := p.frame()
			switch {
			case err != nil:
				return
			case first == rawPing:
				pongs <- string(payload)
			case first == rawText:
				done <- Frame{Raw: string(payload)}
				return
			}
		}
	}()
	tick := time.NewTicker(drip)
	defer tick.Stop()
	for i := 0; ; {
		select {
		case <-tick.C:
			if i < fragments {
				first := byte(rawMore)
				if i == 0 {
					first = 0x01
				}
				if i == fragments-1 {
					first |= rawFin
				}
				out <- rawFrame(first, message[i:i+1])
				i++
			}
		case payload := <-pongs:
			out <- rawFrame(rawPong, payload)
		case f, ok := <-done:
			if want := fromSelf(`1`); !ok || f.Raw != want {
				t.Errorf("got %q, want %s", f.Raw, want)
			}
			return
		}
	}
}
