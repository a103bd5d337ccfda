package nodetest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// A member of a crowd is a user on a plain socket, with one goroutine: enough of a
// WebSocket for what the server sends to somebody who only listens.
type member struct {
	user string
	conn net.Conn
	r    *bufio.Reader
}

// join connects somebody and signs in.
func join(addr, user string) (*member, error) {
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, err
	}
	m := &member{user: user, conn: conn, r: bufio.NewReaderSize(conn, 512)}
	if err := m.enter(addr); err != nil {
		_ = conn.Close() // the reason is known
		return nil, fmt.Errorf("%s: %w", user, err)
	}
	return m, nil
}

func (m *member) enter(addr string) error {
	if err := m.conn.SetDeadline(time.Now().Add(crowdPatience)); err != nil {
		return err
	}
	hello := "GET /ws HTTP/1.1\r\nHost: " + addr + "\r\n" + handshakeLines + "\r\n"
	if _, err := m.conn.Write(append([]byte(hello), rawFrame(rawText, authFrame("app-id-343", m.user, ""))...)); err != nil {
		return err
	}
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = m.r.ReadString('\n'); err != nil {
			return err
		}
	}
	text, err := m.next()
	if err == nil && !bytes.Contains(text, []byte(`"isAuthenticated":true`)) {
		err = fmt.Errorf("got %s", text)
	}
	return err
}

// next returns the next text, and answers pings before it.
func (m *member) next() ([]byte, error) {
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(m.r, head); err != nil {
			return nil, err
		}
		n := int(head[1])
		if n == 126 {
			more := make([]byte, 2)
			if _, err := io.ReadFull(m.r, more); err != nil {
				return nil, err
			}
			n = int(more[0])<<8 | int(more[1])
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(m.r, body); err != nil {
			return nil, err
		}
		switch head[0] {
		case rawText:
			return body, nil
		case rawPing:
			if _, err := m.conn.Write(rawFrame(rawPong, string(body))); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("got a frame that begins with %x: %q", head, body)
		}
	}
}

// crowdPatience is how long one of a crowd waits for anything.
const crowdPatience = 3 * time.Minute

const crowdSettings = plainApp + "limits: {handshakeTimeout: 1m, signInDeadline: 3m, proofTimeout: 3m, pingInterval: 3m}\n"

// All users of a crowd connect at once. Whoever is in is reachable from everywhere:
// somebody on each node sends to all of them, FAST, and each gets all of it.
func TestACrowdThatConnectsAtOnceIsReachableFromEachNode(t *testing.T) {
	c := three(t, crowdSettings)
	n := 10_000
	if raceEnabled || testing.Short() {
		n = 1000
	}
	meetCrowd(t, c.Nodes, n)
}

func TestACrowdThatConnectsAtOnceIsReachable(t *testing.T) {
	meetCrowd(t, startWith(t, crowdSettings).Nodes(), 1000)
}

func meetCrowd(t *testing.T, nodes []*Server, n int) {
	t.Helper()
	doors := slices.DeleteFunc(slices.Clone(nodes), func(s *Server) bool { return !s.connects() })
	senders := make([]*Peer, len(doors))
	for i, d := range doors {
		senders[i] = SignIn(t, d, "ANZ-1", "")
	}
	members, in := assemble(t, doors, n)
	took := make([]time.Duration, n)
	var hearing errgroup.Group
	began := time.Now()
	for i, m := range members {
		hearing.Go(func() (err error) {
			took[i], err = m.hearAll(began, len(senders))
			return err
		})
	}
	for i, p := range senders {
		for first := 0; first < n; first += 1000 {
			var to []string
			for _, m := range members[first:min(first+1000, n)] {
				to = append(to, fmt.Sprintf("%q", m.user))
			}
			p.Send(fmt.Sprintf(`{"type":"GROUP_MESSAGE","data":{"to":[%s],"content":"from node %d"},"feature":"FAST"}`, strings.Join(to, ","), i+1))
		}
	}
	if err := hearing.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d users connected in %s; each was reached from each of %d nodes within %s", n, in.Round(time.Millisecond), len(doors), slices.Max(took).Round(time.Millisecond))
}

// assemble lets a crowd connect at once, and says how long it took.
func assemble(t *testing.T, doors []*Server, n int) (members []*member, took time.Duration) {
	t.Helper()
	began := time.Now()
	members = make([]*member, n)
	var connecting errgroup.Group
	for i := range n {
		connecting.Go(func() (err error) {
			members[i], err = join(doors[i%len(doors)].Addr, fmt.Sprint("ANZ-", 1000+i))
			return err
		})
	}
	err := connecting.Wait()
	for _, m := range members {
		if m != nil {
			t.Cleanup(func() { _ = m.conn.Close() }) // it may be closed already
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return members, time.Since(began)
}

// hearAll reads until it has heard from n senders, whichever comes first.
func (m *member) hearAll(began time.Time, n int) (time.Duration, error) {
	heard := make(map[string]bool)
	for len(heard) < n {
		text, err := m.next()
		if err != nil {
			return 0, fmt.Errorf("%s heard %v, then %w", m.user, heard, err)
		}
		_, rest, _ := strings.Cut(string(text), `"content":"`)
		content, _, _ := strings.Cut(rest, `"`)
		heard[content] = true
	}
	return time.Since(began), nil
}
