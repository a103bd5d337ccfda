package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
	"golang.org/x/sync/errgroup"
)

// guests are users of the server's own chat app, who have accounts, and are in one room.
type guests struct {
	tokens []string // by connection; user i has the number i+1
	room   string   // the room's ID, as JSON; empty: they are sent to by their user IDs
}

// token returns what a connection signs in with.
func (o *Options) token(i int) string {
	if o.guests != nil {
		return o.guests.tokens[i]
	}
	return o.Token
}

// inRoom says whether messages go to a room.
func (o *Options) inRoom() bool { return o.guests != nil && o.guests.room != "" }

// chatSettings are those of a server that lets so many sign up from here.
const chatSettings = `
apps:
  - {appName: ANZ, appId: app-id-343, authEnabled: false}
chat: {enabled: true, accessToken: 12h}
limits: {signUps: 1000000}
`

// guestPassword is that of all guests of a measurement.
const guestPassword = "correct horse battery staple"

// invite makes accounts on a server, signs them in, and puts them into a room of the
// first.
func invite(ctx context.Context, socketURL string, count int) (*guests, string, error) {
	at, err := url.Parse(socketURL)
	if err != nil {
		return nil, "", err
	}
	base := "http://" + at.Host
	g := &guests{tokens: make([]string, count)}
	all, making := errgroup.WithContext(ctx)
	all.SetLimit(4)
	for i := range count {
		all.Go(func() error {
			body := fmt.Sprintf(`{"username":"guest%d","password":%q}`, i, guestPassword)
			var made, in struct{ UserID, AccessToken, ID string }
			if err := call(making, base+"/v1/accounts", "", body, &made); err != nil {
				return err
			}
			if err := call(making, base+"/v1/sessions", "", body, &in); err != nil {
				return err
			}
			user, err := wire.ParseUserID(made.UserID)
			if n := user.Number(); err != nil || n < 1 || n > int64(count) {
				return fmt.Errorf("an account of a fresh server has the user ID %q", made.UserID)
			}
			g.tokens[user.Number()-1] = in.AccessToken
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, "", fmt.Errorf("make accounts: %w", err)
	}
	var room struct{ ID string }
	if err := call(ctx, base+"/v1/rooms", g.tokens[0], `{"name":"all","public":true}`, &room); err != nil {
		return nil, "", err
	}
	for _, token := range g.tokens[1:] {
		if err := call(ctx, base+"/v1/rooms/"+room.ID+"/join", token, "", nil); err != nil {
			return nil, "", err
		}
	}
	return g, `"` + room.ID + `"`, nil
}

// call makes a call of the HTTP interface and reads its answer.
func call(ctx context.Context, url, token, body string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	if answer == nil {
		answer = new(json.RawMessage)
	}
	return json.NewDecoder(res.Body).Decode(answer)
}

// measureRooms compares a message to a room with a group message to the same members, on
// the same connections' users.
func measureRooms(ctx context.Context, s *suite) ([]found, error) {
	o := s.options(FeatureReliable, 1000)
	o.Pattern, o.AppID, o.UserPrefix, o.FirstUser = PatternGroup, "chat", "chat", 1
	var group, room Run
	err := s.withFolder(func(data string) error {
		settings := filepath.Join(filepath.Dir(data), "switchboard.yaml")
		if err := os.WriteFile(settings, []byte(chatSettings), 0o600); err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
		server, err := s.o.Child.start(ctx, "serve", "--config", settings, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data)
		if err != nil {
			return err
		}
		o.URLs, o.PIDs = []string{server.url}, watchable(server)
		guests, id, err := invite(ctx, server.url, o.Connections)
		if err == nil {
			o.guests = guests
			group, err = s.keep(Measure(ctx, o))
		}
		if err == nil {
			guests.room = id
			room, err = s.keep(Measure(ctx, o))
		}
		return errors.Join(err, server.stop())
	})
	if err != nil {
		return nil, err
	}
	if group.Latency == nil || room.Latency == nil {
		return nil, errNothing
	}
	return []found{
		{what: "p99 to all members, with that of a GROUP_MESSAGE", unit: unitMicro, value: room.Latency.P99, base: group.Latency.P99, reach: 3, atMost: true},
		{what: "p50", unit: unitMicro, value: room.Latency.P50, base: group.Latency.P50, reach: 3, atMost: true},
	}, nil
}

// The frames of rooms that a run gets by the million.
const (
	roomMessageStart = `{"type":"` + wire.NameRoomMessage + `",`
	roomSentStart    = `{"type":"` + wire.NameRoomSent + `",`
)

// sentMark finds the time in the answer to a message to a room: it is in the reference, at
// the end.
func sentMark(payload []byte) (run uint32, at time.Duration, ok bool) {
	const end = len(`"}`)
	if len(payload) < len(roomSentStart)+referenceSize+end || string(payload[:len(roomSentStart)]) != roomSentStart {
		return 0, 0, false
	}
	text := payload[len(payload)-end-referenceSize:]
	r, ok := readHex(text[:8])
	n, ok2 := readHex(text[8:referenceSize])
	return uint32(r), time.Duration(n), ok && ok2
}
