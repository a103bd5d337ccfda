package nodetest

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A history is what happened in a run with faults: every send, what its sender
// heard of it, and every delivery. judge_test.go says what is wrong with one.

// posting is one message. Its sender numbers it: sender and number are its value,
// which is unique.
type posting struct {
	To   []string
	Fast bool
	Link int // the sender's connection on which it left; 0 when that is not known
	Size int // bytes of the content, at least

	Stored       bool     // MESSAGE_STORED came
	Confirmed    bool     // MESSAGE_CONFIRMATION came
	Refused      string   // the code of the DELIVER_FAILED that came
	MayYetArrive bool     // and what it said
	RefusedTo    []string // for whom, of a group
}

// accepted says that the sender may rely on it.
func (s posting) accepted() bool { return !s.Fast && (s.Stored || s.Confirmed) }

// acceptedFor says that the sender may rely on it for one of the receivers. What is
// stored for some of a group need not be for those of whom it heard a refusal.
func (s posting) acceptedFor(user string) bool {
	return s.accepted() && (len(s.To) == 1 || !slices.Contains(s.RefusedTo, user))
}

// refuse takes a refusal in; to is empty when it does not say for whom.
func (s *posting) refuse(code string, mayYetArrive bool, to []string) {
	s.Refused, s.MayYetArrive, s.RefusedTo = code, mayYetArrive, append(s.RefusedTo, to...)
}

// refusedForGood says that it must not arrive. Of a group only some members may
// have been refused.
func (s posting) refusedForGood() bool {
	return s.Refused != "" && !s.MayYetArrive && len(s.To) == 1 && !s.Stored
}

// delivery is one message as a receiver saw it.
type delivery struct {
	From   string
	N      int
	Intact bool // the content is the one that belongs to From and N
}

// receiverLog is what one receiver saw, session by session. Of an "ack" receiver
// it is what the application saw, as one session.
type receiverLog struct {
	User     string
	Kind     string // "ack", "push" or "fetch"
	Sessions [][]delivery
}

// history may be written by many goroutines.
type history struct {
	mu        sync.Mutex
	Sends     map[string][]posting // by sender, and number
	Receivers []*receiverLog
	accepted  int // sends, so far

	// waysChange says that messages take ways which change: links between domains pass
	// from node to node, and the order of FAST messages holds while their way stays.
	waysChange bool
}

func newHistory() *history { return &history{Sends: make(map[string][]posting)} }

// sending writes a message down before it is sent, and returns its number.
func (h *history) sending(from string, s posting) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Sends[from] = append(h.Sends[from], s)
	return len(h.Sends[from]) - 1
}

// heard changes what a sender knows of a message, named by its reference.
func (h *history) heard(from, reference string, change func(*posting)) {
	n, err := strconv.Atoi(reference)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || n < 0 || n >= len(h.Sends[from]) {
		panic(fmt.Sprintf("%s heard of a message %q that it never sent", from, reference))
	}
	s := &h.Sends[from][n]
	before := s.accepted()
	change(s)
	if !before && s.accepted() {
		h.accepted++
	}
}

// receiver adds a receiver.
func (h *history) receiver(user, kind string) *receiverLog {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &receiverLog{User: user, Kind: kind}
	h.Receivers = append(h.Receivers, r)
	return r
}

// session begins a session of a receiver and returns its number.
func (h *history) session(r *receiverLog) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Sessions = append(r.Sessions, nil)
	return len(r.Sessions) - 1
}

// delivered writes down what a receiver got.
func (h *history) delivered(r *receiverLog, session int, from string, content json.RawMessage) {
	d := readValue(from, content)
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Sessions[session] = append(r.Sessions[session], d)
}

// acceptedSoFar counts the messages on which senders rely.
func (h *history) acceptedSoFar() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.accepted
}

// dump writes the history to a file that outlives the test, for whoever wants to
// know what happened.
func (h *history) dump(t *testing.T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("history-%s-%d.json", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid()))
	text, err := json.Marshal(h)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Errorf("write the history: %v", err)
		return
	}
	t.Logf("the history is in %s", path)
}

// valueContent is the content, a JSON string, of message n of a sender: at least
// size bytes that no other message has.
func valueContent(from string, n, size int) string {
	mark := fmt.Sprintf("%s %d %d ", from, n, size)
	mark += fmt.Sprintf("%08x ", crc32.ChecksumIEEE([]byte(mark)))
	return `"` + mark + strings.Repeat(mark, max(0, size-1)/len(mark)) + `"`
}

// readValue reads a content. It is intact when it is, byte for byte, what the
// sender wrote.
func readValue(from string, content json.RawMessage) delivery {
	var user string
	var n, size int
	if _, err := fmt.Sscanf(string(content), `"%s %d %d `, &user, &n, &size); err != nil || n < 0 || size < 0 || size > len(content) {
		return delivery{From: from, N: -1}
	}
	return delivery{From: from, N: n, Intact: user == from && string(content) == valueContent(from, n, size)}
}
