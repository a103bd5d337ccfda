package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// batch is whole records that are written together.
type batch struct {
	records []byte
	count   int
	must    bool         // written again and again until it goes well
	done    chan<- error // of one; nil when nobody waits
}

// retryTime is how long is waited before what could not be written is tried again.
const retryTime = time.Second

// work writes what comes, and ends slices, until ctx ends; then it publishes
// everything.
func (m *maker) work(ctx context.Context) error {
	for {
		var over <-chan time.Time
		if m.slices.pending() {
			over = m.after(m.slices.rest())
		}
		select {
		case <-ctx.Done():
			return m.finish(nil)
		case b := <-m.in:
			if left := m.write(ctx, m.gather(b)); len(left) > 0 {
				return m.finish(left)
			}
		case <-over:
			m.noteTrouble(m.slices.turn())
		}
	}
}

// gather adds what waits already to a batch.
func (m *maker) gather(b batch) []batch {
	list, size := []batch{b}, len(b.records)
	for size < int(mostBatch) {
		select {
		case b = <-m.in:
			list = append(list, b)
			size += len(b.records)
		default:
			return list
		}
	}
	return list
}

// write writes batches with one sync. Those that nobody else can bring again are tried
// until ctx ends; then they are returned.
func (m *maker) write(ctx context.Context, list []batch) []batch {
	for {
		err := m.writeOnce(list)
		m.noteTrouble(err)
		var left []batch
		for _, b := range list {
			if err != nil && b.must {
				left = append(left, b)
			} else if b.done != nil {
				b.done <- err
			}
		}
		if len(left) == 0 {
			return nil
		}
		list = left
		select {
		case <-ctx.Done():
			return left
		case <-m.after(retryTime):
		}
	}
}

func (m *maker) writeOnce(list []batch) error {
	var all []byte
	count := 0
	for _, b := range list {
		all = append(all, b.records...)
		count += b.count
	}
	if len(all) == 0 {
		return nil
	}
	err := m.slices.put(all)
	if err == nil {
		m.numbers.records.Add(float64(count))
	}
	return err
}

// finish writes what waits, and publishes everything.
func (m *maker) finish(left []batch) error {
	for {
		select {
		case b := <-m.in:
			left = append(left, b)
			continue
		default:
		}
		break
	}
	left = append(left, m.unsent...) // nobody adds to it any more
	err := m.writeOnce(left)
	lost := 0
	for _, b := range left {
		if b.done != nil {
			b.done <- err
		}
		if err != nil && b.must {
			lost += b.count
		}
	}
	if lost > 0 {
		err = fmt.Errorf("%d records that were read cannot be written and are lost: %w", lost, err)
	}
	if published := m.slices.publishAll(); published != nil {
		err = errors.Join(err, fmt.Errorf("publish the last slices: they are published at the next start: %w", published))
	}
	m.slices.abandon()
	return err
}

// noteTrouble remembers why records cannot be written, and says so once.
func (m *maker) noteTrouble(err error) {
	if errors.Is(err, spool.ErrGone) {
		m.slices.abandon()
	}
	m.mu.Lock()
	before := m.trouble
	m.trouble = err
	m.mu.Unlock()
	switch {
	case err != nil && before == nil:
		m.tally.fail(Failure{Reason: err.Error()})
		m.log.Error("records cannot be written, and wait: make room, or put the spool right", "err", err)
	case err == nil && before != nil:
		m.log.Info("records can be written again")
	}
}

// chunk is how much is read of the input at once.
const chunk = 64 << 10

// read reads records until ctx or the input ends, and returns when they are written.
func (m *maker) read(ctx context.Context, in io.Reader) {
	var c cutter
	for buffer := make([]byte, chunk); ; {
		n, err := in.Read(buffer)
		written, more := m.handOn(ctx, &c, buffer[:n], err)
		if more {
			continue
		}
		select {
		case <-written:
		case <-ctx.Done():
		}
		return
	}
}

// handOn hands on what was read. It says whether there is more to read, and else gives
// what tells when all is written.
func (m *maker) handOn(ctx context.Context, c *cutter, read []byte, end error) (written <-chan error, more bool) {
	m.gate.Lock()
	defer m.gate.Unlock()
	if m.stopped {
		return nil, false
	}
	most := int(m.current().Record)
	b := batch{must: true}
	b.records, b.count = c.feed(read, most)
	defer m.leaveOut(c)
	if end == nil {
		if b.count > 0 {
			m.send(ctx, b)
		}
		return nil, true
	}
	if !errors.Is(end, io.EOF) {
		m.log.Error("the input cannot be read any more: it ends here", "err", end)
	}
	rest, count := c.end(most)
	done := make(chan error, 1)
	m.send(ctx, batch{records: append(b.records, rest...), count: b.count + count, must: true, done: done})
	return done, false
}

