package meta

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// keepAlive is how often a stream shows that it lives: more often than proxies
	// and NATs forget a silent connection, most after 30 s or later.
	keepAlive = 15 * time.Second
	// maxStreams is how many streams may be open: as many as a description may have
	// domains, each with one.
	maxStreams = 1000
	// streamWrite is how long a reader may take to take what is written to it. One
	// that is slower is cut off; it comes back, and is told what is current.
	streamWrite = 10 * time.Second
	// comeBack is after what time a browser comes back to a stream that broke.
	comeBack = 2 * time.Second
)

// news is what a stream tells of: what is current, and what will be closed when that
// may have changed.
type news func() (told, <-chan struct{})

// told is one event of a stream.
type told struct{ id, text string }

// events answers with a stream: the version that is current, at once, and again
// with each change. Versions that pass while a reader is slow are left out: only
// the newest matters. A reader whose Last-Event-ID is current is told nothing until
// there is news.
func (d *door) events(w http.ResponseWriter, r *http.Request) {
	d.tell(w, r, func() (told, <-chan struct{}) {
		v, changed := d.network.current()
		return event(v), changed
	})
}

// tell answers with a stream of news.
func (d *door) tell(w http.ResponseWriter, r *http.Request, of news) {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		w.Header().Set("Retry-After", strconv.Itoa(int(keepAlive/time.Second)))
		d.refuse(w, http.StatusServiceUnavailable, codeTooManyStreams, fmt.Sprintf("%d streams are open: no more are served", cap(d.slots)))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	d.metrics.streams.Inc()
	defer d.metrics.streams.Dec()
	d.stream(w, r, of)
}

func (d *door) stream(w http.ResponseWriter, r *http.Request, of news) {
	to := http.NewResponseController(w)
	write := func(text string) bool {
		err := to.SetWriteDeadline(time.Now().Add(streamWrite))
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err == nil {
			err = to.Flush()
		}
		if err != nil && r.Context().Err() == nil {
			d.metrics.refuse("SLOW_STREAM")
		}
		return err == nil
	}
	// The deadline for reading the request would end the stream with it. Where it
	// cannot be moved the stream ends early, and its reader comes back.
	_ = to.SetReadDeadline(time.Time{})
	last := r.Header.Get("Last-Event-ID")
	now, changed := of()
	text := fmt.Sprintf("retry: %d\n\n", comeBack.Milliseconds())
	alive := time.NewTicker(d.keepAlive)
	defer alive.Stop()
	for {
		if now.id != last {
			text, last = text+now.text, now.id
		}
		if text != "" && !write(text) {
			return
		}
		text = ""
		select {
		case <-r.Context().Done():
			return
		case <-d.stopping:
			return
		case <-changed:
			now, changed = of()
		case <-alive.C:
			text = ": alive\n\n"
		}
	}
}

// event is what a stream says of a description.
func event(v *view) told {
	id := strconv.FormatUint(v.network.Version, 10)
	return told{id, fmt.Sprintf("id: %s\nevent: network\ndata: {\"version\":%s}\n\n", id, id)}
}
