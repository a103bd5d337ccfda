package nodetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// send sends a RELIABLE message with a reference and without a confirmation.
func send(p *Peer, to, content, reference string) {
	p.t.Helper()
	p.Message(to, content, fmt.Sprintf(`"confirmationEnabled":false,"reference":%q`, reference))
}

// wantFailure fails unless the next frame says that a message failed.
func wantFailure(t *testing.T, p *Peer, code, to, reference string) {
	t.Helper()
	f := p.Expect("DELIVER_FAILED")
	if f.Field("code") != code || f.Field("to") != to || string(f.Reference) != fmt.Sprintf("%q", reference) || f.Field("mayYetArrive") != "" {
		t.Fatalf("got %s, want %s for %s, reference %s", f.Raw, code, to, reference)
	}
}

// A stranger may send small frames only; once signed in, those up to the limit.
func TestTheFramesOfStrangersAreSmall(t *testing.T) {
	t.Parallel()
	s := Start(t)
	stranger := Dial(t, s)
	stranger.Send(toSelf(`"` + strings.Repeat("a", 17_000) + `"`))
	if code := stranger.CloseCode(); code != 1009 {
		t.Errorf("close code %d, want 1009", code)
	}
	ann := SignIn(t, s, "ANZ-1", "")
	ann.Message("ANZ-1", `"`+strings.Repeat("a", 60_000)+`"`, "")
	ann.Expect("MESSAGE")
}

// Messages to many made-up users fill the server no further than its limit, and
// what those have who are there comes through.
func TestAllMailboxesTogetherAreLimited(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonMemory)
	s := startWith(t, plainApp+"limits: {waitingMessages: 5}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	ann.Send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-2","ANZ-3","ANZ-4"],"content":"g"},"reference":"g"}`)
	ann.Expect("MESSAGE_STORED")
	ann.Send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-5","ANZ-6","ANZ-7"],"content":"g"},"reference":"h"}`)
	if f := ann.Expect("DELIVER_FAILED"); f.Field("code") != "STORE_FULL" || f.Field("to") != `["ANZ-5","ANZ-6","ANZ-7"]` || string(f.Reference) != `"h"` {
		t.Errorf("got %s", f.Raw)
	}
	post(t, ann, "ANZ-2", "m", 0, 2, 10)
	send(ann, "ANZ-9", "one too many", "r5")
	wantFailure(t, ann, "STORE_FULL", "ANZ-9", "r5")
	bob := SignIn(t, s, "ANZ-2", "")
	if missed, left := bob.Fetch(10); len(missed) != 3 || left != "0" {
		t.Errorf("got %d messages, %s are left", len(missed), left)
	}
	wantConfirmed(t, ann, "m", 0, 2) // from here on there is room again
	post(t, ann, "ANZ-2", "m", 2, 3, 10)
}

func TestAFullMailboxRefusesByNumber(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {mailboxMessages: 5}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, 5, 10)
	send(ann, "ANZ-2", "one too many", "r5")
	wantFailure(t, ann, "MAILBOX_FULL", "ANZ-2", "r5")
	ann.Send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-3","ANZ-2","ANZ-4"],"content":"all"},"reference":"g"}`)
	f := ann.Expect("DELIVER_FAILED")
	if f.Field("code") != "MAILBOX_FULL" || f.Field("to") != `["ANZ-2"]` || string(f.Reference) != `"g"` {
		t.Errorf("got %s", f.Raw)
	}
	if f := ann.Expect("MESSAGE_STORED"); f.Field("reference") != "g" {
		t.Errorf("got %s", f.Raw)
	}
	if n := s.Metric(`switchboard_socket_refused_total{code="MAILBOX_FULL",kind="DELIVER_FAILED"}`); n != 2 {
		t.Errorf("%v refusals are counted, want 2", n)
	}
	for _, user := range []string{"ANZ-3", "ANZ-4"} {
		if missed, _ := SignIn(t, s, user, "").Fetch(10); len(missed) != 1 || missed[0].Field("content") != "all" {
			t.Errorf("%s has %v", user, missed)
		}
	}
	bob := SignIn(t, s, "ANZ-2", "")
	missed, _ := bob.Fetch(10)
	wantSeries(t, "kept", missed, "m", 0, 5)
	wantConfirmed(t, ann, "m", 0, 5)
	post(t, ann, "ANZ-2", "m", 5, 10, 10) // there is room again
	wantSeries(t, "then", take(bob, 5), "m", 5, 10)
}

