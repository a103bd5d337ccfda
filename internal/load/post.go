package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// batchPatience is how long a batch waits for more messages.
	batchPatience = 20 * time.Millisecond
	// maxBatches is how many may wait to be posted before, in paced mode, no more
	// messages are sent: the server takes them too slowly.
	maxBatches = 64
	// postPatience bounds one request.
	postPatience = 60 * time.Second
)

// post sends a run's messages over HTTP: in batches, one request after the other,
// so that each sender's order holds. But for its goroutine, which asks and does
// nothing else, it is used by the driver's.
type post struct {
	url, key string
	size     int // messages of a batch

	body  []byte // of the batch that is being collected
	n     int
	since time.Duration // when it was begun

	under   int // batches that wait or are under way
	work    chan batch
	answers chan posted
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// batch is what is asked in one request.
type batch struct {
	body []byte
	n    int
}

// posted is what came of a batch.
type posted struct {
	refused int
	refusal string // the first
	err     error
}

// newPost starts the sender. It is ended by close: a run that is interrupted waits
// for what is on its way, as it does with sockets.
func newPost(ctx context.Context, o *Options) *post {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	base := strings.Replace(o.URLs[0], "ws", "http", 1) // which begins so, see checkURL. Of several nodes, one posts
	if i := strings.Index(base[len("https://"):], "/"); i >= 0 {
		base = base[:len("https://")+i]
	}
	p := &post{
		url: base + "/v1/messages/batch", key: o.Key, size: o.Batch,
		work: make(chan batch, maxBatches*2), answers: make(chan posted, maxBatches*4),
		stop: stop,
	}
	p.ended.Go(func() { p.run(ctx) })
	return p
}

// close ends the sender, and waits for its end.
func (p *post) close() {
	p.stop()
	close(p.work)
	for range p.answers { // it may wait for room
	}
	p.ended.Wait()
}

func (p *post) run(ctx context.Context) {
	defer close(p.answers)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: postPatience}
	for b := range p.work {
		p.answers <- p.ask(ctx, client, b)
	}
}

// check says why the key is not good for sending, if it is not: a batch of nothing
// is refused for that alone.
func (p *post) check(ctx context.Context) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	a := p.ask(ctx, &http.Client{Transport: transport, Timeout: postPatience}, batch{body: []byte(`{"messages":[]}`)})
	var said *refusal
	if errors.As(a.err, &said) && strings.Contains(said.text, " answers 400 ") {
		return nil
	}
	return a.err
}

// ask posts one batch.
func (p *post) ask(ctx context.Context, client *http.Client, b batch) posted {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(b.body))
	if err != nil {
		return posted{err: err}
	}
	r.Header.Set("Authorization", "Bearer "+p.key)
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return posted{err: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return posted{err: err}
	case res.StatusCode == http.StatusOK:
		return readResults(text)
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return posted{refused: b.n, refusal: problemOf(text)}
	}
	return posted{err: &refusal{fmt.Sprintf("%s answers %d %s", p.url, res.StatusCode, problemOf(text))}}
}

// readResults counts what was refused of a batch.
func readResults(text []byte) (p posted) {
	if !bytes.Contains(text, []byte(`"refused"`)) && !bytes.Contains(text, []byte(`"failed"`)) {
		return p
	}
	var batch struct {
		Results []struct {
			Status, Code, Reason string
			Failed               []struct{ Code, Reason string }
		}
	}
	if err := json.Unmarshal(text, &batch); err != nil {
		return posted{err: errors.New("the answer to a batch is not JSON")}
	}
	note := func(code, reason string) {
		if p.refused++; p.refusal == "" {
			p.refusal = code + ": " + shorten(reason)
		}
	}
	for _, r := range batch.Results {
		if r.Status == "refused" {
			note(r.Code, r.Reason)
			continue
		}
		for _, f := range r.Failed {
			note(f.Code, f.Reason)
		}
	}
	return p
}

// problemOf returns what an answer with problem details says.
func problemOf(text []byte) string {
	var problem struct{ Code, Detail string }
	if json.Unmarshal(text, &problem) != nil || problem.Code == "" {
		return shorten(string(text))
	}
	return problem.Code + ": " + shorten(problem.Detail)
}

// room makes room for a message in the batch that is being collected; what is
// appended to the result is given to added.
func (p *post) room(now time.Duration) []byte {
	if p.n == 0 {
		p.body, p.since = append(p.body[:0], `{"messages":[`...), now
		return p.body
	}
	return append(p.body, ',')
}

// added takes the batch with one message more, and sends it when it is full.
func (p *post) added(body []byte) {
	p.body = body
	if p.n++; p.n == p.size {
		p.send()
	}
}

// send has the batch posted.
func (p *post) send() {
	if p.n == 0 {
		return
	}
	p.work <- batch{append(p.body, `]}`...), p.n}
	p.under++
	p.body, p.n = make([]byte, 0, len(p.body)+1024), 0
}

// full says that the server takes batches too slowly.
func (p *post) full() bool { return p.under >= maxBatches }

// due sends what has waited long enough, and returns when to look again.
func (p *post) due(now, until time.Duration) time.Duration {
	if p.n > 0 && now-p.since >= batchPatience {
		p.send()
	}
	if p.n > 0 {
		until = min(until, p.since+batchPatience)
	}
	if p.under > 0 {
		until = min(until, now+10*time.Millisecond) // for the answer
	}
	return until
}

// step is the driver's, and moves what is sent over HTTP.
func (t *talk) step(until time.Duration) error {
	if t.post == nil {
		return t.driver.step(until)
	}
	if err := t.driver.step(t.post.due(t.now(), until)); err != nil {
		return err
	}
	for {
		select {
		case a := <-t.post.answers:
			t.post.under--
			if a.err != nil {
				return fmt.Errorf("post a batch: %w", a.err)
			}
			t.count.refused += int64(a.refused)
			if t.count.refusal == "" {
				t.count.refusal = a.refusal
			}
		default:
			return nil
		}
	}
}
