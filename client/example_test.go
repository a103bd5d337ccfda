package client_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// A service that handles every message once: with Ack a message is off the
// server's hands only when its handler has returned, with Push what was missed
// comes by itself.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{
		URL: "ws://127.0.0.1:8088/ws", AppID: "app-id-343", UserID: "ANZ-123223",
		Ack: true, Push: true,
		OnMessage: func(_ context.Context, m client.Message) error {
			var order struct{ Item string }
			if err := m.Decode(&order); err != nil {
				slog.Warn("an order is not understood", "err", err)
				return nil // it would be no better the next time
			}
			fmt.Println(m.From, "orders", order.Item)
			return nil
		},
	})
	if err != nil {
		slog.Error("connect", "err", err)
		return
	}
	defer c.Close()
	<-c.Done()
}

// Waiting until the receiver has a message.
func ExampleClient_SendAndWait() {
	var c *client.Client // from Dial
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := c.SendAndWait(ctx, "ANZ-1232121", map[string]string{"text": "hello"})
	var refused *wire.Error
	switch {
	case err == nil:
		fmt.Println("delivered")
	case errors.As(err, &refused) && !refused.MayYetArrive:
		fmt.Println("not delivered:", refused.Code)
	case errors.Is(err, client.ErrNotConnected):
		fmt.Println("not sent: send it again when there is a connection")
	default:
		fmt.Println("unknown:", err)
	}
}

// Confirmations as they come, without waiting for each.
func ExampleClient_Send() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{
		URL: "ws://127.0.0.1:8088/ws", AppID: "app-id-343", UserID: "ANZ-1", Receipts: true,
		OnMessage:      func(context.Context, client.Message) error { return nil },
		OnStored:       func(reference string) { fmt.Println(reference, "is on disk") },
		OnConfirmation: func(reference string) { fmt.Println(reference, "was delivered") },
		OnError:        func(e *wire.Error, reference string) { fmt.Println(reference, "failed:", e) },
	})
	if err != nil {
		slog.Error("connect", "err", err)
		return
	}
	defer c.Close()
	if err := c.Send(ctx, "ANZ-2", "hello", client.WithReference("r1"), client.WithTTL(time.Hour)); err != nil {
		slog.Error("send", "err", err)
	}
	if err := c.Send(ctx, "ANZ-2", "typing", client.Fast()); err != nil {
		slog.Error("send", "err", err)
	}
}

// Fetching what was missed, a hundred at a time: each hundred is handled before
// the next one is asked for.
func ExampleClient_FetchMissing() {
	var c *client.Client // from Dial
	ctx := context.Background()
	for left := 1; left > 0; {
		var err error
		if left, err = c.FetchMissing(ctx, 100); err != nil {
			slog.Error("fetch", "err", err)
			return
		}
	}
}

// A user of the chat app in a room: tokens come from the calls about accounts, news of
// the room come to OnFrame, and what was missed is in its history.
func ExampleClient_Ask() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{
		URL: "ws://127.0.0.1:8088/ws", AppID: "chat", UserID: "chat-1",
		TokenSource: freshToken,                                                 // of POST /v1/sessions, and later of POST /v1/sessions/refresh
		OnMessage:   func(context.Context, client.Message) error { return nil }, // messages outside of rooms
		OnFrame: func(f wire.ServerFrame) {
			if f.Type != wire.TypeRoomMessage {
				return
			}
			var m struct {
				Room    wire.ID
				Seq     uint64
				From    wire.UserID
				Content json.RawMessage
			}
			if err := json.Unmarshal(f.Data, &m); err == nil {
				fmt.Printf("%s %d %s: %s\n", m.Room, m.Seq, m.From, m.Content)
			}
		},
	})
	if err != nil {
		slog.Error("connect", "err", err)
		return
	}
	defer c.Close()

	room, err := c.Ask(ctx, wire.TypeRoomCreate, map[string]any{"name": "tea", "public": true})
	var made struct{ ID wire.ID }
	if err == nil {
		err = json.Unmarshal(room.Data, &made)
	}
	if err != nil {
		slog.Error("make a room", "err", err)
		return
	}
	// Sent again under the same clientId it is stored once.
	_, err = c.Ask(ctx, wire.TypeRoomSend, map[string]any{"room": made.ID, "content": "hello", "clientId": "c1"})
	if err != nil {
		slog.Error("send", "err", err)
	}
}

// A user who is matched, and says something to whom it is matched with. What comes of a
// request comes to OnFrame.
func ExampleClient_Match() {
	if err := play(context.Background()); err != nil {
		slog.Error("play", "err", err)
	}
}

func play(ctx context.Context) error {
	matches := make(chan client.Matched, 1)
	c, err := client.Dial(ctx, client.Options{
		URL: "ws://127.0.0.1:8088/ws", AppID: "app-id-343", UserID: "ANZ-1",
		OnMessage: func(context.Context, client.Message) error { return nil }, // messages outside of matches
		OnFrame: func(f wire.ServerFrame) {
			switch f.Type {
			case wire.TypeMatched:
				var m client.Matched
				if err := json.Unmarshal(f.Data, &m); err == nil {
					matches <- m
				}
			case wire.TypeMatchMessage:
				var m client.MatchMessage
				if err := json.Unmarshal(f.Data, &m); err == nil {
					fmt.Printf("%s: %s\n", m.From, m.Content)
				}
			}
		},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Match(ctx, client.MatchRequest{Pool: "chess", Properties: map[string]any{"level": 5}}); err != nil {
		return err
	}
	m := <-matches
	return c.SendMatch(ctx, m.Match, "e4", client.MatchSend{Reliable: true, Reference: "first-move"})
}

// A program that shows who is around, as that changes.
func ExampleNearbyView() {
	ctx := context.Background()
	view := client.NewNearbyView("map")
	c, err := client.Dial(ctx, client.Options{
		URL: "ws://127.0.0.1:8088/ws", AppID: "app-id-343", UserID: "ANZ-1",
		OnMessage: func(context.Context, client.Message) error { return nil }, // nobody writes to this one
		OnFrame: func(f wire.ServerFrame) {
			if !view.Take(f) {
				return
			}
			fmt.Println(view.Total(), "are around")
			for user, at := range view.Users {
				fmt.Println(user, at.Lat, at.Lon)
			}
		},
	})
	if err != nil {
		slog.Error("connect", "err", err)
		return
	}
	defer c.Close()
	if err := c.SetPosition(ctx, client.Position{Lat: 47.3769, Lon: 8.5417}); err != nil {
		slog.Error("say where we are", "err", err)
	}
	if _, err := c.WatchNearby(ctx, "map", client.Area{Lat: 47.37, Lon: 8.54, Radius: 1000}); err != nil {
		slog.Error("look around", "err", err)
		return
	}
	<-c.Done()
}

func TestTheExampleOfMatchingIsTheOneInTheDocs(t *testing.T) {
	_, rest, _ := strings.Cut(source, "func play(ctx context.Context) error {\n")
	body, _, found := strings.Cut(rest, "\n}\n")
	page, err := os.ReadFile("../docs/matching.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := strings.ReplaceAll(strings.TrimPrefix(body, "\t"), "\n\t", "\n")
	if !found || !strings.Contains(string(page), "```go\n"+printed+"\n```\n") {
		t.Errorf("docs/matching.md does not print\n%s", printed)
	}
}

//go:embed example_test.go
var source string

func freshToken(context.Context) (string, error) { return "", errors.New("sign in first") }
