package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// pieces reads JSON of others piece by piece, and holds no more than one of them at once.
type pieces struct {
	rationed
	json *json.Decoder
}

// newPieces reads so many bytes at most, of which a piece, which what names for people,
// has so many at most.
func newPieces(from io.Reader, all, piece int, what string) *pieces {
	p := &pieces{rationed: rationed{from: from, all: all + 1, most: all, piece: piece, what: what}}
	p.json = json.NewDecoder(&p.rationed)
	return p
}

// open reads the beginning of an object or of a list; there says whether it is one, and
// not null.
func (p *pieces) open(begin json.Delim) (there bool, err error) {
	p.left = p.piece
	token, err := p.json.Token()
	if err != nil || token == nil {
		return false, err
	}
	if token != begin {
		return false, fmt.Errorf("%.20q is not what begins with %s", fmt.Sprint(token), begin)
	}
	return true, nil
}

// key reads the name of a member of an object.
func (p *pieces) key() (string, error) {
	p.left = p.piece
	token, err := p.json.Token()
	name, _ := token.(string)
	return name, err
}

// value reads what is one piece.
func (p *pieces) value(to any) error {
	p.left = p.piece
	return p.json.Decode(to)
}

// object has each member of an object read by its name.
func (p *pieces) object(member func(name string) error) error {
	return p.each('{', func() error {
		name, err := p.key()
		if err != nil {
			return err
		}
		return member(name)
	})
}

// list has each item of a list read.
func (p *pieces) list(item func() error) error { return p.each('[', item) }

func (p *pieces) each(begin json.Delim, read func() error) error {
	there, err := p.open(begin)
	for err == nil && there && p.json.More() {
		err = read()
	}
	if err == nil && there {
		_, err = p.json.Token() // its end
	}
	return err
}

// nothingMore fails unless all was read.
func (p *pieces) nothingMore() error {
	p.left = p.piece
	if _, err := p.json.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind it")
	}
	return nil
}

// rationed gives of a reader only so much before left is set anew, and in all: who reads
// one piece after the other holds no more than one of that size.
type rationed struct {
	from  io.Reader
	left  int   // for the piece that is read now
	all   int   // for all of them, and one byte more, which tells that there were more
	broke error // why there is no more, but that it was the end

	most, piece int    // bytes in all, and of a piece
	what        string // a piece is, for people
}

// Read implements io.Reader.
func (r *rationed) Read(p []byte) (int, error) {
	switch {
	case r.broke != nil:
		return 0, r.broke
	case r.all <= 0:
		r.broke = fmt.Errorf("the answer has more than %d bytes", r.most)
		return 0, r.broke
	case r.left <= 0:
		r.broke = fmt.Errorf("%s in the answer has more than %d bytes", r.what, r.piece)
		return 0, r.broke
	}
	n, err := r.from.Read(p[:min(len(p), r.left, r.all)])
	r.left -= n
	r.all -= n
	if err != nil && !errors.Is(err, io.EOF) {
		r.broke = err
	}
	return n, err
}
