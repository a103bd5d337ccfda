package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/members"
)

// Where nobody answers the look for copies, whoever asks gets what there is, in time.
func TestWhoeverAsksForTheCopiesWaitsForAskTimeoutAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room, err := members.New(members.Options{Self: members.Member{ID: "1", Name: "n1"}, Speaks: members.Range{Min: 1, Max: 1}, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{members: room, copies: &copies{wanted: make(chan struct{}, 1), next: make(chan struct{})}}
		earlier := &api.Copies{Streams: 14}
		for _, c := range []struct {
			most, age, waits time.Duration
			known            *api.Copies
		}{
			{5 * time.Second, time.Hour, 5 * time.Second, nil},
			{5 * time.Second, 0, 0, earlier},
			{5 * time.Second, 5 * time.Second, time.Second, earlier},
			{300 * time.Millisecond, 5 * time.Second, 300 * time.Millisecond, earlier},
			{300 * time.Millisecond, time.Minute, 300 * time.Millisecond, nil},
		} {
			n.opts.Settings = config.Settings{Cluster: config.Cluster{AskTimeout: c.most}}
			n.copies.last, n.copies.at = earlier, time.Now().Add(-c.age)
			began := time.Now()
			if got := n.clusterView().Copies(t.Context()); got != c.known {
				t.Errorf("%+v: %+v", c, got)
			}
			if took := time.Since(began); took != c.waits {
				t.Errorf("%+v: it took %s", c, took)
			}
		}
	})
}
