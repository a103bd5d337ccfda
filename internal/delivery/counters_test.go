package delivery

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhatServersSendAndWhoIsThereIsCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := New(Options{
		Keeper: &storing{}, Access: access{}, Metrics: registry,
		Sessions: func() int { return 2 }, Group: func() int { return 1 },
	})
	add(t, h, "A-1")
	add(t, h, "A-1")
	add(t, h, "A-2")
	gone := add(t, h, "A-3")
	h.Remove(gone)
	for range 2 { // a link is no user, and not counted, nor are two sessions of it
		r := newReceiver(t, "link_there-1")
		r.transport = "link"
		if _, err := h.Add(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	message := func(fast bool) *Send {
		return &Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: []byte("1"), Fast: fast, Origin: &origin{}, Done: func() {}}
	}
	h.SendAll([]*Send{message(true), message(false), message(true), message(false), message(false)}, nil)
	for _, fast := range []bool{true, false} {
		if _, err := h.Broadcast(t.Context(), message(fast), nil); err != nil {
			t.Fatal(err)
		}
	}
	h.Send(message(true)) // over a socket, which counts it itself
	want := `
# HELP switchboard_api_messages_total Messages and broadcasts that apps' own servers sent over HTTP, by feature.
# TYPE switchboard_api_messages_total counter
switchboard_api_messages_total{feature="FAST"} 3
switchboard_api_messages_total{feature="RELIABLE"} 4
# HELP switchboard_roster_users Users with a session on any node, as this one knows.
# TYPE switchboard_roster_users gauge
switchboard_roster_users 2
# HELP switchboard_online_users Users with a session on this node.
# TYPE switchboard_online_users gauge
switchboard_online_users 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "switchboard_api_messages_total", "switchboard_online_users", "switchboard_roster_users"); err != nil {
		t.Error(err)
	}
}
