package load

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Connections to an http:// URL are streams of server-sent events: they are
// signed in by their URL, and then only listen.

// events says whether the connections are streams of events.
func (o *Options) events() bool { return strings.HasPrefix(o.URLs[0], "http://") }

// streamsURL is where a server has its events that has its WebSocket at url.
func streamsURL(url string) string {
	return strings.TrimSuffix(strings.Replace(url, "ws://", "http://", 1), "/ws") + "/v1/events"
}

// ask asks for a connection's events.
func (d *driver) ask(c *conn) {
	query := url.Values{"appId": {d.o.AppID}, "userId": {c.user}}
	if d.o.Token != "" {
		query.Set("token", d.o.Token)
	}
	d.append(c, fmt.Appendf(nil, "GET %s?%s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", d.at.of(c.id).url.EscapedPath(), query.Encode(), d.at.of(c.id).url.Host))
}

// answered reads the head of an answer of events and returns its length.
func (d *driver) answered(c *conn, b []byte) int {
	head, body, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	status, _, _ := strings.Cut(string(head), "\r\n")
	switch {
	case !whole && len(b) < 16<<10:
		return 0
	case !strings.HasPrefix(status, "HTTP/1.1 200"):
		d.fail(c, &refusal{fmt.Sprintf("%s gives %s no events: it answers %q %s", d.o.url(c.id), c.user, shorten(status), shorten(string(body)))})
		return 0
	}
	c.state = stateSigning
	return len(head) + 4
}

// eventsArrived takes what there is of a stream, whole events, and returns how
// much that was.
func (d *driver) eventsArrived(c *conn, b []byte) int {
	end := bytes.LastIndex(b, []byte("\n\n"))
	if end < 0 {
		return 0
	}
	if c.state == stateSigning && bytes.Contains(b[:end], []byte(wire.NameAuthReply)) {
		d.signedIn(c)
	}
	return end + 2
}
