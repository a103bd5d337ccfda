package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/wire"
)

type watchJournalRequest struct {
	JournalQuery
}

const (
	// journalPage is how many events are read for a stream at once.
	journalPage = 200
	// journalPulse is how long a stream is silent at most.
	journalPulse = 15 * time.Second
)

// watchJournal streams events as they are stored, until the client leaves, its key is
// not good any more, or the node stops.
func (r Rooms) watchJournal(w http.ResponseWriter, req *http.Request, who Identity, request watchJournalRequest) error {
	q, err := request.query()
	if err != nil {
		return err
	}
	q.Limit = journalPage
	if err := r.beginAt(req, &q, request.After != nil); err != nil {
		return err
	}
	leave, ended, ok := r.Journal.Watch()
	if !ok {
		return notNow(wire.CodeBusy, "as many watch the journal as journal.streams allows")
	}
	defer leave()
	eventsHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	s := journalStream{rooms: r, w: w, sink: http.NewResponseController(w), who: who}
	_ = s.sink.SetReadDeadline(time.Time{}) // see watchStats
	if s.write(": the journal\n\n") != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	s.run(ctx, q)
	return nil
}

// beginAt sets where a stream begins: where the client says that it was, or now.
func (r Rooms) beginAt(req *http.Request, q *journal.Query, given bool) error {
	from := "after"
	if id := req.Header.Get("Last-Event-ID"); id != "" {
		from, given = "Last-Event-ID", true
		if err := q.After.UnmarshalText([]byte(id)); err != nil {
			return Invalid(from, "%s", err)
		}
	}
	if given { // the zero place, too: of a page of a journal that was empty
		err := r.Journal.Known(req.Context(), q.After)
		if errors.Is(err, journal.ErrPlace) {
			return Invalid(from, "%s", journal.ErrPlace)
		}
		return journalError(err, nil)
	}
	at, err := r.Journal.Latest(req.Context())
	q.After = at
	return journalError(err, nil)
}

// journalStream is one stream that is under way.
type journalStream struct {
	rooms Rooms
	w     http.ResponseWriter
	sink  *http.ResponseController
	who   Identity
}

// run writes until ctx ends, or nothing can be written or read any more: the client
// finds out why when it asks again.
func (s *journalStream) run(ctx context.Context, q journal.Query) {
	for s.rooms.stillGood(s.who, time.Now()) {
		page, err := s.rooms.Journal.Page(ctx, q)
		if err != nil || s.send(page) != nil {
			return
		}
		q.After = page.UpTo
		if !page.End {
			continue
		}
		wait, cancel := context.WithTimeout(ctx, journalPulse)
		err = s.rooms.Journal.Wait(wait, q.After)
		pulse := wait.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case pulse:
			if s.write(":\n\n") != nil {
				return
			}
		case err != nil:
			return
		}
	}
}

func (s *journalStream) send(page journal.Page) error {
	if len(page.Events) == 0 {
		return nil
	}
	var b []byte
	for i := range page.Events {
		e := &page.Events[i]
		place, err := e.Place.MarshalText()
		if err != nil {
			return err
		}
		b = fmt.Appendf(b, "id: %s\nevent: journal\ndata: ", place)
		b = append(journal.AppendJSON(b, &e.Event), "\n\n"...)
	}
	return s.write(string(b))
}

func (s *journalStream) write(text string) error {
	_ = s.sink.SetWriteDeadline(time.Now().Add(statsWriteTime)) // see watchStats
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.sink.Flush()
}
