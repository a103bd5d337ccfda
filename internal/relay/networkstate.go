package relay

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// stateName is the file, in the data folder, of what has to outlive the process. Its
// first line has a word, a version and the SHA-256 of what follows, which is JSON.
const (
	stateName  = "members"
	stateMagic = "switchboard-relay-network 1 "
)

// keptState is what the file has.
type keptState struct {
	FirstPort int          `json:"firstPort"`
	NextPort  int          `json:"nextPort"`
	Members   []keptMember `json:"members"`
}

// keptMember is a member, or one that is remembered.
type keptMember struct {
	Cluster  string    `json:"cluster"`
	ID       string    `json:"id"`
	Address  string    `json:"address"`
	Port     int       `json:"port"`
	Nameless bool      `json:"nameless,omitempty"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
}

// States of a member.
const (
	memberUp   = "up"
	memberLost = "lost"
	memberLeft = "left"
)

func (m *registered) state() string {
	switch {
	case m.up:
		return memberUp
	case m.left:
		return memberLeft
	}
	return memberLost
}

// state returns what there is now. It is quick, since all who ask wait meanwhile.
func (g *roster) state() keptState {
	k := keptState{FirstPort: g.firstPort, NextPort: g.nextPort, Members: make([]keptMember, 0, len(g.members))}
	for _, m := range g.members {
		k.Members = append(k.Members, keptMember{m.cluster, m.id, m.address, m.port, m.nameless, m.state(), m.since.UTC()})
	}
	return k
}

// file returns the file of a state.
func (k keptState) file() []byte {
	slices.SortFunc(k.Members, func(a, b keptMember) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.ID, b.ID))
	})
	body, err := json.Marshal(k)
	if err != nil {
		panic(err) // our own type
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	return append([]byte(stateMagic+hex.EncodeToString(sum[:])+"\n"), body...)
}

// restore takes over what a file has. Those that were there have as long as after a
// heartbeat to say that they still are.
func (g *roster) restore(now time.Time, file []byte) error {
	head, body, _ := bytes.Cut(file, []byte("\n"))
	want, ours := bytes.CutPrefix(head, []byte(stateMagic))
	if sum := sha256.Sum256(body); !ours || hex.EncodeToString(sum[:]) != string(want) {
		return errors.New("it is damaged")
	}
	var k keptState
	if err := json.Unmarshal(body, &k); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if k.FirstPort == g.firstPort {
		g.nextPort = k.NextPort
	}
	for _, one := range k.Members {
		m := &registered{
			memberKey: memberKey{one.Cluster, one.ID}, address: one.Address, port: one.Port, nameless: one.Nameless,
			up: one.State == memberUp, left: one.State == memberLeft, since: one.Since, seen: now,
		}
		g.members[m.memberKey] = m
		at := memberPlace{m.cluster, m.address, m.port}
		if other := g.places[at]; other == nil || !other.up {
			g.places[at] = m
		}
		if m.nameless {
			g.nameless[memberPlace{m.cluster, m.address, 0}] = m
		}
		if m.up {
			g.up++
		}
	}
	return nil
}

// readState restores what a data folder has. A folder without a file is a first start.
func readState(folder string, now time.Time, g *roster) error {
	path := filepath.Join(folder, stateName)
	file, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = g.restore(now, file)
	}
	if err != nil {
		return fmt.Errorf("the members that are kept in %s: %w: put back a copy of the file, or move it away, and then collectors that ask for an ID or a port get new ones", path, err)
	}
	return nil
}

// writeState puts a file in the place of the last.
func writeState(folder string, file []byte) error {
	return lifecycle.ReplaceFile(filepath.Join(folder, stateName), file)
}