func TestAFullMailboxRefusesByBytes(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {mailboxBytes: 64KiB}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, 6, 10_000)
	send(ann, "ANZ-2", strings.Repeat("x", 10_000), "r")
	wantFailure(t, ann, "MAILBOX_FULL", "ANZ-2", "r")
	post(t, ann, "ANZ-2", "m", 6, 8, 1000) // a smaller one fits
	missed, left := SignIn(t, s, "ANZ-2", "").Fetch(10)
	wantSeries(t, "kept", missed, "m", 0, 8)
	if left != "0" {
		t.Errorf("%s left", left)
	}
}

// What is on its way, unproved, is still in the mailbox.
func TestASessionThatDoesNotProveFillsItsMailbox(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {mailboxMessages: 5, proofTimeout: 5m}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	bob := SignIn(t, s, "ANZ-2", "")
	bob.Silence(true)
	post(t, ann, "ANZ-2", "m", 0, 5, 10)
	send(ann, "ANZ-2", "one too many", "r")
	wantFailure(t, ann, "MAILBOX_FULL", "ANZ-2", "r")
	wantSeries(t, "on its way", take(bob, 5), "m", 0, 5)
}

func TestWhatExpiresIsToldToItsSender(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {mailboxAge: 2s}\n")
	ann := SignIn(t, s, "ANZ-1", "")
	send(ann, "ANZ-2", "short", "age")
	ann.Send(`{"type":"MESSAGE","data":{"to":"ANZ-4","content":"shorter"},"ttl":1,"reference":"ttl"}`)
	ann.Send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-5","ANZ-6"],"content":"group"},"ttl":1,"reference":"group"}`)
	ann.Send(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":"long"},"ttl":1000000,"reference":"cut"}`)
	got := make(map[string]int)
	for range 5 {
		f := ann.Expect("DELIVER_FAILED")
		if f.Field("code") != "EXPIRED" {
			t.Fatalf("got %s", f.Raw)
		}
		got[string(f.Reference)+f.Field("to")]++
	}
	for _, want := range []string{`"age"ANZ-2`, `"ttl"ANZ-4`, `"group"["ANZ-5"]`, `"group"["ANZ-6"]`, `"cut"ANZ-7`} {
		if got[want] != 1 {
			t.Errorf("%s is told %d times, want once: %v", want, got[want], got)
		}
	}
	for _, user := range []string{"ANZ-2", "ANZ-4", "ANZ-5", "ANZ-6", "ANZ-7"} {
		if missed, left := SignIn(t, s, user, "").Fetch(10); len(missed) != 0 || left != "0" {
			t.Errorf("%s still has %v, %s left", user, missed, left)
		}
	}
	if n := s.Metric("switchboard_reliable_expired_total"); n < 5 {
		t.Errorf("%v expired messages are counted, want 5 or more", n)
	}
}

func TestASenderThatHasLeftFindsWhatExpired(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	gone := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	gone.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":"x"},"ttl":1,"reference":"late"}`)
	gone.Expect("MESSAGE_STORED")
	gone.Close()
	awaitMetric(t, s, "switchboard_reliable_expired_total", 1)
	back := SignIn(t, s, "ANZ-1", `{"push":true}`)
	wantFailure(t, back, "EXPIRED", "ANZ-2", "late")
	wantNothing(t, "the sender in the end", back)
	awaitWaiting(t, s, 0)
}

func TestPresenceNoticesMakeRoomInTheMastersMailbox(t *testing.T) {
	t.Parallel()
	s := startWith(t, "limits: {mailboxMessages: 6}\n") // the demo app, whose master is ANZ-123223
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	for i := range 5 {
		SignIn(t, s, fmt.Sprint("ANZ-", 10+i), "").Close()
		awaitSessions(t, s, 1)
	}
	const made = `switchboard_reliable_dropped_total{reason="presence_made_room"}`
	awaitMetric(t, s, made, 4) // of 10 notices 6 find room
	post(t, ann, "ANZ-123223", "m", 0, 4, 10)
	awaitMetric(t, s, made, 8)
	missed, left := SignIn(t, s, "ANZ-123223", "").Fetch(10)
	if len(missed) != 6 || left != "0" {
		t.Fatalf("%d messages, %s left", len(missed), left)
	}
	var notices, messages []Frame
	for _, f := range missed {
		if f.Type == "MESSAGE" {
			messages = append(messages, f)
		} else {
			notices = append(notices, f)
		}
	}
	wantSeries(t, "messages", messages, "m", 0, 4)
	if len(notices) != 2 || notices[0].Field("userId") != "ANZ-14" || notices[1].Type != "USER_DISCONNECTED" || notices[1].Field("userId") != "ANZ-14" {
		t.Errorf("the newest notices are not those that are left: %v", notices)
	}
}

func TestSessionsOfOneUserAreLimited(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {sessionsPerUser: 2}\n")
	one, two := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-1", "")
	three := Dial(t, s)
	three.Send(authFrame("app-id-343", "ANZ-1", ""))
	f := three.Expect("AUTH_CLIENT_REPLY")
	if f.Field("isAuthenticated") != "false" || f.Field("code") != "TOO_MANY_SESSIONS" {
		t.Errorf("got %s", f.Raw)
	}
	if code := three.CloseCode(); code != 4006 {
		t.Errorf("closed with %d", code)
	}
	for _, p := range []*Peer{one, two} {
		p.Message("ANZ-1", "hello", "")
		for _, q := range []*Peer{one, two} {
			q.Expect("MESSAGE")
		}
	}
	one.Close()
	awaitSessions(t, s, 1)
	SignIn(t, s, "ANZ-1", "")
	SignIn(t, s, "ANZ-2", "") // another user has a number of its own
}

func TestGroupReceiversAreLimited(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {groupReceivers: 3}\n")
	ann := SignIn(t, s, "ANZ-1", "")
	list := []*Peer{SignIn(t, s, "ANZ-2", ""), SignIn(t, s, "ANZ-3", ""), SignIn(t, s, "ANZ-4", "")}
	for _, feature := range []string{"RELIABLE", "FAST"} {
		ann.Send(fmt.Sprintf(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-2","ANZ-3","ANZ-4","ANZ-5"],"content":"no"},"reference":"g","feature":%q}`, feature))
		if f := ann.Expect("INVALID_MESSAGE"); f.Field("code") != "TOO_MANY_RECEIVERS" || string(f.Reference) != `"g"` {
			t.Errorf("got %s", f.Raw)
		}
		ann.Send(fmt.Sprintf(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-2","ANZ-3","ANZ-2","ANZ-4","ANZ-3"],"content":"yes"},"feature":%q}`, feature))
		for _, p := range list {
			if f := p.Expect("MESSAGE"); f.Field("content") != "yes" {
				t.Errorf("got %s", f.Raw)
			}
		}
	}
}

func TestFramesAreLimited(t *testing.T) {
	t.Parallel()
	const limit = 2048
	s := startWith(t, plainApp+"limits: {frame: 2KiB}\n")
	ann, bob := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "")
	frame := func(size int) string {
		const head, tail = `{"type":"MESSAGE","data":{"to":"ANZ-2","content":"`, `"}}`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	ann.Send(frame(limit))
	if f := bob.Expect("MESSAGE"); len(f.Field("content")) < limit-100 {
		t.Errorf("got %s", f.Raw)
	}
	ann.Send(frame(limit + 1))
	if code := ann.CloseCode(); code != 1009 {
		t.Errorf("closed with %d", code)
	}
	wantNothing(t, "the receiver", bob)
}

func TestPresenceWatchIsLimited(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {presenceWatch: 2}\n")
	p := Dial(t, s)
	p.Send(authFrame("app-id-343", "ANZ-1", `{"presence":["ANZ-2","ANZ-3","ANZ-4"]}`))
	if f := p.Expect("GENERAL_ERROR"); f.Field("code") != "TOO_MANY" {
		t.Errorf("got %s", f.Raw)
	}
	p.SignIn("ANZ-1", `{"presence":["ANZ-2","ANZ-3"]}`)
	two := SignIn(t, s, "ANZ-2", "")
	if f := p.Expect("USER_CONNECTED"); f.Field("userId") != "ANZ-2" {
		t.Errorf("got %s", f.Raw)
	}
	two.Close()
	if f := p.Expect("USER_DISCONNECTED"); f.Field("userId") != "ANZ-2" {
		t.Errorf("got %s", f.Raw)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonShare)
	s := startWith(t, plainApp+"limits: {connections: 3}\n")
	list := []*Peer{SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", ""), Dial(t, s)}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_, response, err := websocket.Dial(ctx, "ws://"+s.Addr+"/ws", nil)
	if err == nil || response == nil || response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Fatalf("the fourth connection is answered with %v, %v", response, err)
	}
	if n := s.Metric(`switchboard_socket_handshakes_refused_total{reason="full"}`); n != 1 {
		t.Errorf("%v refusals are counted, want 1", n)
	}
	list[2].Close()
	Eventually(t, "there is room again", func() bool {
		return s.Metric("switchboard_socket_connections") == 2
	})
	SignIn(t, s, "ANZ-3", "")
	list[0].Message("ANZ-2", "still here", "")
	list[1].Expect("MESSAGE")
}

func TestWhoDoesNotSignInInTimeIsClosed(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {signInDeadline: 10s}\n")
	silent, chatty := Dial(t, s), Dial(t, s)
	chatty.Send(`{"type":"MESSAGE","data":{"to":"ANZ-1","content":1}}`)
	chatty.Expect("AUTH_REQUIRED")
	for _, p := range []*Peer{silent, chatty} {
		if code := p.CloseCode(); code != 4001 {
			t.Errorf("closed with %d", code)
		}
	}
}

func TestWhoAnswersNoPingIsClosed(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {pingInterval: 500ms, proofTimeout: 5s}\n")
	good, dead := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "") // both idle
	dead.Silence(true)
	if code := dead.CloseCode(); code != 4004 {
		t.Errorf("closed with %d", code)
	}
	awaitSessions(t, s, 1)
	wantNothing(t, "who answers pings", good)
}

func TestWhoDoesNotAcknowledgeIsClosed(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {ackTimeout: 2s}\n")
	ann := SignIn(t, s, "ANZ-1", "")
	lazy := SignIn(t, s, "ANZ-2", `{"ack":true}`)
	ann.Message("ANZ-2", "acknowledge me", `"reference":"r"`)
	lazy.Expect("MESSAGE")
	if code := lazy.CloseCode(); code != 4008 {
		t.Errorf("closed with %d", code)
	}
	awaitSessions(t, s, 1)
	wantNothing(t, "the sender", ann)
	if missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(10); len(missed) != 1 {
		t.Errorf("what was not acknowledged: %v", missed)
	}
	wantConfirmation(t, ann, "r")
}

// wantConfirmation fails unless the next frame confirms the reference.
func wantConfirmation(t *testing.T, p *Peer, reference string) {
	t.Helper()
	if f := p.Expect("MESSAGE_CONFIRMATION"); f.Field("reference") != reference {
		t.Errorf("got %s, want the confirmation of %s", f.Raw, reference)
	}
}

// A session that does not read has queueFrames frames waiting at most; FAST ones
// beyond are dropped and counted.
func TestTheQueueOfASessionIsLimited(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {queueFrames: 16, proofTimeout: 5m}\n")
	ann, bob := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "")
	bob.Freeze()
	const dropped = `switchboard_fast_dropped_total{reason="queue_full"}`
	// The kernel's buffers take some megabytes first.
	sent, content := 0, strings.Repeat("x", 60_000)
	Eventually(t, "FAST messages are dropped", func() bool {
		for range 20 {
			ann.Message("ANZ-2", fmt.Sprint("f ", sent, " ", content), `"feature":"FAST"`)
			sent++
		}
		ann.Barrier()
		return s.Metric(dropped) > 0
	})
	if n := s.Metric("switchboard_socket_queued_bytes"); n > 33*65_000 {
		t.Errorf("%v bytes are queued: more than the frames that may wait and be written", n)
	}
	drops := int(s.Metric(dropped))
	bob.Thaw()
	var got []int
	for range sent - drops {
		_, n := number(bob.Expect("MESSAGE"))
		got = append(got, n)
	}
	if !slices.IsSorted(got) {
		t.Errorf("what was not dropped came in the order %v", got)
	}
	wantNothing(t, "the receiver in the end", bob)
	t.Logf("%d sent, %d dropped", sent, drops)
}

// Who sends errors and reads none of the answers is read no further, holds no
// more than its share, and is closed when it has taken nothing for too long.
func TestASessionThatDoesNotReadItsErrorsIsReadNoFurther(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {queueFrames: 16, queueBytes: 256KiB, proofTimeout: 2s}\n")
	bob := SignIn(t, s, "ANZ-2", "")
	bob.Freeze()
	wrong := fmt.Sprintf(`{"type":"NO_SUCH_TYPE","reference":%q}`, strings.Repeat("x", 60_000))
	for bob.TrySend(wrong) == nil { // until the session is closed; the kernel takes some megabytes first
		if n := s.Metric("switchboard_socket_queued_bytes"); n > 1<<20 {
			t.Fatalf("%v bytes are queued", n)
		}
	}
	awaitMetric(t, s, closesMetric(4004), 1)
	bob.Abort()
	ann := SignIn(t, s, "ANZ-1", "")
	wantNothing(t, "another user", ann)
}

// Frames that can be neither dropped nor kept elsewhere, such as notices of
// presence, end a session that does not read them.
func TestASessionThatDoesNotReadItsNoticesIsClosed(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonLine)
	s := startWith(t, plainApp+"limits: {queueFrames: 16, queueBytes: 256KiB, proofTimeout: 5m}\n")
	bob := SignIn(t, s, "ANZ-2", `{"presence":["ANZ-3"]}`)
	bob.Freeze()
	fillQueue(t, s, "ANZ-2")
	Eventually(t, "the session is closed", func() bool {
		SignIn(t, s, "ANZ-3", "").Close()
		return s.Metric(closesMetric(4007)) > 0
	})
	bob.Abort()
}

// fillQueue sends FAST messages to a user who does not read, until its queue
// takes none of many: the kernel takes some megabytes first.
func fillQueue(t *testing.T, s *Server, user string) {
	t.Helper()
	ann := SignIn(t, s, "ANZ-1", "")
	content := strings.Repeat("x", 60_000)
	taken := 0.0
	Eventually(t, "the queue is full", func() bool {
		before := taken
		for range 20 {
			ann.Message(user, content, `"feature":"FAST"`)
		}
		ann.Barrier()
		taken = s.Metric(`switchboard_socket_frames_out_total{feature="FAST",type="MESSAGE"}`)
		return taken > 0 && taken == before
	})
	ann.Close()
}

// A restart does not lengthen a message's life, nor shorten it.
func TestTheTimeOfAMessageRunsOnWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	began := time.Now()
	ann.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":"x"},"ttl":3,"reference":"r"}`)
	ann.Expect("MESSAGE_STORED")
	s.Kill()
	s.Start()
	awaitMetric(t, s, "switchboard_reliable_expired_total", 1)
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("the message expired after %s", took)
	}
	wantFailure(t, SignIn(t, s, "ANZ-1", `{"push":true}`), "EXPIRED", "ANZ-2", "r")
}
