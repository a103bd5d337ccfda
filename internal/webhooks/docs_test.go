package webhooks

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const docs = "docs/webhooks.md"

func TestTheReceiversOfThePageWork(t *testing.T) {
	page := nodetest.ReadCheckout(t, docs)
	for name, program := range map[string]nodetest.Program{
		"Node": nodetest.NodeProgram(t, nodetest.Block(t, page, "js")),
		"Go":   nodetest.GoProgram(t, nodetest.Block(t, page, "go")),
	} {
		for kind, given := range map[string]string{"text": string(secret), "base64": "whsec_" + base64.StdEncoding.EncodeToString(secret)} {
			t.Run(name+" with "+kind, func(t *testing.T) {
				tryReceiver(t, program.Start(t, "PORT=0", "WEBHOOK_SECRET="+given))
			})
		}
	}
}

// tryReceiver posts to a receiver what it must take, and what it must not. It
// prints its port and then each event that is new.
func tryReceiver(t *testing.T, out *bufio.Scanner) {
	if !out.Scan() {
		t.Fatalf("the receiver did not start: %v", out.Err())
	}
	url := "http://127.0.0.1:" + out.Text() + "/hook"
	post := func(n int, text string, at time.Time, keys ...[]byte) int {
		p := newPoster("1.2", func() time.Time { return at }, nil)
		defer p.close()
		to := Webhook{Of: billing, URL: url, Keys: keys, AllowPrivate: true}
		o, _ := p.post(t.Context(), attempt{to, &event{id: numbered(n), body: []byte(text)}, 20 * time.Second})
		return o.status
	}
	now := time.Now()
	connected := fmt.Sprintf(`{"type":"connected","timestamp":%q,"data":{"app":"ANZ","userId":"ANZ-7","sessionId":%q}}`, now.UTC().Format(timeFormat), wire.ID{}.String())
	delivered := strings.NewReplacer("connected", "delivered", `"userId":"ANZ-7"`, `"from":"ANZ-1","to":"ANZ-Ä"`).Replace(connected)
	for what, got := range map[string][2]int{
		"an event":                      {post(1, connected, now, secret), 204},
		"the same again":                {post(1, connected, now.Add(time.Minute), secret), 204},
		"another":                       {post(2, delivered, now, secret), 204},
		"one with two signatures":       {post(3, connected, now, second, secret), 204},
		"one with another secret":       {post(4, connected, now, second), 401},
		"an old one":                    {post(5, connected, now.Add(-10*time.Minute), secret), 401},
		"one from the future":           {post(6, connected, now.Add(10*time.Minute), secret), 401},
		"one without any signature":     {post(7, connected, now), 401},
		"the last, with a proper place": {post(8, strings.ReplaceAll(connected, "ANZ-7", "ANZ-8"), now, secret), 204},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is answered with %d, want %d", what, got[0], got[1])
		}
	}
	for _, want := range []string{"connected ANZ-7", "delivered ANZ-Ä", "connected ANZ-7", "connected ANZ-8"} {
		if !out.Scan() || out.Text() != want {
			t.Errorf("it printed %q, want %q", out.Text(), want)
		}
	}
}

func TestThePageNamesEveryMetricAndEveryLogLine(t *testing.T) {
	page := nodetest.ReadCheckout(t, docs)
	reg := prometheus.NewRegistry()
	s := newStage(t, "http://receiver.example")
	s.options.Metrics, s.options.Nodes = reg, wayFrom{}
	room, err := New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	room.metrics.attempt(billing, resultOK)
	room.metrics.end(billing, Delivered)
	nodetest.WantMetrics(t, page, reg, 9)
	for _, result := range []string{resultOK, resultStatus, resultRedirect, resultTimeout, resultAddress, resultAnswer, resultConnect} {
		if !strings.Contains(page, "`"+result+"`") {
			t.Errorf("the page lacks the result %s", result)
		}
	}
	nodetest.WantLogLines(t, page, `log\.(?:Error|Warn|Info)\("([^"]+)"`, 7)
}
