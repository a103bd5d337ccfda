package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// eventually waits until cond holds. It is for tests on real connections.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestEventsArriveSignedInOrderAndMoreThanOneAtATime(t *testing.T) {
	var r *receiver
	r = answer(t, func(w http.ResponseWriter, _ *http.Request, a arrival) {
		if a.user == "ANZ-0" { // is answered only when others come meanwhile
			eventually(t, "another user's event comes", func() bool { return r.highest() > 1 })
		}
		w.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewServer(r)
	defer server.Close()
	s := newStage(t, server.URL)
	ids := s.fill(50, 20)
	s.begin()
	eventually(t, "all have arrived and are proved", func() bool { return s.left() == 0 })
	s.judge(ids, r.got())
	if r.count() != len(ids) {
		t.Errorf("%d requests for %d events", r.count(), len(ids))
	}
	if r.highest() > 32 {
		t.Errorf("%d requests at once", r.highest())
	}
	delivered := s.history(Delivered)
	if len(delivered) != len(ids) || len(s.history(Failed)) != 0 || len(s.history(0)) != len(ids) {
		t.Errorf("%d stand in the history", len(delivered))
	}
	if e := delivered[0]; e.Status != 204 || e.Attempts != 1 || e.Reason != "" || !strings.HasPrefix(string(e.Body), `{"type":"connected"`) {
		t.Errorf("the history has %+v", e)
	}
	if got := s.status(); got.State != StateOK || got.Delivered != uint64(len(ids)) || got.LastSuccess.IsZero() || !got.LastFailure.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func TestAReceiverThatIsDownForAWhileMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, network, end := onPipes(t, r)
		defer end()
		s.begin()
		ids := s.fill(100, 5)
		synctest.Wait()
		network.set(errors.New("connection refused"))
		ids = append(ids, s.fill(100, 5)...)
		time.Sleep(6 * time.Hour)
		ids = append(ids, s.fill(100, 5)...)
		if got := s.status(); got.State != StateFailing || !strings.Contains(got.LastReason, "connection refused") || got.Waiting.Events == 0 {
			t.Errorf("got %+v", got)
		}
		network.set(nil)
		time.Sleep(time.Minute + time.Second)
		s.judge(ids, r.got())
		if s.left() != 0 || s.status().State != StateOK {
			t.Errorf("%d are left, %+v", s.left(), s.status())
		}
		if lines := strings.Split(strings.TrimSpace(s.log.String()), "\n"); len(lines) != 2 {
			t.Errorf("it is logged\n%s", s.log)
		}
	})
}

func TestAReceiverThatIsDeadForGoodIsGivenUpAfterThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, _ arrival) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "out of\norder\x00")
		})
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		began := time.Now()
		ids := s.fill(200, 5)
		time.Sleep(71 * time.Hour)
		if s.left() != len(ids) {
			t.Errorf("%d of %d are left after 71 h", s.left(), len(ids))
		}
		time.Sleep(time.Hour + time.Second)
		failed := s.history(Failed)
		if s.left() != 0 || len(failed) != len(ids) || len(s.history(Delivered)) != 0 {
			t.Fatalf("%d are left, %d given up, of %d", s.left(), len(failed), len(ids))
		}
		for _, e := range failed {
			if e.At.Before(began.Add(72*time.Hour)) || e.Reason != "it answered with status 500: out of order\uFFFD" {
				t.Fatalf("the history has %+v", e)
			}
		}
		if n := r.count(); n > 72*60+100 {
			t.Errorf("%d requests in three days", n)
		}
		if got := s.status(); got.Failed != uint64(len(ids)) || got.State != StateFailing {
			t.Errorf("got %+v", got)
		}
		if lines := strings.Split(strings.TrimSpace(s.log.String()), "\n"); len(lines) != 2 {
			t.Errorf("it is logged\n%s", s.log)
		}
	})
}

func TestAUserForWhomItFailsHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var healed atomic.Bool
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, a arrival) {
			if a.user == "ANZ-3" && !healed.Load() {
				w.WriteHeader(http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusOK)
		})
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		ids := s.fill(10, 10)
		time.Sleep(time.Second / 2)
		if s.left() != 10 || len(r.got()) != 90 {
			t.Errorf("%d are left, %d have arrived", s.left(), len(r.got()))
		}
		if got := s.status(); got.StuckUsers != 1 || got.State != StateOK {
			t.Errorf("got %+v", got)
		}
		time.Sleep(time.Hour)
		healed.Store(true)
		time.Sleep(time.Hour)
		s.judge(ids, r.got())
	})
}

