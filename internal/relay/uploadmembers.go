package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// Bounds of what a network server may say.
const (
	mostOfCluster  = 4096 // of a cluster
	maxMembersFile = 64 << 20
)

// members knows the collectors of the clusters that are sent to, those that are
// there and those that were lost. It belongs to one goroutine.
type members struct {
	path  string
	known map[string]map[string]knownMember // by cluster and ID
}

// knownMember is a collector that is, or was, listed.
type knownMember struct {
	Member
	Run string `json:"run,omitempty"` // of the network server that listed it last
}

// openMembers reads what was known when the program ended.
func openMembers(path string) (*members, error) {
	m := &members{path: path, known: map[string]map[string]knownMember{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil && len(text) <= maxMembersFile {
		err = json.Unmarshal(text, &m.known)
	}
	if err != nil {
		return nil, fmt.Errorf("read the collectors that were known, %s: %w; without that file the network server is asked, and those that are lost by then are owed nothing", path, err)
	}
	if m.known == nil {
		m.known = map[string]map[string]knownMember{}
	}
	return m, nil
}

// listing is what there is now, by somebody who knows.
type listing struct {
	clusters Clusters
	server   string // which run of which server said so; empty for one of another make
	tells    bool   // it tells those that were lost from those that left
	settings bool   // it is what an operator wrote
}

// check refuses what is out of bounds.
func (l listing) check() error {
	for cluster, list := range l.clusters {
		if len(list) > mostOfCluster {
			return fmt.Errorf("cluster %.40q has %d collectors, and %d are the most", cluster, len(list), mostOfCluster)
		}
		for id, m := range list {
			if id == "" || len(id) > maxID || m.Address == "" || len(m.Address) > maxText || m.Port < 1 {
				return fmt.Errorf("cluster %.40q, collector %.40q: has no ID, address or port that can be used", cluster, id)
			}
		}
	}
	return nil
}

// learn takes a listing over for the clusters that count, and says whether that
// changed anything. A collector that is no longer listed left when the listing is
// by one who would know: an operator, or the run of a network server that listed it
// before. One that began anew may have forgotten it; then it is lost.
func (m *members) learn(l listing, counts map[string]bool, now time.Time) (changed bool) {
	next := map[string]map[string]knownMember{}
	for cluster := range counts {
		list := map[string]knownMember{}
		for id, listed := range l.clusters[cluster] {
			was, known := m.known[cluster][id]
			if listed.Lost != nil {
				listed.Lost = &now // by one clock, ours
				if was.Lost != nil {
					listed.Lost = was.Lost
				}
			}
			if !l.tells {
				listed.Lost = nil
			}
			list[id] = knownMember{listed, l.server}
			changed = changed || !known || !sameMember(was, list[id])
		}
		for id, was := range m.known[cluster] {
			if _, listed := list[id]; listed {
				continue
			}
			if l.settings || l.tells && l.server != "" && l.server == was.Run {
				changed = true // it left
				continue
			}
			if was.Lost == nil {
				was.Lost, changed = &now, true
			}
			list[id] = was
		}
		next[cluster] = list
	}
	m.known = next
	return changed
}

func sameMember(a, b knownMember) bool {
	return a.Address == b.Address && a.Port == b.Port && (a.Lost == nil) == (b.Lost == nil) && a.Run == b.Run
}

// expire forgets those that are lost for longer than a time, and says whether there
// were any.
func (m *members) expire(age func(time.Time) time.Duration, most time.Duration) (changed bool) {
	for _, list := range m.known {
		for id, member := range list {
			if member.Lost != nil && age(*member.Lost) > most {
				delete(list, id)
				changed = true
			}
		}
	}
	return changed
}

// save keeps them for the next start.
func (m *members) save() error {
	text, err := json.Marshal(m.known)
	if err != nil {
		return err
	}
	return lifecycle.ReplaceFile(m.path, text)
}
