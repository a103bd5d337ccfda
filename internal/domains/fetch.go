package domains

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"
)

// newClient returns a client for one meta server.
func newClient(timeout time.Duration, secured *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout:    timeout,
			TLSClientConfig:        secured,
			DisableCompression:     true, // the limits are on what is sent
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch asks the meta server for its description once, and takes it.
func (s *Source) fetch(ctx context.Context) *trouble {
	s.taking.Lock()
	defer s.taking.Unlock()
	told := s.told.Load()
	n, etag, t := s.get(ctx)
	if t != nil {
		if t.kind == kindStatus {
			s.etag = "" // it may be what is refused: something in between may have made it, and too long
		}
		return t
	}
	if n == nil {
		n = s.Current() // not modified
	}
	if t := s.take(n); t != nil {
		return t
	}
	s.etag = etag
	if told > n.Version {
		s.etag = "" // have it sent again
		return newTrouble(kindVersion, "the meta server announced version %d, but serves %d: something between here and there may keep an old answer", told, n.Version)
	}
	return nil
}

// get returns the description that is served, with its ETag; nil when it is
// still the current one.
func (s *Source) get(ctx context.Context) (*Network, string, *trouble) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, errSlow)
	defer cancel()
	resp, t := s.ask(ctx, "domains/graph", "application/json", s.etag)
	if t != nil {
		return nil, "", t
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return nil, s.etag, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxJSON+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, "", newTrouble(kindCut, "the description broke off after %d bytes", len(body))
	case err != nil:
		return nil, "", s.brokenOff(ctx, err)
	case len(body) > MaxJSON:
		return nil, "", newTrouble(kindSize, "the description has more than %d bytes, the most that is read", MaxJSON)
	}
	n, err := ParseJSON(body)
	if err != nil {
		return nil, "", &trouble{kindContent, badContent(err)}
	}
	return n, resp.Header.Get("ETag"), nil
}

// badContent says in one line what is wrong.
func badContent(err error) error {
	var problems Problems
	if errors.As(err, &problems) && len(problems) > 1 {
		return fmt.Errorf("the meta server serves a bad description: %w (and %d more problems)", problems[0], len(problems)-1)
	}
	return fmt.Errorf("the meta server serves a bad description: %w", err)
}

// errSlow is why a request was given up.
var errSlow = errors.New("no answer in time")

// ask sends a request and returns a good answer, whose body is to be closed.
func (s *Source) ask(ctx context.Context, path, want, etag string) (*http.Response, *trouble) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.JoinPath(path).String(), nil)
	if err != nil {
		return nil, newTrouble(kindUnreachable, "make the request: %w", err)
	}
	req.Header.Set("Accept", want)
	req.Header.Set("User-Agent", "switchboard")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	if s.o.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+s.o.Secret)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.brokenOff(ctx, err)
	}
	if t := s.refused(resp, want, etag != ""); t != nil {
		resp.Body.Close()
		return nil, t
	}
	return resp, nil
}

// refused says what is wrong with the head of an answer.
func (s *Source) refused(resp *http.Response, want string, conditional bool) *trouble {
	switch status := resp.StatusCode; {
	case status == http.StatusNotModified && conditional:
		return nil
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		const put = "put what is in its --secret-file into the setting metaSecret of this domain"
		if s.o.Secret == "" {
			return newTrouble(kindStatus, "the meta server answers %d: it asks for a secret, and this domain has none for it; %s", status, put)
		}
		return newTrouble(kindStatus, "the meta server answers %d: it asks for another secret than metaSecret; %s", status, put)
	case status == http.StatusNotFound:
		return newTrouble(kindStatus, "the meta server answers 404: no meta server is at this URL")
	case status != http.StatusOK:
		return newTrouble(kindStatus, "the meta server answers %d", status)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != want {
		return newTrouble(kindType, "the answer is %s, not %s: no meta server is at this URL, or something in between answers for it", quote(resp.Header.Get("Content-Type")), want)
	}
	return nil
}

// brokenOff makes a trouble of what the network said.
func (s *Source) brokenOff(ctx context.Context, err error) *trouble {
	if errors.Is(context.Cause(ctx), errSlow) {
		return newTrouble(kindTimeout, "the meta server at %s does not answer in time", s.server.Host)
	}
	return newTrouble(kindUnreachable, "the meta server cannot be reached: %w", err)
}
