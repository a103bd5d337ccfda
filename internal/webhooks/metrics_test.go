package webhooks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// metric returns the sum of a metric over the series with these labels, given
// as name, value, name, value.
func (s *stage) metric(name string, labels ...string) (sum float64) {
	s.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "switchboard_webhooks_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := make(map[string]string)
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			fits := true
			for i := 0; i < len(labels); i += 2 {
				fits = fits && have[labels[i]] == labels[i+1]
			}
			if fits {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestTheMetricsShowHowItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, a arrival) {
			if a.user == "ANZ-0" {
				w.WriteHeader(http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusOK)
		})
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		want := func(value float64, name string, labels ...string) {
			t.Helper()
			if got := s.metric(name, append(labels, "app", "ANZ", "webhook", "billing")...); got != value {
				t.Errorf("%s %v is %v, want %v", name, labels, got, value)
			}
		}
		want(1, "state", "state", StateIdle)
		s.fill(2, 3)
		time.Sleep(time.Hour)
		want(1, "state", "state", StateFailing) // nothing else has come since
		want(0, "state", "state", StateIdle)
		want(3, "attempts_total", "result", resultOK)
		want(12, "attempts_total", "result", resultStatus)
		want(3, "events_total", "state", "delivered")
		want(0, "events_total", "state", "failed")
		want(3, "waiting")
		want(1, "stuck_users")
		want(3600, "oldest_seconds")
		time.Sleep(72 * time.Hour)
		want(3, "events_total", "state", "failed")
		want(0, "waiting")
		want(0, "oldest_seconds")
		s.room.Replace(nil, s.options.Limits)
		want(0, "events_total")
		want(0, "state")
	})
}

func TestNoSecretIsLoggedOrShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, network, end := onPipes(t, r)
		defer end()
		s.options.Webhooks[0].URL = "http://user:hush1@receiver.example/hook?key=hush2"
		s.begin()
		network.set(errors.New("down"))
		s.fill(10, 1)
		time.Sleep(100 * time.Hour)
		shown := s.log.String() + fmt.Sprintf("%+v", s.status()) + fmt.Sprintf("%+v", s.history(0))
		for _, hidden := range []string{"hush1", "hush2", string(secret), string(second)} {
			if strings.Contains(shown, hidden) {
				t.Errorf("%s is shown: %s", hidden, shown)
			}
		}
		if strings.Contains(s.log.String(), "connected") || strings.Contains(s.log.String(), "receiver.example") {
			t.Errorf("it is logged\n%s", s.log)
		}
	})
}
