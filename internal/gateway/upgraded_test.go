package gateway

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAWebSocketEndsWithItsToken(t *testing.T) {
	w := begin(t, Config{Routes: []Route{{Path: "/", Service: "s", Timeout: 10 * time.Second, Retries: 1}}})
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		conn, buffer, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Saw: %s %s\r\n\r\n", r.Header.Get("X-User-Id"), r.URL.RequestURI())
		_, _ = io.Copy(conn, buffer)
	})
	handshake := func(query string) (net.Conn, *http.Response) {
		conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patienceOfTests)) // of an open connection
		fmt.Fprintf(conn, "GET /ws%s HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n", query)
		res := make([]byte, 1024)
		n, err := conn.Read(res)
		if err != nil {
			t.Fatal(err)
		}
		status := 0
		_, _ = fmt.Sscanf(string(res[:n]), "HTTP/1.1 %d", &status)
		return conn, &http.Response{StatusCode: status, Status: string(res[:n])}
	}
	talk := func(conn net.Conn, text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, len(text))
		if _, err := io.ReadFull(conn, p); err != nil || string(p) != text {
			t.Fatalf("%q %v", p, err)
		}
	}
	if _, res := handshake("?access_token=forged"); res.StatusCode != 401 {
		t.Errorf("a forged token: %s", res.Status)
	}
	conn, res := handshake("?access_token=SHOP-1&room=2")
	if res.StatusCode != 101 || !strings.Contains(res.Status, "X-Saw: SHOP-1 /ws?room=2\r\n") {
		t.Fatal(res.Status)
	}
	for n := range 6 {
		if n == 3 {
			w.pass()
		}
		talk(conn, "\x81\x02hi")
	}
	if s, _ := w.gateway.State("s", "a"); s.InFlight != 1 {
		t.Errorf("%d in flight", s.InFlight)
	}
	w.people.mu.Lock()
	end := w.people.ends["SHOP-1"]
	w.people.mu.Unlock()
	end()
	last := func(conn net.Conn, want string) {
		t.Helper()
		if rest, err := io.ReadAll(conn); err != nil || string(rest) != want {
			t.Errorf("it ends with %q, %v; want %q", rest, err, want)
		}
		_ = conn.Close()
	}
	last(conn, "\x88\x15\x03\xf0the token has ended")

	// One that is amid a frame has no place for another.
	whole, _ := handshake("?access_token=SHOP-2")
	amid, _ := handshake("?access_token=SHOP-3")
	talk(whole, "\x01\x01a")
	talk(amid, "\x82\x02a")
	w.gateway.Leave()
	last(whole, "\x88\x18\x03\xf4the server is stopping")
	last(amid, "")
	w.eventually("nothing is in flight", func() bool { s, _ := w.gateway.State("s", "a"); return s.InFlight == 0 })
}

func TestTheEndsOfFramesAreKnownHoweverTheyPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []byte
		ends := map[int]bool{0: true}
		for range rapid.IntRange(1, 6).Draw(t, "frames") {
			n := rapid.OneOf(rapid.IntRange(0, 130), rapid.IntRange(65530, 65540)).Draw(t, "length")
			all = append(all, 0x81)
			mask := byte(rapid.IntRange(0, 1).Draw(t, "masked")) << 7
			switch {
			case n < 126:
				all = append(all, mask|byte(n))
			case n < 1<<16:
				all = binary.BigEndian.AppendUint16(append(all, mask|126), uint16(n))
			default:
				all = binary.BigEndian.AppendUint64(append(all, mask|127), uint64(n))
			}
			all = append(all, make([]byte, 4*int(mask>>7)+n)...)
			ends[len(all)] = true
		}
		var f frames
		for at := 0; at < len(all); {
			n := rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, len(all))).Draw(t, "piece")
			n = min(n, len(all)-at)
			f.pass(all[at : at+n])
			if at += n; f.whole() != ends[at] {
				t.Fatalf("after %d bytes: %v", at, f.whole())
			}
		}
	})
}
