//go:build linux

package nodetest

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// codeApps are apps for all that has to do with them; ANZ-100 is a master user.
const codeApps = `
apps:
  - {appName: ANZ, appId: app-id-343, masterUserId: ANZ-100, authEnabled: false}
  - {appName: SHOP, appId: shop-id, authEnabled: false}
`

// joined is a peer that has signed in, noted in the book.
func (b *codeBook) joined(s *Server, user, options string) *Peer {
	b.t.Helper()
	p := Dial(b.t, s)
	b.send(p, authFrame("app-id-343", user, options))
	if f := b.want(p, "AUTH_CLIENT_REPLY"); f.Field("isAuthenticated") != "true" {
		b.t.Fatalf("got %s", f.Raw)
	}
	p.user = user
	return p
}

func frameScenarios() []scenario {
	return []scenario{
		{"a conversation", []string{
			"client AUTH_CLIENT", "client MESSAGE", "client GROUP_MESSAGE", "server AUTH_CLIENT_REPLY", "server MESSAGE",
			"server MESSAGE_CONFIRMATION", "server MESSAGE_STORED",
		}, conversation},
		{"before signing in", []string{"server AUTH_REQUIRED"}, func(t *testing.T, b *codeBook) {
			p := Dial(t, Start(t))
			b.send(p, toSelf(`1`))
			b.want(p, "AUTH_REQUIRED")
		}},
		{"missed messages", []string{"client FETCH_MISSING_MESSAGES_REQUEST", "server FETCH_MISSING_MESSAGES_COMPLETE"}, func(t *testing.T, b *codeBook) {
			s := Start(t)
			post(t, SignIn(t, s, "ANZ-1", `{"receipts":true}`), "ANZ-2", "m", 0, 3, 10)
			bob := b.joined(s, "ANZ-2", "")
			b.send(bob, `{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":2}}`)
			b.want(bob, `MESSAGE "m 0"`)
			b.want(bob, `MESSAGE "m 1"`)
			if f := b.want(bob, "FETCH_MISSING_MESSAGES_COMPLETE"); f.Field("leftMissingCount") != "1" {
				t.Errorf("got %s", f.Raw)
			}
		}},
		{"acknowledging", []string{"client MESSAGE_ACK", "server MESSAGE_CONFIRMATION"}, func(t *testing.T, b *codeBook) {
			s := Start(t)
			ann, bob := b.joined(s, "ANZ-1", ""), b.joined(s, "ANZ-2", `{"ack":true}`)
			ann.Message("ANZ-2", "hello", `"reference":"r"`)
			f := b.want(bob, `MESSAGE "r"`)
			wantNothing(t, "the sender, before the receiver acknowledged,", ann)
			b.send(bob, `{"type":"MESSAGE_ACK","data":{"id":"`+f.ID+`"}}`)
			b.want(ann, "MESSAGE_CONFIRMATION")
		}},
		{"the master user", []string{"client CLOSE_CONNECTION", "server USER_CONNECTED", "server USER_DISCONNECTED", "close 4003"}, func(t *testing.T, b *codeBook) {
			s := startWith(t, codeApps)
			master := b.joined(s, "ANZ-100", "")
			bob := b.joined(s, "ANZ-2", "")
			b.want(master, "USER_CONNECTED")
			b.send(master, `{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-2"}}`)
			b.closed(bob, 4003)
			b.want(master, "USER_DISCONNECTED")
		}},
		{"a stop", []string{"server RECONNECT", "close 1012"}, func(t *testing.T, b *codeBook) {
			s := Start(t)
			modern, old := b.joined(s, "ANZ-1", `{"ack":true}`), b.joined(s, "ANZ-2", "")
			s.Signal(syscall.SIGTERM)
			if f := b.want(modern, "RECONNECT"); f.Field("reason") == "" || f.Field("afterMs") == "" {
				t.Errorf("got %s", f.Raw)
			}
			b.closed(modern, 1012)
			b.closed(old, 1012)
			if code := s.Wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}},
	}
}

