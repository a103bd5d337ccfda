package load

import "time"

// markSize is how many characters a mark takes, and so the shortest content.
const markSize = 40

// mark is what the content of each message begins with.
type mark struct {
	run    uint32        // tells the runs apart, should mail of an old one come
	sender uint32        // index of the connection that sent it
	seq    uint32        // number among those of its sender to one receiver, or to one group
	at     time.Duration // when it was to be sent, since the run began
}

const hexDigits = "0123456789abcdef"

func appendHex(dst []byte, v uint64, digits int) []byte {
	for shift := (digits - 1) * 4; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

func readHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// append appends the mark as text.
func (m mark) append(dst []byte) []byte {
	dst = appendHex(dst, uint64(m.run), 8)
	dst = appendHex(dst, uint64(m.sender), 8)
	dst = appendHex(dst, uint64(m.seq), 8)
	return appendHex(dst, uint64(m.at), 16)
}

// readMark reads a mark from the beginning of a content.
func readMark(b []byte) (m mark, ok bool) {
	if len(b) < markSize {
		return mark{}, false
	}
	var v [4]uint64
	for i, part := range [4][]byte{b[:8], b[8:16], b[16:24], b[24:markSize]} {
		if v[i], ok = readHex(part); !ok {
			return mark{}, false
		}
	}
	return mark{uint32(v[0]), uint32(v[1]), uint32(v[2]), time.Duration(v[3])}, true
}