// send hands on a batch, or keeps it for the stop. The gate is held.
func (m *maker) send(ctx context.Context, b batch) {
	select {
	case m.in <- b:
	case <-ctx.Done():
		m.unsent = append(m.unsent, b)
	}
}

// stopReading has nothing more come from the input; a read that is on its way is left
// to itself.
func (m *maker) stopReading() {
	m.gate.Lock()
	defer m.gate.Unlock()
	m.stopped = true
}

// leaveOut counts records of the input that are too large.
func (m *maker) leaveOut(c *cutter) {
	if c.tooLarge == 0 {
		return
	}
	reason := fmt.Sprintf("%d records are larger than %s and are left out", c.tooLarge, m.current().Record)
	m.numbers.refused.WithLabelValues(codeTooLarge).Add(float64(c.tooLarge))
	m.tally.fail(Failure{Reason: reason, Final: true})
	m.log.Warn("records are too large and are left out", "records", c.tooLarge, "most", m.current().Record.String())
	c.tooLarge = 0
}

// cutter cuts a stream of bytes into records, which end with a newline.
type cutter struct {
	half     []byte // the beginning of one
	skipping bool   // until the next newline
	tooLarge int    // how many were left out
}

// feed returns the records that are whole now, each with its newline, and how many
// they are. Empty ones are left out, and those of more than most bytes, which does not
// count the newline.
func (c *cutter) feed(p []byte, most int) (whole []byte, count int) {
	for len(p) > 0 {
		at := bytes.IndexByte(p, '\n')
		piece := p
		if at >= 0 {
			piece, p = p[:at], p[at+1:]
		} else {
			p = nil
		}
		switch {
		case c.skipping:
		case len(c.half)+len(piece) > most:
			c.half, c.skipping = nil, true
			c.tooLarge++
		default:
			c.half = append(c.half, piece...)
		}
		if at < 0 {
			break
		}
		if len(c.half) > 0 {
			whole = append(append(whole, c.half...), '\n')
			count++
		}
		c.half, c.skipping = c.half[:0], false
	}
	return whole, count
}

// end returns the last record, which may lack its newline.
func (c *cutter) end(most int) (whole []byte, count int) { return c.feed([]byte{'\n'}, most) }

// Bounds of a maker's door.
const (
	makerConnections = 128
	bodyTime         = time.Minute // for the whole of a request's body
	bodyMore         = config.MiB  // that a body may have beyond the largest record
)

// take answers requests that bring records.
func (m *maker) take(w http.ResponseWriter, r *http.Request) {
	refused := func(status int, code, reason string) {
		m.numbers.refused.WithLabelValues(code).Inc()
		refuse(w, status, code, reason)
	}
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/records":
		refused(http.StatusNotFound, codeNotFound, "records go to /records")
		return
	case r.Method != http.MethodPost && r.Method != http.MethodPut:
		w.Header().Set("Allow", "POST, PUT")
		refused(http.StatusMethodNotAllowed, codeMethod, "this path takes POST and PUT")
		return
	case fromElsewhere(r):
		refused(http.StatusForbidden, codeOrigin, "pages of other sites may not bring records")
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // of the system's own clock; each connection has one
	most := m.current().Record
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(most+bodyMore)))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refused(http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("a request has at most %d bytes", large.Limit))
		return
	case err != nil:
		refused(http.StatusBadRequest, codeBroken, "the request broke off")
		return
	}
	var c cutter
	records, count := c.feed(body, int(most))
	rest, last := c.end(int(most))
	if c.tooLarge > 0 {
		refused(http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("a record has at most %s; none of this request is taken", most))
		return
	}
	if err := m.bring(r.Context(), batch{records: append(records, rest...), count: count + last}); err != nil {
		w.Header().Set("Retry-After", "10")
		code := codeSpool
		if errors.Is(err, spool.ErrFull) {
			code = codeFull
		}
		refused(http.StatusServiceUnavailable, code, "records cannot be written now; the log says why")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, answerSuccess) // the caller may be gone
}

// bring waits until records are synced.
func (m *maker) bring(ctx context.Context, b batch) error {
	if b.count == 0 {
		return nil
	}
	done := make(chan error, 1)
	b.done = done
	select {
	case m.in <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// makerNumbers are metrics of a maker beside those of its report.
type makerNumbers struct {
	records prometheus.Counter
	refused *prometheus.CounterVec
}

func newMakerNumbers() makerNumbers {
	return makerNumbers{
		records: prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_relay_records_total", Help: "Records that were written."}),
		refused: newRefused(),
	}
}

func (m *maker) newMetrics() (*prometheus.Registry, error) {
	return newRegistry(m.numbers.records, m.numbers.refused, newReported(m.tally, m.report))
}