func conversation(t *testing.T, b *codeBook) {
	s := Start(t)
	ann, bob := b.joined(s, "ANZ-1", `{"receipts":true}`), b.joined(s, "ANZ-2", "")
	b.send(ann, `{"type":"MESSAGE","data":{"to":"ANZ-2","content":"hello"},"reference":"r"}`)
	b.want(bob, `MESSAGE "r"`)
	both := []Frame{b.next(ann), b.next(ann)} // in any order
	if both[0].Type == "MESSAGE_CONFIRMATION" {
		both[0], both[1] = both[1], both[0]
	}
	wantFrames(t, []string{"MESSAGE_STORED", "MESSAGE_CONFIRMATION"}, both)
	b.send(ann, `{"type":"GROUP_MESSAGE","data":{"to":["ANZ-2","ANZ-3"],"content":"all"},"reference":"g"}`)
	b.want(bob, `MESSAGE "g"`)
	b.want(ann, "MESSAGE_STORED")
}

func errorScenarios() []scenario {
	// asked is a scenario of one frame that a user of a server with small limits
	// sends.
	asked := func(name, frame, want string) scenario {
		kind, _, _ := strings.Cut(want, " ")
		return scenario{name, []string{"server " + kind, strings.TrimSuffix(want, ` "r"`)}, func(t *testing.T, b *codeBook) {
			s := startWith(t, codeApps+"limits: {groupReceivers: 3, presenceWatch: 2}\n")
			p := b.joined(s, "ANZ-1", "")
			b.send(p, frame)
			b.want(p, want)
			wantNothing(t, "the client", p)
		}}
	}
	message := func(to string) string {
		return `{"type":"MESSAGE","reference":"r","data":{"to":"` + to + `","content":1}}`
	}
	return []scenario{
		asked("no JSON", "hello", "INVALID_MESSAGE NOT_JSON"),
		asked("a type that nobody knows", `{"type":"HELLO","reference":"r"}`, unknownType),
		asked("nobody to send to", `{"type":"MESSAGE","reference":"r","data":{"content":1}}`, missing),
		asked("no user ID", message("nobody"), badField),
		asked("very deep", `{"reference":"r","x":`+strings.Repeat("[", 512)+strings.Repeat("]", 512)+`}`, `INVALID_MESSAGE TOO_DEEP "r"`),
		asked("a large group", `{"type":"GROUP_MESSAGE","reference":"r","data":{"to":[`+ids(1, 4)+`],"content":1}}`, `INVALID_MESSAGE TOO_MANY_RECEIVERS "r"`),
		asked("another app", message("SHOP-1"), `GENERAL_ERROR FORBIDDEN "r"`),
		asked("another user", strings.Replace(authFrame("app-id-343", "ANZ-2", ""), `{`, `{"reference":"r",`, 1), `GENERAL_ERROR ALREADY_SIGNED_IN "r"`),
		asked("an ID that was not sent", `{"type":"MESSAGE_ACK","reference":"r","data":{"id":"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"}}`, `GENERAL_ERROR UNKNOWN_ID "r"`),
		asked("an app that does not exist", message("XYZ-1"), `DELIVER_FAILED UNKNOWN_APP "r"`),
		asked("a bad receiver", `{"type":"GROUP_MESSAGE","reference":"r","data":{"to":["nobody"],"content":1}}`, `DELIVER_FAILED BAD_RECEIVER "r"`),
		{"many to watch", []string{"GENERAL_ERROR TOO_MANY"}, func(t *testing.T, b *codeBook) {
			p := Dial(t, startWith(t, codeApps+"limits: {presenceWatch: 2}\n"))
			b.send(p, authFrame("app-id-343", "ANZ-1", `{"presence":[`+ids(1, 3)+`]}`))
			b.want(p, "GENERAL_ERROR TOO_MANY")
		}},
		{"signing in twice at once", []string{"GENERAL_ERROR BUSY"}, func(t *testing.T, b *codeBook) {
			hook := newHook(t)
			p := Dial(t, startWith(t, hook.app("HOOK")))
			b.send(p, authFrame("hook-id", "HOOK-1", ""))
			call := hook.next()
			b.send(p, authFrame("hook-id", "HOOK-1", ""))
			b.want(p, "GENERAL_ERROR BUSY")
			call.yes()
			b.want(p, "AUTH_CLIENT_REPLY")
		}},
		{"a full mailbox", []string{"DELIVER_FAILED MAILBOX_FULL"}, func(t *testing.T, b *codeBook) {
			p := b.joined(startWith(t, plainApp+"limits: {mailboxMessages: 2}\n"), "ANZ-1", `{"receipts":true}`)
			post(t, p, "ANZ-2", "m", 0, 2, 10)
			b.send(p, message("ANZ-2"))
			b.want(p, `DELIVER_FAILED MAILBOX_FULL "r"`)
		}},
		{"nobody fetches", []string{"DELIVER_FAILED EXPIRED"}, func(t *testing.T, b *codeBook) {
			p := b.joined(Start(t), "ANZ-1", "")
			b.send(p, `{"type":"MESSAGE","reference":"r","ttl":1,"data":{"to":"ANZ-2","content":1}}`)
			b.want(p, `DELIVER_FAILED EXPIRED "r"`)
		}},
	}
}

