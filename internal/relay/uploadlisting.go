package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds of a listing, which hold while it is read: what a network server says may be
// anything.
const (
	mostListed = 2 * maxKnown // members of the clusters that count; ours has half of them
	maxListed  = 64 << 10     // bytes of one of them, or of a name
)

// notClusters is an answer that is something else.
type notClusters struct{ err error }

func (e *notClusters) Error() string {
	return "what it answered is no list of clusters: " + e.err.Error()
}

// readListing reads the members of the clusters that count, all if counts is nil, and
// passes over the others. It is nil for null. Network servers of other makes hand on
// what they were told: a member that cannot be read is there all the same, without a
// port, so that it takes nothing away from the others. What is no list of clusters is a
// notClusters.
func readListing(from io.Reader, counts map[string]bool) (Clusters, error) {
	r := &listingReader{pieces: newPieces(from, maxAnswer, maxListed, "a name or a collector"), counts: counts}
	all, err := r.read()
	switch {
	case err == nil:
		return all, nil
	case r.broke != nil:
		return nil, r.broke
	case r.kept > mostListed:
		return nil, err
	}
	return nil, &notClusters{err}
}

// listingReader reads a listing.
type listingReader struct {
	*pieces
	counts map[string]bool
	kept   int // members
}

// read reads all of it.
func (r *listingReader) read() (all Clusters, err error) {
	there, err := r.open('{')
	if there {
		all = Clusters{}
	}
	for err == nil && there && r.json.More() {
		var name string
		if name, err = r.key(); err == nil {
			err = r.cluster(all, name)
		}
	}
	if err == nil && there {
		_, err = r.json.Token() // its end
	}
	if err == nil {
		err = r.nothingMore()
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// cluster reads the members of a cluster.
func (r *listingReader) cluster(all Clusters, name string) error {
	there, err := r.open('{')
	if err != nil {
		return err
	}
	list := all[name]
	if wanted := r.counts == nil || r.counts[name]; wanted && list == nil {
		list = map[string]Member{}
		all[name] = list
	}
	for there && r.json.More() {
		id, err := r.key()
		var text json.RawMessage
		if err == nil {
			err = r.value(&text)
		}
		if err == nil && list != nil {
			err = r.keep(list, id, text)
		}
		if err != nil {
			return err
		}
	}
	if there {
		_, err = r.json.Token() // its end
	}
	return err
}

// keep takes a member over.
func (r *listingReader) keep(list map[string]Member, id string, text []byte) error {
	if _, again := list[id]; !again {
		r.kept++
	}
	if r.kept > mostListed {
		return fmt.Errorf("it lists more than %d collectors of the clusters that are sent to, with those that are lost or cannot be used", mostListed)
	}
	list[id] = readListed(text)
	return nil
}

// readListed reads a member of a listing.
func readListed(text []byte) (m Member) {
	err := json.Unmarshal(text, &m)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		m.problem = kind.Field + ": cannot be a " + kind.Value
	case errors.As(err, &kind):
		m.problem = "it is a " + kind.Value
	case err != nil:
		m.problem = cutText(err.Error())
	}
	if err != nil {
		m.Port = 0
	}
	return m
}
