package nearby

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// What is said between nodes and what stands in the log is made of the same parts:
// numbers as uvarint, strings with their length before them, places as 64 bits each.

var errShort = errors.New("it ends too early, or holds what it cannot")

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
}

func appendFact(dst []byte, f *fact) []byte {
	dst = binary.AppendVarint(appendFloat(appendFloat(dst, f.lat), f.lon), f.at)
	measures := [...]float64{f.accuracy, f.heading, f.speed}
	has := len(dst)
	dst = append(dst, 0)
	for i, m := range measures {
		if !math.IsNaN(m) {
			dst[has] |= 1 << i
			dst = appendFloat(dst, m)
		}
	}
	return dst
}

// reader takes things apart. After an error everything is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() { r.b, r.err = nil, errShort }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns what has its length before it.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) float() float64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(r.b))
	r.b = r.b[8:]
	return f
}

func (r *reader) fact() fact {
	f := fact{lat: r.float(), lon: r.float(), at: r.varint()}
	has := r.byte()
	for i, m := range [...]*float64{&f.accuracy, &f.heading, &f.speed} {
		*m = math.NaN()
		if has&(1<<i) != 0 {
			*m = r.float()
		}
	}
	return f
}

// Requests to the keeper of a shard, the first byte of each.
const (
	askWant byte = 1 // see want.go
	askPut  byte = 2 // app, user, whether at is given, fact
	askHide byte = 3 // app, user
	askGet  byte = 4 // app, user
	askNear byte = 5 // app, limit, view
)

// What a reply begins with, but for askWant.
const (
	replyDone    byte = 0 // what was asked for
	replyRefused byte = 1 // code, field, reason
)

func appendPut(dst []byte, app, user string, p *Position) []byte {
	dst = appendText(appendText(append(dst, askPut), app), user)
	f := p.fact(p.At)
	if p.At.IsZero() {
		f.at = 0
		return appendFact(append(dst, 0), &f)
	}
	return appendFact(append(dst, 1), &f)
}

func appendHide(dst []byte, app, user string) []byte {
	return appendText(appendText(append(dst, askHide), app), user)
}

func appendGet(dst []byte, app, user string) []byte {
	return appendText(appendText(append(dst, askGet), app), user)
}

func appendNear(dst []byte, app string, v *View, limit int) []byte {
	dst = binary.AppendUvarint(appendText(append(dst, askNear), app), uint64(limit))
	list := [...]float64{v.Lat, v.Lon, v.Radius, 0}
	dst = append(dst, 0)
	if v.Box {
		dst[len(dst)-1], list = 1, [...]float64{v.West, v.South, v.East, v.North}
	}
	for _, f := range list {
		dst = appendFloat(dst, f)
	}
	return dst
}

func (r *reader) view() (v View) {
	v.Box = r.byte() == 1
	var f [4]float64
	for i := range f {
		f[i] = r.float()
	}
	if v.Box {
		v.West, v.South, v.East, v.North = f[0], f[1], f[2], f[3]
	} else {
		v.Lat, v.Lon, v.Radius = f[0], f[1], f[2]
	}
	return v
}

var errRequest = errors.New("nearby: a node of a newer version asks what this one does not know")

// serve does what a node asks. With mark above 0 the reply is true once so many
// batches are stored. The error says that the request is none.
func (c *core) serve(now time.Time, from string, request []byte) (reply []byte, mark uint64, err error) {
	r := reader{b: request}
	switch r.byte() {
	case askWant:
		answer, err := c.want(from, r.b)
		return []byte{answer}, 0, err
	case askPut:
		app, user, given := r.text(), r.text(), r.byte() == 1
		f := r.fact()
		if r.err != nil {
			return nil, 0, r.err
		}
		p := f.position()
		if !given {
			p.At = time.Time{}
		}
		return appendReply(c.put(now, app, user, p)), 0, nil
	case askHide:
		app, user := r.text(), r.text()
		if r.err != nil {
			return nil, 0, r.err
		}
		wait, err := c.hide(now, app, user)
		if wait {
			mark = c.mark()
		}
		return appendReply(err), mark, nil
	}
	if r.err != nil {
		return nil, 0, r.err
	}
	reply, err = c.look(request)
	return reply, 0, err
}

// looks says whether a request changes nothing, and look serves it: several may run at
// once.
func looks(request []byte) bool {
	return len(request) > 0 && (request[0] == askGet || request[0] == askNear)
}

func (c *core) look(request []byte) (reply []byte, err error) {
	r := reader{b: request}
	switch r.byte() {
	case askGet:
		app, user := r.text(), r.text()
		if r.err != nil {
			return nil, r.err
		}
		p, known := c.get(app, user)
		if !known {
			return []byte{replyDone, 0}, nil
		}
		f := p.fact(p.At)
		return appendFact([]byte{replyDone, 1}, &f), nil
	case askNear:
		app, limit := r.text(), r.uvarint()
		v := r.view()
		if r.err != nil || limit > MaxAnswer || v.check(&Limits{MaxRadius: MaxRadius}) != nil {
			return nil, errShort
		}
		var out Answer
		c.near(app, v, int(limit), &out)
		return appendAnswer([]byte{replyDone}, app, &out), nil
	}
	return nil, errRequest
}

func appendReply(err error) []byte {
	var refused *Refusal
	if !errors.As(err, &refused) {
		return []byte{replyDone}
	}
	return appendText(appendText(appendText([]byte{replyRefused}, refused.Code), refused.Field), refused.Reason)
}

// readReply returns what follows in a reply, or the *Refusal that it is.
func readReply(reply []byte) (*reader, error) {
	r := &reader{b: reply}
	switch r.byte() {
	case replyDone:
		return r, r.err
	case replyRefused:
		refused := &Refusal{Code: r.text(), Field: r.text(), Reason: r.text()}
		if r.err == nil {
			return r, refused
		}
	}
	return r, errShort
}

func readPut(reply []byte) error {
	_, err := readReply(reply)
	return err
}

func readGet(reply []byte) (p Position, known bool, err error) {
	r, err := readReply(reply)
	if err != nil {
		return p, false, err
	}
	if r.byte() == 0 {
		return p, false, r.err
	}
	f := r.fact()
	return f.position(), r.err == nil, r.err
}

func appendAnswer(dst []byte, app string, a *Answer) []byte {
	dst = binary.AppendUvarint(dst, uint64(a.Total))
	dst = binary.AppendUvarint(dst, uint64(len(a.Users)))
	for i := range a.Users {
		u := &a.Users[i]
		number, _ := numberOf(app, u.User) // which it is, for it was made of one
		f := u.fact(u.At)
		dst = appendFact(binary.AppendUvarint(dst, uint64(number)), &f)
		dst = appendFloat(dst, u.Distance)
	}
	return dst
}

// readAnswer adds what a keeper has answered.
func readAnswer(reply []byte, app string, out *Answer) error {
	r, err := readReply(reply)
	if err != nil {
		return err
	}
	total, n := r.uvarint(), r.uvarint()
	if n > MaxAnswer {
		return errShort
	}
	for range n {
		number := int64(r.uvarint())
		f := r.fact()
		u := User{User: string(appendName(nil, app, number)), Position: f.position(), Distance: r.float()}
		if r.err != nil {
			return r.err
		}
		out.Users = append(out.Users, u)
	}
	out.Total += int(total)
	return r.err
}
