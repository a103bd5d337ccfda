package nodetest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
	"testing"
)

// badStream is what a client sends that does not keep to WebSocket, or that uses
// all of it.
type badStream struct {
	name    string
	deflate bool // the client has asked for compression
	send    []byte
	code    int // with which the server closes; 0: it goes on
	// want is what comes before the connection is closed, or before what is sent
	// after it is answered; as in badFrame.
	want []string
}

// badBytes sends each on a connection of its own, which has signed in.
func badBytes(t *testing.T, s *Server) int {
	cases := brokenFrames()
	cases = append(cases, brokenControls()...)
	cases = append(cases, closeFrames()...)
	cases = append(cases, texts()...)
	cases = append(cases, sizes()...)
	cases = append(cases, compressed()...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
	return len(cases)
}

func (c badStream) run(t *testing.T, s *Server) {
	more := ""
	if c.deflate {
		more = offersDeflate
	}
	p := signInRaw(t, s, mallory, more)
	defer awaitLeft(t, s, 2) // or the next case would hear of this one
	defer p.conn.Close()
	if c.code == 0 {
		p.write(append(c.send, rawFrame(rawText, toSelf(`"end"`))...))
		var got []Frame
		for f := p.text(); f.Raw != fromSelf(`"end"`); f = p.text() {
			got = append(got, f)
		}
		wantFrames(t, c.want, got)
		return
	}
	// The server may have closed before it has read all of it.
	_ = p.tryWrite(append(c.send, rawFrame(rawText, toSelf(`"never"`))...))
	code, got := p.closeCode()
	if code != c.code {
		t.Errorf("close code %d, want %d", code, c.code)
	}
	wantFrames(t, c.want, got)
	p.ended()
}

func broken(name string, send []byte) badStream {
	return badStream{name: name, send: send, code: 1002}
}

func brokenFrames() []badStream {
	message := toSelf(`1`)
	list := []badStream{
		broken("unmasked", append([]byte{rawText, byte(len("{}"))}, "{}"...)),
		broken("unmasked and empty", []byte{rawText, 0}),
		broken("unmasked ping", []byte{rawPing, 0}),
		broken("reserved bit 1 without compression", rawFrame(rawText|rawRSV1, message)),
		broken("reserved bit 2", rawFrame(rawText|0x20, message)),
		broken("reserved bit 3", rawFrame(rawText|0x10, message)),
		broken("all reserved bits", rawFrame(rawText|0x70, message)),
		broken("continuation of nothing", rawFrame(rawFin|rawMore, message)),
		broken("continuation of nothing, not the last", rawFrame(rawMore, message)),
		{name: "continuation after a whole message", code: 1002, want: []string{"INVALID_MESSAGE UNKNOWN_TYPE"},
			send: append(rawFrame(rawText, `{"type":"X"}`), rawFrame(rawFin|rawMore, "x")...)},
		broken("text within a fragmented message", append(rawFrame(0x01, message[:9]), rawFrame(rawText, message)...)),
		broken("another beginning within a fragmented message", append(rawFrame(0x01, message[:9]), rawFrame(0x01, message[9:])...)),
		broken("length of 16 bits for 5 bytes", append([]byte{rawText, 0x80 | 126, 0, 5, 1, 2, 3, 4}, "abcde"...)),
		broken("length of 64 bits for 5 bytes", append([]byte{rawText, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4}, "abcde"...)),
		broken("length with the top bit set", []byte{rawText, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4}),
		broken("length of all bits", []byte{rawText, 0x80 | 127, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}),
		broken("an HTTP request", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
		broken("0xff for ever", bytes.Repeat([]byte{0xff}, 10_000)),
		broken("zeros for ever", make([]byte, 10_000)),
		{name: "a binary frame", send: rawFrame(rawBinary, message), code: 1003},
		{name: "an empty binary frame", send: rawFrame(rawBinary, ""), code: 1003},
		{name: "a fragmented binary frame", send: rawFrame(0x02, message), code: 1003},
		{name: "a binary frame that declares too much", send: rawHeader(rawBinary, 1<<40), code: 1003},
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		list = append(list, broken(fmt.Sprintf("opcode %d", op), rawFrame(rawFin|op, "x")))
	}
	return list
}

func brokenControls() []badStream {
	long := strings.Repeat("x", 126)
	list := []badStream{
		broken("ping of 126 bytes", rawFrame(rawPing, long)),
		broken("pong of 126 bytes", rawFrame(rawPong, long)),
		broken("close of 126 bytes", rawFrame(rawClose, "\x03\xe8"+long[2:])),
		broken("ping of 64 KiB", rawFrame(rawPing, strings.Repeat("x", 1<<16))),
		broken("fragmented ping", rawFrame(rawPing&^rawFin, "x")),
		broken("fragmented pong", rawFrame(rawPong&^rawFin, "x")),
		broken("fragmented close", rawFrame(rawClose&^rawFin, "\x03\xe8")),
		broken("close of one byte", rawFrame(rawClose, "\x03")),
		{name: "compressed ping", deflate: true, send: rawFrame(rawPing|rawRSV1, "x"), code: 1002},
		{name: "compressed close", deflate: true, send: rawFrame(rawClose|rawRSV1, "\x03\xe8"), code: 1002},
	}
	for _, c := range [][2]string{
		{"empty ping", ""}, {"ping of 125 bytes", long[1:]}, {"ping with any bytes", "\x00\xff\xfe"}, {"ping with a number", "1"},
	} {
		list = append(list, badStream{name: c[0], send: rawFrame(rawPing, c[1])})
	}
	for _, c := range [][2]string{
		{"empty pong", ""}, {"pong of 125 bytes", long[1:]}, {"pong 0", "0"}, {"pong 01", "01"}, {"pong +1", "+1"}, {"pong -1", "-1"},
		{"pong from the future", "999999"}, {"pong beyond 64 bits", "18446744073709551617"}, {"pong of many digits", strings.Repeat("9", 125)},
		{"pong with any bytes", "\x00\xff"}, {"pong with a space", " 1"}, {"pong in digits of another script", "１"},
	} {
		list = append(list, badStream{name: c[0], send: rawFrame(rawPong, c[1])})
	}
	return list
}

// closeFrames end the connection. The answer has the client's code.
func closeFrames() []badStream {
	list := []badStream{
		{name: "close without a code", send: rawFrame(rawClose, ""), code: 1005},
		{name: "close with a reason that is no UTF-8", send: rawCloseFrame(1000, "\xff"), code: 1007},
		{name: "close with a reason cut within a character", send: rawCloseFrame(1000, "é"[:1]), code: 1007},
		{name: "close with a reason", send: rawCloseFrame(1000, "good bye"), code: 1000},
		{name: "close with the longest reason", send: rawCloseFrame(1000, strings.Repeat("é", 61)), code: 1000},
		{name: "close within a fragmented message", send: append(rawFrame(0x01, "{"), rawCloseFrame(1001, "")...), code: 1001},
		{name: "two closes", send: append(rawCloseFrame(1000, ""), rawCloseFrame(1001, "")...), code: 1000},
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		list = append(list, broken(fmt.Sprintf("close with %d", code), rawCloseFrame(code, "")))
	}
	for _, code := range []int{1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011} {
		list = append(list, badStream{name: fmt.Sprintf("close with %d", code), send: rawCloseFrame(code, ""), code: code})
	}
	for _, code := range []int{3000, 4002, 4999} {
		list = append(list, badStream{name: fmt.Sprintf("close with %d", code), send: rawCloseFrame(code, ""), code: code})
	}
	return list
}

// texts are text messages that are UTF-8, or not.
func texts() []badStream {
	var list []badStream
	for _, c := range [][2]string{
		{"a lone continuation byte", "\x80"}, {"0xff", "\xff"}, {"overlong slash", "\xc0\xaf"}, {"overlong NUL", "\xc0\x80"},
		{"overlong in three bytes", "\xe0\x80\xaf"}, {"a surrogate", "\xed\xa0\x80"}, {"a surrogate pair", "\xed\xa0\xbd\xed\xb8\x80"},
		{"beyond Unicode", "\xf4\x90\x80\x80"}, {"five bytes", "\xf8\x88\x80\x80\x80"}, {"cut character", "\xe2\x82"}, {"Latin-1", "caf\xe9"},
	} {
		list = append(list, badStream{name: "no UTF-8: " + c[0], send: rawFrame(rawText, toSelf(`"`+c[1]+`"`)), code: 1007})
	}
	list = append(list,
		badStream{name: "no UTF-8: cut at the end", send: rawFrame(rawText, "\xe2\x82"), code: 1007},
		badStream{name: "no UTF-8: in the reference", send: rawFrame(rawText, `{"type":"X","reference":"`+"\xff"+`"}`), code: 1007},
		badStream{name: "no UTF-8: in a name", send: rawFrame(rawText, `{"`+"\xff"+`":1}`), code: 1007},
		badStream{name: "no UTF-8: in the second fragment", send: append(rawFrame(0x01, `{"type":`), rawFrame(rawFin|rawMore, "\"\xff\"}")...), code: 1007},
		badStream{name: "no UTF-8: cut at the end of the last fragment", send: append(rawFrame(0x01, `{"type":"`+"\xe2"), rawFrame(rawFin|rawMore, "\x82")...), code: 1007},
	)
	// A character may be cut where a fragment ends.
	message := toSelf(`"€😀"`)
	whole := []string{fromSelf(`"€😀"`)}
	for cut := range len(message) {
		if message[cut] < 0x80 {
			continue
		}
		list = append(list, badStream{name: fmt.Sprintf("UTF-8 cut at byte %d", cut), want: whole,
			send: append(rawFrame(0x01, message[:cut]), rawFrame(rawFin|rawMore, message[cut:])...)})
	}
	return append(list,
		badStream{name: "a ping between fragments", want: whole,
			send: bytes.Join([][]byte{rawFrame(0x01, message[:20]), rawFrame(rawPing, "1"), rawFrame(rawFin|rawMore, message[20:])}, nil)},
		badStream{name: "empty fragments around", want: whole,
			send: bytes.Join([][]byte{rawFrame(0x01, ""), rawFrame(rawMore, message), rawFrame(rawFin|rawMore, "")}, nil)},
		badStream{name: "an empty message of fragments", want: []string{"INVALID_MESSAGE NOT_JSON"},
			send: bytes.Join([][]byte{rawFrame(0x01, ""), rawFrame(rawMore, ""), rawFrame(rawFin|rawMore, "")}, nil)},
	)
}

// padded is a MESSAGE of n bytes.
func padded(n int) string {
	return toSelf(`1`) + strings.Repeat(" ", n-len(toSelf(`1`)))
}

// sizes are messages around the limit.
func sizes() []badStream {
	whole := []string{fromSelf(`1`)}
	const half = badFrameLimit / 2
	full := padded(badFrameLimit)
	tooBig := func(name string, send []byte) badStream { return badStream{name: name, send: send, code: 1009} }
	return []badStream{
		{name: "a frame at the limit", send: rawFrame(rawText, full), want: whole},
		{name: "fragments at the limit", want: whole,
			send: append(rawFrame(0x01, full[:half]), rawFrame(rawFin|rawMore, full[half:])...)},
		tooBig("a frame one byte above the limit", rawFrame(rawText, full+" ")),
		tooBig("fragments one byte above the limit", append(rawFrame(0x01, full[:half]), rawFrame(rawFin|rawMore, full[half:]+" ")...)),
		tooBig("a fragment that declares too much", append(rawFrame(0x01, full), rawHeader(rawMore, 1)...)),
		tooBig("a frame that declares one byte too much", rawHeader(rawText, badFrameLimit+1)),
		tooBig("a frame that declares 1 GiB", rawHeader(rawText, 1<<30)),
		tooBig("a frame that declares 2^62 bytes", rawHeader(rawText, 1<<62)),
		tooBig("a frame of 4 MiB", rawFrame(rawText, padded(4<<20))),
	}
}

// deflated is a message, compressed as RFC 7692 has it.
func deflated(message []byte) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // the level is known
	}
	// A buffer takes everything.
	_, _ = w.Write(message)
	_ = w.Flush()
	return string(bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
}

// compressed are messages on a connection with compression.
func compressed() []badStream {
	whole := []string{fromSelf(`1`)}
	good := deflated([]byte(toSelf(`1`)))
	bomb := strings.Repeat(deflated(make([]byte, 1<<20))+"\x00\x00\xff\xff", 200) // of zeros
	full := deflated([]byte(padded(badFrameLimit)))
	list := []badStream{
		{name: "compressed", send: rawFrame(rawText|rawRSV1, good), want: whole},
		{name: "compressed, in fragments", want: whole,
			send: append(rawFrame(0x01|rawRSV1, good[:9]), rawFrame(rawFin|rawMore, good[9:])...)},
		{name: "not compressed, though it might be", send: rawFrame(rawText, toSelf(`1`)), want: whole},
		{name: "compressed, at the limit", send: rawFrame(rawText|rawRSV1, full), want: whole},
		{name: "compressed, empty", send: rawFrame(rawText|rawRSV1, deflated(nil)), want: []string{"INVALID_MESSAGE NOT_JSON"}},
		{name: "compressed, one byte above the limit", send: rawFrame(rawText|rawRSV1, deflated([]byte(padded(badFrameLimit+1)))), code: 1009},
		{name: "a bomb of 200 MiB", send: rawFrame(rawText|rawRSV1, bomb), code: 1009},
		{name: "a bomb in fragments", send: append(rawFrame(0x01|rawRSV1, bomb[:60_000]), rawFrame(rawFin|rawMore, bomb[60_000:120_000])...), code: 1009},
		{name: "compressed, no UTF-8", send: rawFrame(rawText|rawRSV1, deflated([]byte(toSelf("\"\xff\"")))), code: 1007},
		{name: "the bit on a continuation", code: 1002,
			send: append(rawFrame(0x01|rawRSV1, good[:9]), rawFrame(rawFin|rawMore|rawRSV1, good[9:])...)},
		{name: "a compressed binary frame", send: rawFrame(rawBinary|rawRSV1, good), code: 1003},
		{name: "compressed, cut", send: rawFrame(rawText|rawRSV1, good[:len(good)/2]), code: 1007},
	}
	for _, garbage := range []string{"\xff", "\x06\x00", strings.Repeat("\xff", 1000), `{"type":"MESSAGE"}`, "\x00\x05\x00\x00\x00hello", "\x78\x9c\x03\x00"} {
		list = append(list, badStream{name: fmt.Sprintf("garbage %.12q instead of compressed data", garbage), send: rawFrame(rawText|rawRSV1, garbage), code: 1007})
	}
	for i := range list {
		list[i].deflate = true
	}
	return list
}
