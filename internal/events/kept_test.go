package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const handle = "0123456789abcdef"

// read takes events apart.
func read(t interface {
	Helper()
	Fatal(...any)
}, text []byte) []nodetest.Event {
	t.Helper()
	r := nodetest.NewEventReader(bytes.NewReader(text))
	var list []nodetest.Event
	for {
		e, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
}

// id returns the n-th of a row of IDs.
func id(t interface {
	Helper()
	Fatal(...any)
}, n int) wire.ID {
	t.Helper()
	var b [10]byte
	copy(b[6:], []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	v, err := wire.NewID(time.Unix(0, 0), bytes.NewReader(b[:]))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// keptModel says what a client is owed.
type keptModel struct {
	k         kept
	frames    map[uint64]modelFrame
	forgotten map[uint64]bool
	position  uint64 // the last event that the client that is there was written
	pings     []ping
	number    uint64
	last      uint64 // the last event before the last ping
	silence   uint64 // the last event at the last silence
}

type modelFrame struct {
	text string
	id   wire.ID
	must bool // it has to be proved
}

// Whatever happens, a client that comes back gets what it has not acknowledged,
// once, in order, under its old number; only what nobody has to prove may be
// missing, and only if it was written before. A ping is answered when the client
// has acknowledged what must be proved before it, and everything else was
// written.
func TestAClientGetsWhatItHasNotAcknowledgedOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &keptModel{frames: make(map[uint64]modelFrame), forgotten: make(map[uint64]bool)}
		rt.Repeat(map[string]func(*rapid.T){
			"add": m.add, "ping": m.ping, "write": m.write, "acknowledge": m.acknowledge, "forget": m.forget,
			"come back": func(*rapid.T) { m.k.rewind(); m.position = m.k.acked },
			"":          m.check,
		})
	})
}

func (m *keptModel) add(rt *rapid.T) {
	n := m.k.last + 1
	size := rapid.SampledFrom([]int{3, 3000, 20_000, 50_000}).Draw(rt, "size")
	breaks := strings.Repeat("\n", rapid.SampledFrom([]int{0, 0, 1, 20_000}).Draw(rt, "line breaks"))
	text := wire.AppendMessage(nil, "ANZ-1", fmt.Appendf(nil, `[%s"%d %s"]`, breaks, n, strings.Repeat("x", size)), nil)
	f := modelFrame{}
	switch rapid.IntRange(0, 2).Draw(rt, "kind") {
	case 0:
		f.id, f.must = id(rt, int(n)), true
		text = wire.AppendWithID(nil, text, f.id)
	case 1:
		f.must = true
		text = bytes.Replace(text, []byte("}}"), []byte(`},"reference":"r"}`), 1)
	}
	f.text = string(text)
	m.k.add(text)
	m.frames[n] = f
}

// unproved says whether anything up to an event has to be proved yet.
func (m *keptModel) unproved(n uint64) bool {
	for i := m.k.acked + 1; i <= n; i++ {
		if m.frames[i].must {
			return true
		}
	}
	return false
}

func (m *keptModel) ping(rt *rapid.T) {
	m.number++
	p := ping{m.number, m.k.last, m.unproved(m.k.last)}
	m.pings = append(m.pings, p)
	kept := make(map[uint64]bool)
	for _, e := range m.k.events[:m.k.cursor] {
		kept[e.n] = m.k.forgettable(&e) || !p.unproved
	}
	m.k.ping(p.number, p.unproved)
	for _, e := range m.k.events {
		delete(kept, e.n)
	}
	silent := m.last == m.k.last && m.position == max(m.k.last, m.k.acked)
	for n, forgettable := range kept {
		if !silent || n > m.silence || !forgettable {
			rt.Fatalf("event %d is not kept, after a silence: %t, the one before after %d", n, silent, m.silence)
		}
		m.forgotten[n] = true
	}
	if silent {
		m.silence = m.k.last
	}
	m.last = m.k.last
}

func (m *keptModel) answer(rt *rapid.T) {
	answered := m.k.answered()
	want := uint64(0)
	for len(m.pings) > 0 && (m.pings[0].after <= m.k.acked || !m.pings[0].unproved && m.pings[0].after <= m.k.sent) {
		want, m.pings = m.pings[0].number, m.pings[1:]
	}
	if answered != want {
		rt.Fatalf("ping %d is answered, not %d", answered, want)
	}
}

func (m *keptModel) write(rt *rapid.T) {
	part, to := m.k.chunk(nil, handle)
	if to == 0 {
		if len(part) > 0 || !m.k.written() {
			rt.Fatal("something is left, or nothing was to be written")
		}
		return
	}
	list := read(rt, part)
	if len(part) > chunkMost && len(list) > 1 {
		rt.Fatalf("%d events of %d bytes are written at once", len(list), len(part))
	}
	if m.k.tried > m.k.acked && rapid.Bool().Draw(rt, "acknowledged meanwhile") {
		m.k.ack(m.k.acked + 1)
	}
	if rapid.IntRange(0, 5).Draw(rt, "cut") == 0 {
		m.k.rewind() // nobody knows how much of it arrived
		m.position = m.k.acked
		return
	}
	m.k.wrote(to)
	for _, e := range list {
		_, n, ok := parseID(e.ID)
		if !ok || n <= m.position || e.Data != m.frames[n].text {
			rt.Fatalf("after event %d came %s with %.40q", m.position, e.ID, e.Data)
		}
		for i := m.position + 1; i < n; i++ {
			if i > m.k.acked && !m.forgotten[i] {
				rt.Fatalf("event %d is missing before %d", i, n)
			}
		}
		m.position = n
	}
	if m.position != to {
		rt.Fatalf("written to %d, not %d", m.position, to)
	}
	m.answer(rt)
}

