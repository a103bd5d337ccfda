package webhooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// maxAnswer is the longest answer of a receiver, in bytes; likewise its header.
	maxAnswer = 64 << 10
	// maxExcerpt is how much of a refusal's text is kept, in bytes.
	maxExcerpt = 200
	// idleConnection is how long a connection is kept for the next event. It is
	// shorter than servers commonly keep theirs: an event that meets a connection
	// just being closed fails, as nothing is sent twice in one attempt.
	idleConnection = time.Second
)

// Results of attempts, as the metrics have them.
const (
	resultOK       = "ok"
	resultStatus   = "status"   // another status than 2xx
	resultRedirect = "redirect" // likewise, and a place to go to instead
	resultTimeout  = "timeout"
	resultAddress  = "address" // not on the public network
	resultAnswer   = "answer"  // too long, or broken off
	resultConnect  = "connect" // no connection, or no answer on it
)

// poster makes attempts.
type poster struct {
	agent string // User-Agent
	now   func() time.Time
	// By whether private addresses are allowed.
	clients map[bool]*http.Client
}

// newPoster makes a poster; dial replaces how connections are made, in tests.
func newPoster(version string, now func() time.Time, dial dialFunc) *poster {
	p := &poster{agent: "Switchboard/" + version, now: now, clients: make(map[bool]*http.Client)}
	for _, private := range []bool{false, true} {
		dialer := &net.Dialer{KeepAlive: 15 * time.Second}
		if !private {
			dialer.Control = guard
		}
		p.clients[private] = newClient(dialer.DialContext)
		if dial != nil {
			p.clients[private] = newClient(dial)
		}
	}
	return p
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newClient returns a client that sends every request at most once, nowhere but
// where it is told to, and through no proxy.
func newClient(dial dialFunc) *http.Client {
	// HTTP/2 repeats requests by itself when a connection is wound up.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dial,
			Protocols:              &protocols,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			DisableCompression:     true, // the limits are on what is sent
			MaxIdleConnsPerHost:    1000, // kept for a moment only
			IdleConnTimeout:        idleConnection,
			MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// close lets go of connections that are kept.
func (p *poster) close() {
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// attempt is one event on its way to one webhook.
type attempt struct {
	to      Webhook
	ev      *event
	timeout time.Duration
}

// post makes an attempt. What it came to belongs to nobody when ctx has ended.
func (p *poster) post(ctx context.Context, a attempt) (outcome, string) {
	call, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	resp, err := p.send(call, a)
	if err != nil {
		return p.failed(call, a, err)
	}
	defer func() { _ = resp.Body.Close() }() // what was read of it counts
	var text []byte
	if resp.StatusCode >= 200 { // else the connection is another protocol's, which nobody ends
		text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	}
	o := outcome{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), p.now())}
	said := "it answered with status " + strconv.Itoa(resp.StatusCode)
	switch code := resp.StatusCode; {
	case code >= 300 && code <= 399:
		o.reason = said + ": redirects are not followed; set the webhook's URL to where it is"
		return o, resultRedirect
	case code < 200 || code > 299:
		o.reason = said + excerpt(text)
		return o, resultStatus
	case err != nil && call.Err() != nil:
		o.reason = said + fmt.Sprintf(", but the answer did not end within %s", a.timeout)
		return o, resultTimeout
	case err != nil:
		o.reason = said + ", but the answer broke off"
		return o, resultAnswer
	case len(text) > maxAnswer:
		o.reason = said + fmt.Sprintf(", but the answer is longer than %d bytes", maxAnswer)
		return o, resultAnswer
	}
	o.ok, o.retryAfter = true, 0
	return o, resultOK
}

func (p *poster) send(ctx context.Context, a attempt) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.to.URL, bytes.NewReader(a.ev.body))
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // without it the transport cannot send the body again
	at := p.now()
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", p.agent)
	h["webhook-id"] = []string{a.ev.id.String()}
	h["webhook-timestamp"] = []string{strconv.FormatInt(at.Unix(), 10)}
	h["webhook-signature"] = []string{signatures(a.to.Keys, a.ev.id, at, a.ev.body)}
	return p.clients[a.to.AllowPrivate].Do(req)
}

// failed says why there was no answer. The URL may hold a secret, so it is left
// out.
func (p *poster) failed(call context.Context, a attempt, err error) (outcome, string) {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, errAddress):
		return outcome{reason: sanitise(err.Error())}, resultAddress
	case call.Err() != nil:
		return outcome{reason: fmt.Sprintf("no answer within %s", a.timeout)}, resultTimeout
	}
	return outcome{reason: "no answer: " + sanitise(err.Error())}, resultConnect
}

// retryAfter reads the header of that name; 0 for nothing that can be used.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// excerpt returns the beginning of what a receiver said, for the history.
func excerpt(text []byte) string {
	line := sanitise(string(text[:min(len(text), 4*maxExcerpt)]))
	if line == "" {
		return ""
	}
	return ": " + line
}

// sanitise makes one short line of what strangers wrote: white space becomes a
// blank, and what cannot be printed a mark.
func sanitise(text string) string {
	line := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
	if len(line) <= maxExcerpt {
		return line
	}
	end := maxExcerpt
	for line[end]&0xC0 == 0x80 { // not in the middle of a character
		end--
	}
	return line[:end] + "…"
}