func storeScenarios() []scenario {
	return []scenario{
		{"little room on the disk", []string{"DELIVER_FAILED STORE_FULL"}, func(t *testing.T, b *codeBook) {
			p := b.joined(startWith(t, plainApp+"limits: {minDiskFree: 1024GiB}\n"), "ANZ-1", `{"receipts":true}`)
			Eventually(t, "the server has looked at its disk", func() bool {
				b.send(p, toSelf(`1`))
				return b.next(p).Type == "DELIVER_FAILED"
			})
		}},
		{"writes that fail", []string{"DELIVER_FAILED TIMEOUT", "DELIVER_FAILED STORE_DOWN"}, writesThatFail},
		{"more than the disk takes", []string{"DELIVER_FAILED OVERLOADED"}, overload},
	}
}

// writesThatFail is a disk on which no more files can be made: what is being
// written then has an unknown outcome, and what comes later is refused.
func writesThatFail(t *testing.T, b *codeBook) {
	dir, here := ownDisk(t, "256m,nr_inodes=200")
	if !here {
		// It passed in a process of its own.
		b.seen["DELIVER_FAILED TIMEOUT"], b.seen["DELIVER_FAILED STORE_DOWN"] = true, true
		return
	}
	s := startOn(t, dir, plainApp+"limits: {minDiskFree: 1MiB}\n")
	p := b.joined(s, "ANZ-1", `{"receipts":true}`)
	restore := useUpFiles(t, dir)
	sent := 0
	await := func(code string) {
		Eventually(t, code, func() bool {
			p.Message("ANZ-2", numbered("m", sent, 60_000), fmt.Sprintf(`"reference":"m %d"`, sent))
			sent++
			f := b.next(p)
			if f.Field("code") == "TIMEOUT" && f.Field("mayYetArrive") != "true" {
				t.Errorf("got %s, want mayYetArrive in it", f.Raw)
			}
			return f.Field("code") == code
		})
	}
	await("TIMEOUT")
	await("STORE_DOWN")
	restore()
	awaitAccepted(t, p, "ANZ-2", "m", sent, 100)
}

// overload is more than 64 MiB at once that nobody has stored yet, from as many
// sessions as that takes.
func overload(t *testing.T, b *codeBook) {
	s := startWith(t, plainApp+"limits: {frame: 1MiB, queueBytes: 2MiB, mailboxBytes: 64GiB, mailboxMessages: 1000000, proofTimeout: 5m}\n")
	frames := rawUnmasked(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":"` + strings.Repeat("x", 1_040_000) + `"}}`)
	frames = append(frames, rawFrame(rawText, `{"type":"LAST"}`)...)
	peers := make([]*rawPeer, 120)
	for i := range peers {
		peers[i] = signInRaw(t, s, fmt.Sprint("ANZ-", 1000+i), "")
	}
	for round := 0; !b.seen["DELIVER_FAILED OVERLOADED"] && round < 20; round++ {
		failed := make(chan error, len(peers))
		for _, p := range peers {
			go func() { failed <- p.tryWrite(frames) }()
		}
		for range peers {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range peers {
			for f := p.text(); f.Field("code") != "UNKNOWN_TYPE"; f = p.text() {
				b.note(f)
			}
		}
	}
}
