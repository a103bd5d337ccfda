package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	journalWriters = 8
	journalBatch   = 1000 // events of one request
	journalDevices = 100  // of one writer
	journalReach   = 50_000
)

// journalBody is what one writer sends again and again: events of its own devices.
func journalBody(writer int) string {
	var b strings.Builder
	b.WriteString(`{"events":[`)
	for i := range journalBatch {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"bytesSent","device":"bench-%d-%d","amount":%d}`, writer, i%journalDevices, i)
	}
	b.WriteString(`]}`)
	return b.String()
}

// measureJournal has writers write events in a closed loop, and then looks whether the
// states have each event that was answered.
func measureJournal(ctx context.Context, s *suite) (all []found, err error) {
	err = s.withFolder(func(data string) error {
		server, err := s.start(ctx, data)
		if err != nil {
			return err
		}
		rate, err := s.writeJournal(ctx, server)
		if err != nil {
			server.kill()
			return err
		}
		all = []found{{what: "events, synced and in the states", unit: unitRate, value: rate, reach: journalReach}}
		return server.stop()
	})
	return all, err
}

func (s *suite) writeJournal(ctx context.Context, server *server) (rate float64, err error) {
	base := strings.TrimSuffix(strings.Replace(server.url, "ws", "http", 1), "/ws") // which begins and ends so
	ctx, cancel := context.WithTimeout(ctx, s.o.Duration+time.Minute)
	defer cancel()
	var writers errgroup.Group
	var batches [journalWriters]atomic.Int64
	began := time.Now()
	for i := range journalWriters {
		writers.Go(func() error {
			for body := journalBody(i); time.Since(began) < s.o.Duration; batches[i].Add(1) {
				if err := call(ctx, http.MethodPost, base+"/v1/journal", server.key, body, nil); err != nil {
					return fmt.Errorf("write events: %w", err)
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		return 0, err
	}
	took, events := time.Since(began), int64(0)
	for i := range batches {
		events += journalBatch * batches[i].Load()
		for d := range journalDevices {
			want := batches[i].Load() * journalBatch / journalDevices
			if got, err := deviceEvents(ctx, base, server.key, fmt.Sprintf("bench-%d-%d", i, d)); err != nil || got != want {
				return 0, fmt.Errorf("of %d events of a device %d are in its state: %w", want, got, err)
			}
		}
	}
	return float64(events) / took.Seconds(), nil
}

// deviceEvents asks how many events are in the state of a device.
func deviceEvents(ctx context.Context, base, key, device string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/journal/devices/"+device, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var state struct{ Events int64 }
	return state.Events, json.NewDecoder(res.Body).Decode(&state)
}
