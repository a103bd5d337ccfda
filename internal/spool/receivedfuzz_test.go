package spool

import (
	"bytes"
	"maps"
	"testing"
)

// Whatever a disk makes of the log, what is read of it says the same when it is written
// anew.
func FuzzReadReceived(f *testing.F) {
	one := intent{name: "a", digest: Digest{1}, size: 3, at: 5}
	var whole []byte
	whole = one.append(whole, keyID{1})
	whole = outcome{digest: [8]byte{1}, at: 6}.append(whole, keyID{1})
	whole = one.append(whole, keyID{2})
	f.Add(whole)
	f.Add(appendCancelled(whole, keyID{2}))
	f.Add(whole[:len(whole)-1])
	f.Add(bytes.Repeat([]byte{0}, 8))
	f.Add([]byte{255, 255, 'i'})
	f.Add(one.append(nil, keyID{3})[2:])
	f.Fuzz(func(t *testing.T, b []byte) {
		log := append([]byte(receivedMagic), b...)
		if len(b) > 17 && len(b) < 1<<16 { // and as a record that is whole
			log = appendRecord([]byte(receivedMagic), b[0], keyID(b[1:17]), func(to []byte) []byte { return append(to, b[17:]...) })
			log = append(log, b...)
		}
		r := newRemembered()
		n := r.read(log)
		if n < len(receivedMagic) || n > len(log) {
			t.Fatalf("%d of %d bytes are whole", n, len(log))
		}
		again := newRemembered()
		if written := r.records(); again.read(written) != len(written) {
			t.Fatal("what is written anew is not read")
		}
		if !maps.Equal(r.delivered, again.delivered) || !maps.Equal(r.intents, again.intents) {
			t.Errorf("%+v is read as %+v", r, again)
		}
		for _, i := range r.intents {
			if CheckName(i.name) != nil || i.size < 0 {
				t.Errorf("there is an intent %+v", i)
			}
		}
	})
}