// Where users fill the window with what fails for themselves, the others wait,
// and nothing is lost.
func TestWhatIsStuckIsBoundedByTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var healed atomic.Bool
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, a arrival) {
			if a.user == "ANZ-0" && !healed.Load() {
				w.WriteHeader(http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusOK)
		})
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		large := append(body("connected", "ANZ-0", 0), strings.Repeat(" ", window/4)...)
		for range 4 {
			s.queue.add(billing, large)
		}
		s.fill(3, 3)
		time.Sleep(time.Hour)
		if n := len(r.got()); n != 0 {
			t.Errorf("%d have arrived", n)
		}
		healed.Store(true)
		time.Sleep(2 * time.Hour)
		if n := len(r.got()); n != 13 || s.left() != 0 {
			t.Errorf("%d have arrived, %d are left", n, s.left())
		}
	})
}

func TestARoomThatIsStoppedAndStartedLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, a arrival) {
			time.Sleep(100 * time.Millisecond)
			w.WriteHeader(http.StatusOK)
		})
		s, _, end := onPipes(t, r)
		defer func() { end() }()
		ids := s.fill(40, 10)
		for range 5 {
			s.begin()
			time.Sleep(250 * time.Millisecond)
			s.stop()
		}
		if n := r.count(); n != len(r.got()) {
			t.Errorf("%d of %d attempts were broken off", n-len(r.got()), n)
		}
		s.begin()
		time.Sleep(time.Minute)
		s.judge(ids, r.got())
		if r.count() != len(ids) {
			t.Errorf("%d requests for %d events: a clean stop repeats nothing", r.count(), len(ids))
		}
		s.stop()
	})
}

func TestAttemptsThatOutlastTheGraceAreBrokenOffAndMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		slow.Store(true)
		r := answer(t, func(w http.ResponseWriter, req *http.Request, a arrival) {
			if slow.Load() {
				<-req.Context().Done()
				return
			}
			w.WriteHeader(http.StatusOK)
		})
		s, _, end := onPipes(t, r)
		defer func() { end() }()
		ids := s.fill(3, 2)
		s.begin()
		time.Sleep(time.Second)
		began := time.Now()
		s.stop()
		if took := time.Since(began); took < DefaultGrace || took > DefaultGrace+time.Second {
			t.Errorf("it stopped after %s", took)
		}
		if len(s.archive.records) != 0 || s.left() != len(ids) {
			t.Errorf("%d records, %d events left", len(s.archive.records), s.left())
		}
		slow.Store(false)
		s.begin()
		time.Sleep(time.Second)
		s.judge(ids, r.got())
		s.stop()
	})
}

func TestNothingIsProvedBeforeItStandsInTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, _, end := onPipes(t, r)
		defer end()
		s.archive.fail(errors.New("no room"), false)
		ids := s.fill(3, 1)
		s.begin()
		time.Sleep(time.Minute)
		if s.left() != 3 || r.count() != 3 {
			t.Errorf("%d are left, %d have come", s.left(), r.count())
		}
		s.archive.fail(nil, false)
		time.Sleep(2 * time.Second)
		if s.left() != 0 || len(s.history(0)) != 3 || r.count() != 3 {
			t.Errorf("%d are left, %d stand in the history, %d have come", s.left(), len(s.history(0)), r.count())
		}
		s.judge(ids, r.got())
		if text := s.log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "is not written") || !strings.Contains(text, "written again") {
			t.Errorf("it is logged\n%s", text)
		}
	})
}

func TestARecordOfWhichNobodyKnowsIsStoredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, end := onPipes(t, answer(t, nil))
		defer end()
		s.begin()
		s.fill(2, 1)
		time.Sleep(time.Second)
		s.archive.fail(errors.New("no answer"), true) // yet it is stored
		s.fill(2, 1)
		time.Sleep(100 * time.Millisecond)
		s.fill(2, 1) // comes while it is tried again
		s.archive.fail(nil, false)
		time.Sleep(time.Minute)
		if n := len(s.history(0)); n != 6 || s.left() != 0 {
			t.Errorf("%d stand in the history, %d are left", n, s.left())
		}
	})
}