func (m *keptModel) acknowledge(rt *rapid.T) {
	if m.k.tried == 0 {
		return
	}
	n := rapid.Uint64Range(1, m.k.tried).Draw(rt, "n")
	var want wire.ID
	for i := m.k.acked + 1; i <= n; i++ {
		if f := m.frames[i]; !f.id.IsZero() {
			want = f.id
			if found := m.k.find(want); found != i {
				rt.Fatalf("event %d is found as %d", i, found)
			}
		}
	}
	if reliable := m.k.ack(n); reliable != want {
		rt.Fatalf("acknowledged %s, not %s", reliable, want)
	}
	m.position = max(m.position, m.k.acked)
	m.answer(rt)
}

func (m *keptModel) forget(rt *rapid.T) {
	most := rapid.IntRange(0, 100_000).Draw(rt, "most")
	var could []uint64
	for i := range m.k.cursor {
		if e := &m.k.events[i]; !m.frames[e.n].must || e.n <= m.k.free {
			could = append(could, e.n)
		}
	}
	count := m.k.forget(most)
	if count > len(could) || count < len(could) && m.k.size() > most {
		rt.Fatalf("%d of %d were forgotten, %d bytes are left of %d", count, len(could), m.k.size(), most)
	}
	for _, n := range could[:count] {
		m.forgotten[n] = true
	}
}

func (m *keptModel) check(rt *rapid.T) {
	k := &m.k
	size := 0
	for i, e := range k.events {
		if i == k.cursor && size != k.offset {
			rt.Fatalf("%d events are written, but %d bytes", k.cursor, k.offset)
		}
		size += e.size
	}
	if size != len(k.buf) || k.cursor > len(k.events) {
		rt.Fatalf("%d events have %d bytes, not %d; %d are written", len(k.events), size, len(k.buf), k.cursor)
	}
	if len(k.events) == 0 && (k.buf != nil || k.events != nil) {
		rt.Fatal("memory is kept for nothing")
	}
	if k.unproved() > 0 != m.unprovedKept() {
		rt.Fatalf("%d bytes are to be proved", k.unproved())
	}
}

// unprovedKept says whether something has to be proved that no ping has freed.
func (m *keptModel) unprovedKept() bool {
	for i := max(m.k.acked, m.k.free) + 1; i <= m.k.last; i++ {
		if m.frames[i].must {
			return true
		}
	}
	return false
}

func TestALineOfAFrameIsALineOfData(t *testing.T) {
	const frame = "{\"type\":\"MESSAGE\",\"data\":{\"content\":[1,\n\r\n 2,\r  \"a\\r\\n\"\n\n\r]}}"
	text := appendEvent(nil, handle, 7, []byte(frame))
	want := "id: " + handle + ".7\n" +
		"data: {\"type\":\"MESSAGE\",\"data\":{\"content\":[1,\n" +
		"data: \n" +
		"data:  2,\n" +
		"data:   \"a\\r\\n\"\n" +
		"data: \n" +
		"data: \n" +
		"data: ]}}\n\n"
	if string(text) != want {
		t.Errorf("%q\nnot %q", text, want)
	}
}

func TestIDsOfEvents(t *testing.T) {
	for _, text := range []string{handle + ".1", handle + ".9223372036854775807"} {
		h, n, ok := parseID(text)
		if !ok || string(appendID(nil, h, n)) != text {
			t.Errorf("%s is read as %s %d", text, h, n)
		}
	}
	for _, text := range []string{
		"", ".", "1", handle, handle + ".", handle + ".0", handle + ".01", handle + ".-1", handle + ".+1", handle + ".1 ", handle + ".1.1",
		handle + ".9223372036854775808", handle[1:] + ".1", handle + "x.1", handle + ".1\n", handle + ".１", " " + handle + ".1",
	} {
		if _, _, ok := parseID(text); ok {
			t.Errorf("%q is an ID", text)
		}
	}
}

func TestWhatEndsAndBeginsAnAnswer(t *testing.T) {
	text := appendPreamble(nil, 750)
	text = append(text, heartbeat...)
	text = appendClose(text, 4003, `CLOSED "BY" MASTER`)
	r := nodetest.NewEventReader(bytes.NewReader(text))
	e, err := r.Next()
	if err != nil || e != (nodetest.Event{Event: "close", Data: `{"code":4003,"reason":"CLOSED \"BY\" MASTER"}`}) {
		t.Errorf("%v %q", err, e)
	}
	if r.Retry != "750" || r.Comments != 1 {
		t.Errorf("retry %s, %d comments", r.Retry, r.Comments)
	}
}

// Whatever a frame holds, a client reads it as it was, but for CR, which is LF.
func FuzzAnEventIsReadAsItWasWritten(f *testing.F) {
	for _, content := range []string{
		`1`, `"a\nb"`, "[\n1,\r\n2]", `":"`, "{\r}", `"\u2028"`, "\"\u0085 \u2028\"", `"data: x"`,
		"[\n  1,\n   2\n]", "[\n\n\n1\n\n]", "[\r\r\n\n\r1]", "[\n\t1,\n \n]", "[" + strings.Repeat("\n", 60_000) + "]",
	} {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content string) {
		if !json.Valid([]byte(content)) || !utf8.ValidString(content) {
			return
		}
		frame := string(wire.AppendMessage(nil, "ANZ-1", []byte(content), nil))
		list := read(t, appendEvent(nil, handle, 3, []byte(frame)))
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(frame)
		if len(list) != 1 || list[0].Data != want || list[0].ID != handle+".3" {
			t.Fatalf("%q is read as %q", frame, list)
		}
	})
}
