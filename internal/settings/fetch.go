package settings

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// service is what nodes are called where settings are served.
const service = "switchboard"

// maxAnswer is the most that is read of an answer, in bytes: more than three files make
// that a meta server takes.
const maxAnswer = 8 << 20

// maxSecret is the most that is read of the file with what the meta server asks for.
const maxSecret = 4 << 10

// offer is what a meta server serves.
type offer struct {
	Commit   string            `json:"commit"`
	Files    []string          `json:"files"`
	Settings json.RawMessage   `json:"settings"`
	Places   map[string]string `json:"places"`
	Trouble  *struct {
		Kind     string   `json:"kind"`
		Place    string   `json:"place"`
		Problems []string `json:"problems"`
		More     int      `json:"more"`
	} `json:"trouble"`

	etag string
}

// newClient returns a client for one meta server.
func newClient(timeout time.Duration, trust *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout:    timeout,
			TLSClientConfig:        trust,
			DisableCompression:     true, // the limits are on what is sent
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func newTrouble(kind, format string, args ...any) *Trouble {
	return &Trouble{Kind: kind, Text: []string{fmt.Sprintf(format, args...)}}
}

// fetch asks the meta server for settings once. What is new is offered then. The caller
// has the lock taking.
func (b *Book) fetch(ctx context.Context) *Trouble {
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	etag := ""
	if b.offered != nil {
		etag = b.offered.etag
	}
	resp, t := b.ask(ctx, "", "application/json", etag)
	if t != nil {
		return t
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return newTrouble(kindUnreachable, "the answer of the meta server broke off: %s", err)
	case len(body) > maxAnswer:
		return newTrouble(kindAnswer, "the answer of the meta server has more than %d MiB, the most that is read", maxAnswer>>20)
	}
	of := &offer{etag: resp.Header.Get("Etag")}
	if err := json.Unmarshal(body, of); err != nil || of.Commit == "" || len(of.Commit) > 128 || of.Settings == nil {
		return newTrouble(kindAnswer, "the answer of the meta server is not one of settings: something in between may answer for it")
	}
	b.offered = of
	return nil
}

// ask sends a request and returns a good answer, whose body is to be closed.
func (b *Book) ask(ctx context.Context, below, want, etag string) (*http.Response, *Trouble) {
	server, err := url.Parse(b.source.URL)
	if err != nil {
		return nil, newTrouble(kindUnreachable, "settings.url is no URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.JoinPath("config", service, b.source.Profile, below).String(), nil)
	if err != nil {
		return nil, newTrouble(kindUnreachable, "make the request: %s", err)
	}
	req.Header.Set("Accept", want)
	req.Header.Set("User-Agent", "switchboard")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	if b.source.SecretFile != "" {
		secret, err := readSecret(b.source.SecretFile)
		if err != nil {
			return nil, newTrouble(kindStatus, "what the meta server asks for cannot be read from settings.secretFile: %s", err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, newTrouble(kindUnreachable, "the meta server cannot be reached: %s", err)
	}
	if t := b.refused(resp, want, etag != ""); t != nil {
		resp.Body.Close()
		return nil, t
	}
	return resp, nil
}

// refused says what is wrong with the head of an answer.
func (b *Book) refused(resp *http.Response, want string, conditional bool) *Trouble {
	switch status := resp.StatusCode; {
	case status == http.StatusNotModified && conditional:
		return nil
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return newTrouble(kindStatus, "the meta server answers %d: it asks for another secret; put what is in its --secret-file into the file that settings.secretFile names", status)
	case status == http.StatusNotFound:
		return newTrouble(kindStatus, "the meta server answers 404: it serves no settings (--settings), or no meta server is at this URL")
	case status != http.StatusOK:
		return newTrouble(kindStatus, "the meta server answers %d", status)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != want {
		return newTrouble(kindAnswer, "the answer is not %s: no meta server is at this URL, or something in between answers for it", want)
	}
	return nil
}

// readSecret reads what the meta server asks for.
func readSecret(name string) (string, error) {
	// To open what is no file, a pipe for one, could take for ever.
	if info, err := os.Stat(name); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() // nothing was written
	content, err := io.ReadAll(io.LimitReader(f, maxSecret))
	secret := strings.TrimSpace(string(content))
	if err == nil && (secret == "" || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' })) {
		err = errors.New(name + " holds nothing that an HTTP header can carry")
	}
	return secret, err
}