func TestWhatTheQueueHandsOverAgainAfterItWasProvedIsNotPostedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		frame := body("connected", "ANZ-1", 0)
		id := s.queue.add(billing, frame)
		time.Sleep(time.Second)
		s.queue.again(billing, id, frame)
		time.Sleep(time.Second)
		if r.count() != 1 || s.left() != 0 {
			t.Errorf("%d requests, %d left", r.count(), s.left())
		}
	})
}

func TestAnUnreadableEventIsGivenUpAndHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		s.queue.add(billing, []byte("no JSON"))
		ids := s.fill(1, 1)
		time.Sleep(time.Second)
		s.judge(ids, r.got())
		if failed := s.history(Failed); len(failed) != 1 || failed[0].Reason != "the event could not be read" || s.left() != 0 {
			t.Errorf("%+v, %d left", failed, s.left())
		}
	})
}

func TestAQueueThatDoesNotOpenIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, _, end := onPipes(t, r)
		defer end()
		s.queue.refuses = errors.New("not now")
		ids := s.fill(1, 1)
		s.begin()
		time.Sleep(10 * time.Second)
		s.queue.mu.Lock()
		s.queue.refuses = nil
		s.queue.mu.Unlock()
		time.Sleep(2 * time.Second)
		s.judge(ids, r.got())
		if strings.Count(s.log.String(), "does not open") != 1 {
			t.Errorf("it is logged\n%s", s.log)
		}
	})
}

func TestSettingsChangeWithoutLosingWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, network, end := onPipes(t, r)
		defer end()
		s.begin()
		network.set(errors.New("no such host"))
		ids := s.fill(50, 2)
		time.Sleep(5 * time.Hour)
		network.set(nil)
		moved := s.options.Webhooks[0]
		moved.URL = "http://receiver.example/elsewhere?key=1"
		s.room.Replace([]Webhook{moved}, s.options.Limits)
		time.Sleep(time.Second) // at once, not at the next attempt
		s.judge(ids, r.got())
		if got := s.status().URL; got != "http://receiver.example/elsewhere?(hidden)" {
			t.Errorf("the URL is shown as %s", got)
		}
	})
}

// hang is a receiver that never answers.
func hang(_ http.ResponseWriter, req *http.Request, _ arrival) { <-req.Context().Done() }

// What hangs at the old place does not hold up the new one, and counts as never
// tried.
func TestAWebhookThatMovesTakesWhatHangsAlong(t *testing.T) {
	for what, move := range map[string]func(w *Webhook){
		"URL":          func(w *Webhook) { w.URL = "http://receiver.example/elsewhere" },
		"secrets":      func(w *Webhook) { w.Keys = [][]byte{second, secret} },
		"allowPrivate": func(w *Webhook) { w.AllowPrivate = false },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old := answer(t, hang)
				s, from, end := onPipes(t, old)
				r := answer(t, nil)
				to, stop := serve(r)
				defer func() { end(); stop() }()
				var network atomic.Pointer[pipes]
				network.Store(from)
				s.options.Dial = func(ctx context.Context, n, address string) (net.Conn, error) {
					return network.Load().dial(ctx, n, address)
				}
				s.begin()
				ids := s.fill(40, 3)
				time.Sleep(time.Second)
				moved := s.options.Webhooks[0]
				move(&moved)
				network.Store(to)
				s.room.Replace([]Webhook{moved}, s.options.Limits)
				time.Sleep(time.Second)
				s.judge(ids, r.got())
				if old.count() != 32 || r.count() != len(ids) || s.left() != 0 {
					t.Errorf("%d requests at the old place and %d at the new one, %d events left", old.count(), r.count(), s.left())
				}
				for _, e := range s.history(Delivered) {
					if e.Attempts != 1 {
						t.Fatalf("the history has %+v", e)
					}
				}
				if got := s.status(); !got.LastFailure.IsZero() || s.log.String() != "" {
					t.Errorf("got %+v, it is logged\n%s", got, s.log)
				}
			})
		})
	}
}

func TestSettingsThatLeaveAWebhookWhereItIsBreakNothingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, _ arrival) {
			time.Sleep(5 * time.Second)
			w.WriteHeader(http.StatusOK)
		})
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		ids := s.fill(32, 1)
		time.Sleep(time.Second)
		same := s.options.Webhooks[0]
		same.Keys, same.Events = [][]byte{bytes.Clone(secret), second}, []string{"connected", "expired"}
		s.room.Replace([]Webhook{same}, s.options.Limits)
		time.Sleep(time.Minute)
		s.judge(ids, r.got())
		if r.count() != len(ids) {
			t.Errorf("%d requests for %d events", r.count(), len(ids))
		}
	})
}

