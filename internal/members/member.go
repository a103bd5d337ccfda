package members

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Status is how a member is.
type Status string

// What a member may be. All but the last is what it says of itself to others.
const (
	Joining     Status = "joining"     // it has begun, and serves nothing yet
	Up          Status = "up"          // it serves
	Leaving     Status = "leaving"     // it is stopping, in good order
	Unreachable Status = "unreachable" // it has not been heard of for a lease; of itself: it has lost touch with the others
)

// Statuses returns all of them.
func Statuses() []Status { return []Status{Joining, Up, Leaving, Unreachable} }

// Member is one node.
type Member struct {
	ID       string   // made anew at each start
	Name     string   // stays
	Address  string   // host:port where clients reach it
	Status   Status   //
	Roles    []string // what it does: connector, processor
	Version  string   // of the program
	Sessions int      // signed in there
	Load     float64  // CPU time over time: 1 is one CPU, wholly busy
	Since    time.Time
	Lease    time.Duration // how long one that it does not hear of counts as alive there; 0: it does not say
	Reason   string        // of the node that is asked: why it serves nothing; empty: it does, or is leaving
	// Since is when it took this status, by its own clock; when it was found
	// unreachable by the clock of whoever asks.
}

// Range is which versions of the protocol between nodes one speaks.
type Range struct{ Min, Max int }

// meets says whether there is a version that both speak.
func (r Range) meets(other Range) bool { return r.Min <= other.Max && other.Min <= r.Max }

// String returns "version 1" or "versions 1 to 2".
func (r Range) String() string {
	if r.Min == r.Max {
		return fmt.Sprintf("version %d", r.Min)
	}
	return fmt.Sprintf("versions %d to %d", r.Min, r.Max)
}

// row is a member as it is stored, as JSON. Members that are unknown are passed
// over, so that a later version may add some.
type row struct {
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	Status   Status    `json:"status"`
	Roles    []string  `json:"roles"`
	Version  string    `json:"version"`
	Min      int       `json:"min"` // of what it speaks
	Max      int       `json:"max"`
	Sessions int       `json:"sessions"`
	Load     float64   `json:"load"`
	Since    time.Time `json:"since"`
	Lease    string    `json:"lease"` // as it stands in the settings; absent in what the first version wrote
	Beat     uint64    `json:"beat"`
}

func encode(m Member, speaks Range, beat uint64) []byte {
	b, err := json.Marshal(row{
		Name: m.Name, Address: m.Address, Status: m.Status, Roles: m.Roles, Version: m.Version, Min: speaks.Min, Max: speaks.Max,
		Sessions: m.Sessions, Load: m.Load, Since: m.Since.UTC(), Lease: m.Lease.String(), Beat: beat,
	})
	if err != nil {
		panic(fmt.Sprintf("members: %v", err)) // our own values marshal
	}
	return b
}

func decode(id string, b []byte) (m Member, speaks Range, beat uint64, err error) {
	var r row
	if err := json.Unmarshal(b, &r); err != nil {
		return Member{}, Range{}, 0, err
	}
	if r.Name == "" || r.Min < 1 || r.Max < r.Min {
		return Member{}, Range{}, 0, errors.New("it has no name, or no version of the protocol")
	}
	if r.Status != Joining && r.Status != Leaving {
		r.Status = Up // one that later versions know lives in any case
	}
	m = Member{
		ID: id, Name: r.Name, Address: r.Address, Status: r.Status, Roles: r.Roles, Version: r.Version,
		Sessions: r.Sessions, Load: r.Load, Since: r.Since,
	}
	m.Lease, _ = time.ParseDuration(r.Lease) // what cannot be read is not said
	return m, Range{r.Min, r.Max}, r.Beat, nil
}

// inOrder sorts members by name, then ID.
func inOrder(list []Member) []Member {
	slices.SortFunc(list, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list
}
