package nodetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// historyOf returns the types and users of a webhook's history, newest first, all
// pages.
func historyOf(t *testing.T, s *Server, key, state string) (list []string) {
	t.Helper()
	for cursor := ""; ; {
		a := s.Call("GET", "/v1/webhooks/billing/events?limit=3&state="+state+cursor, key, "")
		wantStatusOf(t, a, 200)
		var page struct {
			Events []struct {
				State string
				Event event
			}
			Next string
		}
		if err := json.Unmarshal([]byte(a.Body), &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			if e.State != state {
				t.Errorf("%s among what is %s", e.State, state)
			}
			list = append(list, e.Event.Type+" "+e.Event.user())
		}
		if page.Next == "" {
			return list
		}
		cursor = "&cursor=" + page.Next
	}
}

// What was given up and what was delivered is shown, also after a kill, and comes
// again under the same IDs when it is replayed.
func TestTheHistoryOfAWebhookIsShownAndReplayed(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	s := startWith(t, hookSettings(b.url(), "limits: {webhookRetry: 1s}\n", "connected"))
	_, key := s.NewKey(`{"app":"ANZ","scopes":["webhooks:read","webhooks:manage"]}`)
	b.answer(func(e event) int {
		if strings.HasPrefix(e.user(), "ANZ-1") {
			return http.StatusTeapot
		}
		return http.StatusOK
	})
	for u := 20; u < 30; u++ {
		SignIn(t, s, fmt.Sprint("ANZ-", u), "").Close()
	}
	b.await(10)
	for u := 10; u < 14; u++ {
		SignIn(t, s, fmt.Sprint("ANZ-", u), "").Close()
	}
	webhook := func(field string) string {
		t.Helper()
		a := s.Call("GET", "/v1/webhooks/billing", key, "")
		wantStatusOf(t, a, 200)
		return a.Field(field)
	}
	Eventually(t, "ten events are delivered and four given up", func() bool {
		return webhook("failed") == "4" && webhook("delivered") == "10" && webhook("waiting") == "0"
	})
	if a := s.Call("GET", "/v1/webhooks", key, ""); !strings.Contains(a.Body, `"url":"http://`+b.addr+`/hook?(hidden)"`) || strings.Contains(a.Body, "hush") || strings.Contains(a.Body, hookKey) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if reason := webhook("lastFailure"); !strings.Contains(reason, "it answered with status 418") {
		t.Errorf("the last failure is %s", reason)
	}
	s.Kill()
	s.Start()
	failed, delivered := historyOf(t, s, key, "failed"), historyOf(t, s, key, "delivered")
	if len(failed) != 4 || len(delivered) != 10 {
		t.Errorf("%d failed, %d delivered", len(failed), len(delivered))
	}
	b.answer(nil)
	first := b.events()
	a := s.Call("POST", "/v1/webhooks/billing/replays", key, `{"state":"failed"}`, "Idempotency-Key", "k")
	wantStatusOf(t, a, 202)
	again := s.Call("POST", "/v1/webhooks/billing/replays", key, `{"state":"failed"}`, "Idempotency-Key", "k")
	if a.Field("replayed") != "4" || again.Body != a.Body || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s, again %s", a.Body, again.Body)
	}
	list := b.await(14)
	for _, e := range list[10:] {
		if !strings.HasPrefix(e.user(), "ANZ-1") {
			t.Errorf("%+v was replayed", e)
		}
	}
	// What was delivered comes again, too, and the backend knows it.
	wantStatusOf(t, s.Call("POST", "/v1/webhooks/billing/replays", key, `{"state":"delivered"}`), 202)
	Eventually(t, "what was delivered has come again", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.heard) >= 24
	})
	if second := b.events(); len(second) != 14 || !slices.Equal(second[:10], first) {
		t.Errorf("%d different events were heard", len(second))
	}
}

func TestATestOfAWebhookSaysWhatCameBack(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	s := startWith(t, hookSettings(b.url(), "", "expired"))
	_, key := s.NewKey(`{"app":"ANZ","scopes":["webhooks:manage"]}`)
	a := s.Call("POST", "/v1/webhooks/billing/tests", key, "")
	if a.Status != 200 || a.Field("delivered") != "true" || a.Field("status") != "204" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if heard := b.events(); len(heard) != 1 || heard[0].Type != "test" || heard[0].ID != a.Field("id") {
		t.Errorf("it heard %+v", heard)
	}
	b.down()
	a = s.Call("POST", "/v1/webhooks/billing/tests", key, "")
	if a.Status != 200 || a.Field("delivered") != "false" || !strings.HasPrefix(a.Field("reason"), "no answer: ") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	wantCode(t, "a scope that the key lacks", s.Call("GET", "/v1/webhooks", key, ""), 403, "SCOPE_MISSING")
	wantCode(t, "another app", s.Call("POST", "/v1/webhooks/billing/tests?app=SHOP", key, ""), 403, "FORBIDDEN")
	wantCode(t, "another name", s.Call("POST", "/v1/webhooks/none/tests", key, ""), 404, "NOT_FOUND")
}
