package nodetest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// An outbox that is sent again after the process was killed in the middle of it,
// and once more after that, is delivered once, in order, and confirmed once.
func TestAnOutboxSentAgainAfterAKillIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	const all = 400
	s := startWith(t, roomyApp)
	o := &outbox{t: t, user: "ANZ-1", stored: make(map[string]bool), to: func(int) string { return "ANZ-2" }}
	p := o.signIn(s)
	o.send(p, 0, all)
	for range all / 8 {
		p.Next()
	}
	s.Kill()
	s.Start()
	o.settle(s, all)
	s.Kill()
	s.Start()
	o.settle(s, all)
	missed, left := fetchOn(t, s, "ANZ-2")
	if left != "0" {
		t.Errorf("%s left", left)
	}
	wantWoven(t, "the receiver", missed, all, "m")
}

// A number that was refused is not taken for one that was stored, whatever was
// stored after it; its confirmation comes once.
func TestARefusedMessageOfAnOutboxCanBeSentAgain(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {mailboxMessages: 2}\n")
	p := SignIn(t, s, "ANZ-1", `{"receipts":true,"producer":"phone-1"}`)
	send := func(seq int, to, answer string) {
		t.Helper()
		p.Message(to, fmt.Sprint(seq), fmt.Sprintf(`"reference":"%d","seq":%d`, seq, seq))
		if f := p.Next(); f.Type != answer {
			t.Fatalf("number %d: got %s, want %s", seq, f.Raw, answer)
		}
	}
	send(1, "ANZ-7", "MESSAGE_STORED")
	send(2, "ANZ-7", "MESSAGE_STORED")
	send(3, "ANZ-7", "DELIVER_FAILED")
	send(4, "ANZ-8", "MESSAGE_STORED")
	receiver := SignIn(t, s, "ANZ-7", "")
	receiver.wantContents("1", "2")
	for _, seq := range []string{"1", "2"} {
		if f := p.Expect("MESSAGE_CONFIRMATION"); f.Field("reference") != seq {
			t.Errorf("got %s", f.Raw)
		}
	}
	send(1, "ANZ-7", "MESSAGE_STORED")
	send(2, "ANZ-7", "MESSAGE_STORED")
	p.Message("ANZ-7", "3", `"reference":"3","seq":3`)
	got := map[string]bool{p.Next().Type: true, p.Next().Type: true} // in either order
	if !got["MESSAGE_STORED"] || !got["MESSAGE_CONFIRMATION"] {
		t.Errorf("got %v", got)
	}
	send(4, "ANZ-8", "MESSAGE_STORED")
	if f := receiver.Expect("MESSAGE"); f.Field("content") != "3" {
		t.Errorf("got %s", f.Raw)
	}
	for _, peer := range []*Peer{p, receiver} {
		if more := peer.Barrier(); len(more) > 0 {
			t.Errorf("got %s besides", more[0].Raw)
		}
	}
	p.Message("ANZ-7", "x", `"reference":"none"`)
	if f := p.Expect("INVALID_MESSAGE"); f.Field("reason") != "seq is missing" {
		t.Errorf("got %s", f.Raw)
	}
}

func (p *Peer) wantContents(contents ...string) {
	p.t.Helper()
	missed, left := p.Fetch(100)
	if left != "0" || len(missed) != len(contents) {
		p.t.Fatalf("got %d messages, %s left", len(missed), left)
	}
	for i, f := range missed {
		if f.Field("content") != contents[i] {
			p.t.Errorf("got %s, want %s", f.Raw, contents[i])
		}
	}
}

// The Go client's outbox needs no help over kills; and what a device has kept may
// be sent once more by its next process.
func TestAGoClientsOutboxIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	const all, kills = 600, 2
	s := startWith(t, roomyApp)
	produce := func(_ *fellow, o *client.Options) { o.Producer, o.NextSeq = "phone-1", 1 }
	ann := dialFellow(t, s, "ANZ-1", produce)
	for i := range all {
		if i%(all/(kills+1)) == all/(kills+1)-1 {
			Eventually(t, "something is stored", func() bool { return len(ann.stored) > i/10 })
			s.Kill()
			s.Start()
		}
		ann.post("ANZ-2", i, client.WithReference(fmt.Sprint(i)), client.NoConfirmation())
	}
	if err := ann.Flush(inTime(t)); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		awaitOne(t, fmt.Sprint("receipt ", i), ann.stored)
	}
	ann.Close()
	again := dialFellow(t, s, "ANZ-1", produce)
	for i := all - wire.SeqWindow; i < all; i++ {
		again.post("ANZ-2", i, client.WithSeq(uint64(i+1)))
	}
	again.post("ANZ-2", all)
	if err := again.Flush(inTime(t)); err != nil {
		t.Fatal(err)
	}
	bob := dialFellow(t, s, "ANZ-2", func(_ *fellow, o *client.Options) { o.Push = true })
	for i := range all + 1 {
		var got int
		if m := awaitOne(t, fmt.Sprint("message ", i), bob.messages); json.Unmarshal(m.Content, &got) != nil || got != i {
			t.Fatalf("got %s, want %d", m.Content, i)
		}
	}
}

// An outbox is the same over events and HTTP as over a socket.
func TestAnOutboxMovesFromASocketToEvents(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	const frame = `{"type":"MESSAGE","data":{"to":"ANZ-2","content":%q},"reference":%q,"confirmationEnabled":false,"seq":%d}`
	p := SignIn(t, s, "ANZ-1", `{"receipts":true,"producer":"phone-1"}`)
	p.Send(fmt.Sprintf(frame, "1", "a", 1))
	p.Expect("MESSAGE_STORED")
	p.Close()
	e := Listen(t, s.Addr, "ANZ-1", "receipts=true&producer=phone-1")
	e.Expect("AUTH_CLIENT_REPLY")
	for seq := 1; seq <= 2; seq++ {
		e.Send(fmt.Sprintf(frame, fmt.Sprint(seq), "a", seq))
		e.Expect("MESSAGE_STORED")
	}
	e.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":3}}`)
	if f := e.Expect("INVALID_MESSAGE"); f.Field("code") != "MISSING_FIELD" {
		t.Errorf("got %s", f.Raw)
	}
	SignIn(t, s, "ANZ-2", "").wantContents("1", "2")
}
