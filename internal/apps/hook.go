package apps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// maxAnswer is the longest answer of a hook, in bytes.
const maxAnswer = 64 << 10

// idleConnection is how long a connection to a hook is kept for the next call.
// It is shorter than servers commonly keep theirs (Node 5 s, gunicorn 2 s): a
// call that meets a connection just being closed fails, as it is not repeated.
const idleConnection = time.Second

// errRefused is a hook's clear no.
var errRefused = errors.New("the hook said no")

// maxIdle is how many connections to one host are kept: as many as there may be
// calls at once, for they are kept for a moment only.
const maxIdle = 10_000

// newClient returns a client that sends every request at most once.
func newClient() *http.Client {
	// HTTP/2 repeats requests by itself when a connection is wound up.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext,
			Protocols:              &protocols,
			DisableCompression:     true, // the limits are on what is sent
			MaxIdleConnsPerHost:    maxIdle,
			IdleConnTimeout:        idleConnection,
			MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// hook asks an app's own server. Apps with the same URL share one.
type hook struct {
	url   string
	env   env
	turns *turns
	alarm *alarm
}

func newHook(rawURL string, e env) *hook {
	return &hook{
		url: rawURL, env: e, turns: newTurns(int(e.limits.concurrency.Load()), e.waiting),
		alarm: newAlarm(e, "auth hook does not answer as it should", "auth hook answers again"),
	}
}

// check waits for its turn, then calls the hook once.
func (h *hook) check(ctx context.Context, a wire.Auth) (time.Time, *Refusal) {
	switch err := h.turns.take(ctx, h.env.metrics.waits); {
	case errors.Is(err, errQueueFull):
		return time.Time{}, refuse(wire.CodeBusy, reasonBusy, err)
	case err != nil:
		return time.Time{}, ended(ctx, wire.CodeBusy, reasonBusy)
	}
	defer h.turns.give()
	return time.Time{}, h.ask(ctx, a)
}

func (h *hook) ask(ctx context.Context, a wire.Auth) *Refusal {
	h.env.metrics.flying.Inc()
	defer h.env.metrics.flying.Dec()
	began := h.env.now()
	call, cancel := context.WithTimeout(ctx, h.env.limits.callTimeout())
	defer cancel()
	err := h.post(call, a)
	h.env.metrics.calls.WithLabelValues(a.User.App()).Observe(h.env.now().Sub(began).Seconds())
	switch {
	case err == nil:
		h.alarm.off(a.User.App())
		return nil
	case errors.Is(err, errRefused):
		h.alarm.off(a.User.App())
		return refuse(wire.CodeRefused, reasonRefused, nil)
	case ctx.Err() != nil: // says nothing about the hook
		return ended(ctx, wire.CodeHookFailed, reasonTimeout)
	case call.Err() != nil:
		h.alarm.on(a.User.App(), call.Err())
		return refuse(wire.CodeHookFailed, reasonTimeout, call.Err())
	}
	h.alarm.on(a.User.App(), err)
	return refuse(wire.CodeHookFailed, reasonHookFailed, err)
}

// post calls the hook; nil means that it said yes.
func (h *hook) post(ctx context.Context, a wire.Auth) error {
	body, err := json.Marshal(question{AppID: a.AppID, UserID: a.User, Token: a.Token})
	if err != nil {
		return fmt.Errorf("write the question: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return withoutURL("make the request", err)
	}
	req.GetBody = nil // without it the transport cannot send the body again
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "switchboard")
	resp, err := h.env.client.Do(req)
	if err != nil {
		return withoutURL("call the hook", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := readLimited(resp.Body, maxAnswer)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return errRefused
	case code < 200 || code > 299:
		return fmt.Errorf("the hook answered with status %d", code)
	}
	return checkAnswer(text, a)
}

// question is what a hook is sent.
type question struct {
	AppID  string      `json:"appId"`
	UserID wire.UserID `json:"userId"`
	Token  string      `json:"token"`
}

// checkAnswer says whether the text of an answer is a yes to a: nil; a clear no:
// errRefused; or neither.
func checkAnswer(text []byte, a wire.Auth) error {
	members, err := readAnswer(text)
	if err != nil {
		return fmt.Errorf("the answer is not one JSON object: %w", err)
	}
	switch string(members["isAuthenticated"]) {
	case "true":
	case "false":
		return errRefused
	default:
		return errors.New("isAuthenticated is neither true nor false")
	}
	for name, want := range map[string]string{"appId": a.AppID, "userId": string(a.User)} {
		var got *string
		if err := json.Unmarshal(members[name], &got); err != nil || got == nil || *got != want {
			return fmt.Errorf("the answer has another %s, or none", name)
		}
	}
	return nil
}

// readAnswer reads one JSON object, by exact names. Names given twice are
// refused: encoding/json would take the last, another reader the first.
func readAnswer(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("does not begin with an object"), err)
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // the decoder accepts nothing else here
		if _, again := members[name]; again {
			return nil, errors.New("has a name twice")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after the object")
	}
	return members, nil
}

// readLimited reads all of r, or fails when it is longer than limit bytes.
func readLimited(r io.Reader, limit int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > limit {
		return nil, fmt.Errorf("longer than %d bytes", limit)
	}
	return text, nil
}

// withoutURL takes the URL out of an error of net/http: it may hold a secret.
func withoutURL(doing string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%s: %w", doing, err)
}