// An attempt that fails in the moment in which the webhook moves says nothing of
// the new place.
func TestAFailureAtAPlaceThatIsLeftIsNoneOfTheNewOne(t *testing.T) {
	w := newWorker(newHook(Webhook{Of: billing, URL: "http://old.example"}, Limits{time.Second, time.Hour, 1}, &Options{Logger: slog.New(slog.DiscardHandler)}, nil, nil), nil)
	ev := &event{user: "ANZ-1", since: begin()}
	w.machine.arrive(begin(), ev)
	w.posts[ev] = func() {}
	w.put(input{ev: ev, course: w.course, outcome: outcome{reason: "no"}})
	w.set(Webhook{Of: billing, URL: "http://new.example"}, w.limits)
	w.machine.take()
	w.take(begin(), false)
	if list := w.machine.take(); len(list) != 1 || list[0] != (effect{effPost, ev}) || ev.attempts != 0 || !w.view.LastFailure.IsZero() {
		t.Errorf("%+v is to be done, %+v", list, ev)
	}
}

func TestARemovedWebhooksEventsWaitForItsReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, _ arrival) { w.WriteHeader(http.StatusBadGateway) })
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		ids := s.fill(3, 2)
		time.Sleep(time.Second / 2)
		s.room.Replace(nil, s.options.Limits)
		synctest.Wait()
		before := r.count()
		time.Sleep(time.Hour)
		if r.count() != before || s.left() != len(ids) {
			t.Errorf("%d requests after it was removed, %d events left", r.count()-before, s.left())
		}
		if _, err := s.room.Status(t.Context(), billing); !errors.Is(err, ErrUnknown) {
			t.Errorf("its status: %v", err)
		}
		r.set(nil)
		other := s.options.Webhooks[0]
		other.Of.Name = "other"
		s.room.Replace([]Webhook{other, s.options.Webhooks[0]}, s.options.Limits)
		time.Sleep(time.Second)
		s.judge(ids, r.got())
		list, err := s.room.List(t.Context(), "ANZ")
		if err != nil || len(list) != 2 || list[0].Of != billing || list[1].Of != other.Of || list[1].State != StateIdle {
			t.Errorf("%+v, %v", list, err)
		}
		if list, err := s.room.List(t.Context(), "OTHER"); err != nil || len(list) != 0 {
			t.Errorf("another app's: %+v, %v", list, err)
		}
	})
}

// One that is taken away ends in its own time; one of the same name waits for
// that, as they have the same queue, and nobody else does.
func TestTheEndOfAWebhookHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hanging, end := onPipes(t, answer(t, hang))
		r := answer(t, nil)
		network, stop := serve(r)
		defer func() { end(); stop() }()
		s.options.Dial = func(ctx context.Context, n, address string) (net.Conn, error) {
			if address == "receiver.example:80" {
				return hanging.dial(ctx, n, address)
			}
			return network.dial(ctx, n, address)
		}
		s.begin()
		ids := s.fill(32, 1)
		time.Sleep(time.Second / 2)
		other, back := s.options.Webhooks[0], s.options.Webhooks[0]
		other.Of.Name, other.URL, back.URL = "other", "http://other.example", "http://back.example"
		id := s.queue.add(other.Of, body("connected", "ANZ-100", 0))
		s.room.Replace([]Webhook{other}, s.options.Limits)
		time.Sleep(time.Second / 2)
		s.judge([]wire.ID{id}, r.got())
		s.room.Replace([]Webhook{other, back}, s.options.Limits)
		later := s.queue.add(other.Of, body("connected", "ANZ-101", 0))
		time.Sleep(time.Second / 2)
		s.judge([]wire.ID{id, later}, r.got())
		time.Sleep(DefaultGrace)
		s.judge(append(ids, id, later), r.got())
	})
}

func TestALowerLimitHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, hang)
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		l := s.options.Limits
		l.Concurrency, l.Timeout = 2, 500*time.Millisecond
		s.room.Replace(s.options.Webhooks, l)
		synctest.Wait()
		s.fill(10, 1)
		time.Sleep(750 * time.Millisecond)
		if r.highest() != 2 {
			t.Errorf("%d at once", r.highest())
		}
		if reason := s.status().LastReason; reason != "no answer within 500ms" {
			t.Errorf("the reason is %q", reason)
		}
	})
}
