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

// guestPassword is that of all guests of a measurement, guestPrefix what their names
// begin with.
const (
	guestPassword = "correct horse battery staple"
	guestPrefix   = "guest"
)

// membersPer is how many members the room has for each who is connected.
const membersPer = 10

// party is a server of guests, and what is known of its room.
type party struct {
	base    string // of its HTTP interface
	room    string // its ID
	members int
}

// newParty returns the party of a server.
func newParty(server *server, members int) (*party, error) {
	at, err := url.Parse(server.url)
	if err != nil {
		return nil, err
	}
	return &party{base: "http://" + at.Host, members: members}, nil
}

// found makes the first account, and the room.
func (p *party) found(ctx context.Context) error {
	if err := call(ctx, http.MethodPost, p.base+"/v1/accounts", "", p.credentials(1), nil); err != nil {
		return err
	}
	token, err := p.signIn(ctx, 1)
	if err != nil {
		return err
	}
	var room struct{ ID string }
	err = call(ctx, http.MethodPost, p.base+"/v1/rooms", token, `{"name":"all","public":true}`, &room)
	p.room = room.ID
	return err
}

// credentials are those of a guest by his number.
func (p *party) credentials(n int) string {
	return fmt.Sprintf(`{"username":"%s%d","password":%q}`, guestPrefix, n, guestPassword)
}

// signIn returns a guest's token.
func (p *party) signIn(ctx context.Context, n int) (string, error) {
	var in struct{ UserID, AccessToken string }
	if err := call(ctx, http.MethodPost, p.base+"/v1/sessions", "", p.credentials(n), &in); err != nil {
		return "", err
	}
	if user, err := wire.ParseUserID(in.UserID); err != nil || user.Number() != int64(n) {
		return "", fmt.Errorf("guest %d has the user ID %q", n, in.UserID)
	}
	return in.AccessToken, nil
}

// arrive signs the first guests in.
func (p *party) arrive(ctx context.Context, count int) (*guests, error) {
	g := &guests{tokens: make([]string, count)}
	all, within := errgroup.WithContext(ctx)
	all.SetLimit(4)
	for i := range count {
		all.Go(func() (err error) {
			g.tokens[i], err = p.signIn(within, i+1)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, fmt.Errorf("sign the guests in: %w", err)
	}
	return g, nil
}

// check says what of the room is not as it has to be: all messages are stored once, and
// not read by whoever was not there.
func (p *party) check(ctx context.Context, sent int64) error {
	token, err := p.signIn(ctx, p.members)
	if err != nil {
		return err
	}
	var list struct {
		Rooms []struct {
			Members         int
			LastSeq, Unread int64
		}
	}
	if err := call(ctx, http.MethodGet, p.base+"/v1/rooms", token, "", &list); err != nil {
		return err
	}
	if len(list.Rooms) != 1 || list.Rooms[0].Members != p.members || list.Rooms[0].LastSeq != sent || list.Rooms[0].Unread != sent {
		return fmt.Errorf("after %d messages to a room of %d a member who was not there is told %+v", sent, p.members, list.Rooms)
	}
	return nil
}

// call makes a call of the HTTP interface and reads its answer.
func call(ctx context.Context, method, url, token, body string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
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

// measureRooms compares a message to a room, of whose members one in ten is connected,
// with a group message to those who are.
func measureRooms(ctx context.Context, s *suite) ([]found, error) {
	o := s.options(FeatureReliable, 1000)
	o.Pattern, o.AppID, o.UserPrefix, o.FirstUser = PatternGroup, "chat", "chat", 1
	var group, room Run
	err := s.withFolder(func(data string) error {
		settings := filepath.Join(filepath.Dir(data), "switchboard.yaml")
		if err := os.WriteFile(settings, []byte(chatSettings), 0o600); err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
		start := func() (*server, error) {
			return s.o.Child.start(ctx, "serve", "--config", settings, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data)
		}
		id, err := s.gather(ctx, start, data, membersPer*o.Connections)
		if err != nil {
			return err
		}
		server, err := start()
		if err != nil {
			return err
		}
		o.URLs, o.PIDs = []string{server.url}, watchable(server)
		group, room, err = s.compareRoom(ctx, o, server, id)
		return errors.Join(err, server.stop())
	})
	if err != nil {
		return nil, err
	}
	if group.Latency == nil || room.Latency == nil {
		return nil, errNothing
	}
	return []found{
		{what: "p99 to all who are connected, with that of a GROUP_MESSAGE", unit: unitMicro, value: room.Latency.P99, base: group.Latency.P99, reach: 3, atMost: true},
		{what: "p50", unit: unitMicro, value: room.Latency.P50, base: group.Latency.P50, reach: 3, atMost: true},
	}, nil
}

// gather makes a room with so many members in a data folder, with a server that it
// stops again, and returns the room's ID.
func (s *suite) gather(ctx context.Context, start func() (*server, error), data string, members int) (string, error) {
	if s.o.Crowd == nil {
		return "", errors.New("nobody makes the accounts of its members: SuiteOptions.Crowd is needed")
	}
	server, err := start()
	if err != nil {
		return "", err
	}
	p, err := newParty(server, members)
	if err == nil {
		err = p.found(ctx)
	}
	if err = errors.Join(err, server.stop()); err != nil {
		return "", err
	}
	return p.room, s.o.Crowd(ctx, data, guestPrefix, members)
}

// compareRoom measures group messages, then messages to the room, on one server.
func (s *suite) compareRoom(ctx context.Context, o Options, server *server, id string) (group, room Run, err error) {
	p, err := newParty(server, membersPer*o.Connections)
	if err != nil {
		return group, room, err
	}
	if o.guests, err = p.arrive(ctx, o.Connections); err != nil {
		return group, room, err
	}
	if group, err = s.keep(Measure(ctx, o)); err != nil {
		return group, room, err
	}
	o.guests.room = `"` + id + `"`
	if room, err = s.keep(Measure(ctx, o)); err == nil {
		err = p.check(ctx, room.Sent)
	}
	return group, room, err
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
