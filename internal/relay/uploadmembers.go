package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// Bounds of what a network server may say. Of those that are there it has at most
// mostMembers itself.
const (
	mostOwed       = maxKnown    // that are known at once; more of those that are lost are owed nothing
	lostSlack      = time.Minute // a loss that is so much newer than the known one is another one
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
	Run  string `json:"run,omitempty"`  // of the network server that listed it last
	Over bool   `json:"over,omitempty"` // it is lost for so long that it is owed nothing; it is remembered while it is listed
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
	unusable []unusable
	server   string    // which run of which server said so; empty for one of another make
	at       time.Time // by the clock of who said so; zero if that is not known
	tells    bool      // it tells those that were lost from those that left
	settings bool      // it is what an operator wrote
}

// unusable is a collector that is listed and cannot be sent to.
type unusable struct{ cluster, id, reason string }

// narrow leaves what is of the clusters that count, and says which members of them
// cannot be used: they take nothing away from the others. Too many are refused; those
// that are lost are no burden to anybody yet, and count elsewhere.
func (l *listing) narrow(counts map[string]bool) error {
	all := Clusters{}
	there := 0
	for cluster := range counts {
		list := make(map[string]Member, len(l.clusters[cluster]))
		for id, m := range l.clusters[cluster] {
			m.Address = plainHost(m.Address)
			if m.problem = problemOf(id, m); m.problem != "" {
				l.unusable = append(l.unusable, unusable{cluster, id, m.problem})
			} else if m.Lost == nil || !l.tells {
				there++
			}
			list[id] = m
		}
		all[cluster] = list
	}
	if there > mostMembers {
		return fmt.Errorf("it lists %d collectors of the clusters that are sent to, and %d are the most", there, mostMembers)
	}
	l.clusters = all
	return nil
}

// problemOf says why a member cannot be sent to; empty if it can.
func problemOf(id string, m Member) string {
	if m.problem != "" {
		return m.problem
	}
	if err := checkID(id); err != nil {
		return "id: " + err.Error()
	}
	if err := checkHost(m.Address); err != nil {
		return "address: " + err.Error()
	}
	if m.Port < 1 || m.Port > maxPort {
		return fmt.Sprintf("port: must be 1 to %d", maxPort)
	}
	return ""
}

// learn takes a listing over that was narrowed to the clusters that count, and says
// whether that changed anything, and what is to be told. A collector that is no longer
// listed left when the listing is by one who would know: an operator, or the run of a
// network server that listed it before. One that began anew may have forgotten it; then
// it is lost.
func (m *members) learn(l listing, counts map[string]bool, keepFor time.Duration, now time.Time) (changed bool, told []event) {
	next := map[string]map[string]knownMember{}
	for cluster := range counts {
		list := map[string]knownMember{}
		for id, listed := range l.clusters[cluster] {
			was, known := m.known[cluster][id]
			is, owed := l.take(listed, was, known, keepFor, now)
			if !owed {
				continue
			}
			list[id] = is
			changed = changed || !known || !sameMember(was, is)
			if what := newsOf(was, known, is); what != nil {
				told = append(told, event{what, cluster, id, addressOf(is.Member)})
			}
		}
		for id, was := range m.known[cluster] {
			if _, listed := list[id]; listed {
				continue
			}
			if was.Over || l.settings || l.tells && l.server != "" && l.server == was.Run {
				changed = true // it left
				if !was.Over {
					told = append(told, event{noticeLeft, cluster, id, addressOf(was.Member)})
				}
				continue
			}
			if was.Lost == nil {
				was.Lost, changed = &now, true
				told = append(told, event{noticeLost, cluster, id, addressOf(was.Member)})
			}
			list[id] = was
		}
		next[cluster] = list
	}
	m.known = next
	return changed, told
}

// take says what is known of a member that is listed, and whether it is owed anything. When one
// was lost is told by our clock; of one that is new here, by how long ago it is for
// who lists it.
func (l *listing) take(listed Member, was knownMember, known bool, keepFor time.Duration, now time.Time) (is knownMember, owed bool) {
	if listed.problem != "" {
		return was, known // it stays where it was
	}
	is = knownMember{Member: listed, Run: l.server}
	if listed.Lost == nil || !l.tells {
		is.Lost = nil
		return is, true
	}
	since := now
	if !l.at.IsZero() {
		since = now.Add(-max(l.at.Sub(*listed.Lost), 0))
	}
	switch {
	case was.Lost != nil && since.Sub(*was.Lost) < lostSlack:
		since, is.Over = *was.Lost, was.Over
	case was.Lost != nil: // it was back meanwhile
	case known:
		since = now
	case now.Sub(since) > keepFor:
		return is, false
	}
	is.Lost = &since
	return is, true
}

func sameMember(a, b knownMember) bool {
	return a.Address == b.Address && a.Port == b.Port && (a.Lost == nil) == (b.Lost == nil) && a.Run == b.Run && a.Over == b.Over
}

// newsOf says what there is to be told of a member that is listed; nil for nothing.
func newsOf(was knownMember, known bool, is knownMember) *notice {
	switch {
	case is.Lost != nil && (!known || was.Lost == nil):
		return noticeLost
	case is.Lost != nil:
		return nil
	case !known:
		return noticeJoined
	case was.Lost != nil:
		return noticeBack
	case was.Address != is.Address || was.Port != is.Port:
		return noticeMoved
	}
	return nil
}

// expire has those be owed nothing that are lost for longer than a time, and those
// lost longest of too many. It says whether there were any, and what is to be told.
func (m *members) expire(age func(time.Time) time.Duration, most time.Duration) (changed bool, told []event) {
	for cluster, list := range m.known {
		for id, member := range list {
			if member.Lost != nil && !member.Over && age(*member.Lost) > most {
				member.Over = true
				list[id] = member
				changed, told = true, append(told, event{noticeOver, cluster, id, addressOf(member.Member)})
			}
		}
	}
	dropped := m.bound()
	return changed || len(dropped) > 0, append(told, dropped...)
}

// bound forgets members when there are too many of them.
func (m *members) bound() (told []event) {
	all := 0
	for _, list := range m.known {
		all += len(list)
	}
	if all <= mostOwed {
		return nil
	}
	type lostOne struct {
		cluster, id string
		knownMember
	}
	var lost []lostOne
	for cluster, list := range m.known {
		for id, member := range list {
			if member.Lost != nil {
				lost = append(lost, lostOne{cluster, id, member})
			}
		}
	}
	slices.SortFunc(lost, func(a, b lostOne) int { return a.Lost.Compare(*b.Lost) })
	for _, one := range lost[:min(len(lost), all-mostOwed)] {
		delete(m.known[one.cluster], one.id)
		if !one.Over {
			told = append(told, event{noticeTooMany, one.cluster, one.id, addressOf(one.Member)})
		}
	}
	return told
}

// save keeps them for the next start.
func (m *members) save() error {
	text, err := json.Marshal(m.known)
	if err != nil {
		return err
	}
	return lifecycle.ReplaceFile(m.path, text)
}
