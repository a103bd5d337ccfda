package webhooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// event is one event on its way to a webhook.
type event struct {
	n      uint64  // its number in the queue's session
	queued wire.ID // what the queue knows it by
	id     wire.ID // the same on every attempt, replays included
	body   []byte  // what is posted, byte for byte

	user  string    // whom it is about: events of one user go one after the other
	since time.Time // from when on its time runs: when it happened, or was replayed

	attempts  int
	stuck     bool      // an attempt failed
	notBefore time.Time // the receiver asked for no attempt before; zero for none
	last      string    // why the last attempt failed
	status    int       // of the last answer; 0 for none
}

// replayType marks a frame of the queue that holds an event again, under the ID
// that it has always had. No event is of this type.
const replayType = "replay"

// replayed is the frame of such an event. What was posted before follows behind
// a line break, so that it stays as it was, byte for byte.
type replayed struct {
	Type string    `json:"type"`
	ID   wire.ID   `json:"id"`
	At   time.Time `json:"at"`
}

// replayFrame makes the frame that queues an event again at a time.
func replayFrame(id wire.ID, at time.Time, body []byte) []byte {
	head, err := json.Marshal(replayed{Type: replayType, ID: id, At: at.UTC().Truncate(time.Millisecond)})
	if err != nil {
		panic(err) // an ID and a time always marshal
	}
	return append(append(head, '\n'), body...)
}

// readFrame makes an event of a frame of the queue, whose bytes become part of
// it. With an error the event is of nobody.
func readFrame(n uint64, id wire.ID, frame []byte) (*event, error) {
	ev := &event{n: n, queued: id, id: id, body: frame}
	var again replayed
	head, rest, found := bytes.Cut(ev.body, []byte("\n"))
	if found && json.Unmarshal(head, &again) == nil && again.Type == replayType {
		ev.id, ev.body = again.ID, rest
	}
	var text struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      struct {
			UserID string `json:"userId"`
			To     string `json:"to"`
		} `json:"data"`
	}
	if err := json.Unmarshal(ev.body, &text); err != nil {
		return ev, fmt.Errorf("read event %s: %w", ev.id, err)
	}
	ev.user, ev.since = text.Data.UserID, text.Timestamp
	if ev.user == "" {
		ev.user = text.Data.To
	}
	if !again.At.IsZero() {
		ev.since = again.At
	}
	return ev, nil
}
