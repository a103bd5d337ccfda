package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// credentials is an Access that was read: what guards the calls now.
type credentials struct {
	secret string      // the one that is shown; empty for none
	others []string    // that are taken as well, while one takes the place of another
	server *tls.Config // nil: plain HTTP is served
	client *tls.Config // nil: what the system trusts
}

// accessError is what is wrong with a file that an Access names.
type accessError struct {
	key string
	err error
}

// Error implements error.
func (e *accessError) Error() string { return e.key + ": " + e.err.Error() }

// Unwrap gives errors.Is and errors.As the cause.
func (e *accessError) Unwrap() error { return e.err }

// read reads the files of an Access.
func (a Access) read() (*credentials, error) {
	c, bad := a.readAll()
	if len(bad) == 0 {
		return c, nil
	}
	all := make([]error, len(bad))
	for i, one := range bad {
		all[i] = one
	}
	return nil, errors.Join(all...)
}

// readAll reads the files of an Access, and tells all that is wrong with them.
func (a Access) readAll() (c *credentials, bad []*accessError) {
	c = &credentials{}
	note := func(key string, err error) {
		if err != nil {
			bad = append(bad, &accessError{key, err})
		}
	}
	if a.SecretFile != "" {
		note("secretFile", c.readSecrets(a.SecretFile))
	}
	if a.TLS.Cert != "" && a.TLS.Key != "" {
		cert, err := readSmall(a.TLS.Cert)
		note("tls.cert", err)
		key, bad := readSmall(a.TLS.Key)
		note("tls.key", bad)
		if err == nil && bad == nil {
			note("tls.cert", c.takePair(cert, key, a.TLS.Key))
		}
	}
	if a.TLS.CA != "" {
		note("tls.ca", c.readAuthorities(a.TLS.CA))
	}
	return c, bad
}

// mostSecrets is how many secrets are taken at once: the one that is shown, and that
// which it takes the place of, or the other way round.
const mostSecrets = 2

func (c *credentials) readSecrets(file string) error {
	text, err := readSmall(file)
	if err != nil {
		return err
	}
	words := strings.Fields(string(text))
	if len(words) == 0 || len(words) > mostSecrets || slices.ContainsFunc(words, isNoSecret) {
		return fmt.Errorf("%s must have one secret, a word of at least %d bytes of ASCII; on a second line there may be another one that is taken, too", file, leastSecret)
	}
	c.secret, c.others = words[0], words[1:]
	return nil
}

func isNoSecret(word string) bool {
	return len(word) < leastSecret || strings.ContainsFunc(word, func(r rune) bool { return r < '!' || r > '~' })
}

func (c *credentials) takePair(cert, key []byte, keyFile string) error {
	if block, _ := pem.Decode(cert); block == nil {
		return errors.New("it holds no certificate in PEM")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("it makes no pair with %s: %w", keyFile, err)
	}
	c.server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	return nil
}

func (c *credentials) readAuthorities(file string) error {
	pem, err := readSmall(file)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate in PEM", file)
	}
	c.client = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	return nil
}

// mostSmall bounds files of secrets and certificates.
const mostSmall = 1 << 20

// readSmall reads a file of which nobody waits for the end.
func readSmall(file string) ([]byte, error) {
	about, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, unreadable(file, err)
	case !about.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", file)
	case about.Size() > mostSmall:
		return nil, fmt.Errorf("%s has more than %d bytes", file, mostSmall)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	return text, nil
}

// unreadable says why a file cannot be read.
func unreadable(file string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("cannot read %s: %w", file, err)
}

// base returns the URL of a server that is given with or without a scheme, without
// a slash at its end.
func (c *credentials) base(server string) (string, error) {
	if !strings.Contains(server, "://") {
		scheme := "http://"
		if c.client != nil {
			scheme = "https://"
		}
		server = scheme + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%q is no address of a server: give host:port, or http:// or https:// before it", server)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// Bounds of calls to others.
const (
	dialTime   = 5 * time.Second
	callTime   = 10 * time.Second // for a small call as a whole
	maxAnswer  = 16 << 20         // of JSON: a network of a hundred thousand collectors
	maxHead    = 64 << 10         // of an answer's header
	idleKeep   = time.Minute
	expectTime = time.Second // for a 100 Continue; a stranger may know nothing of it
)

// caller returns what a program calls others with. No redirect is followed: the
// secret is for whom it was set, and not for another port or scheme of the same host.
func (c *credentials) caller(perHost int) *http.Client {
	return &http.Client{
		Transport:     c.transport(perHost),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport returns what a caller goes by. Of its connections to one host
// perHost are kept for the next calls; how many there are at once is the callers'.
func (c *credentials) transport(perHost int) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTime}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: c.client, TLSHandshakeTimeout: dialTime,
		MaxIdleConnsPerHost: perHost, IdleConnTimeout: idleKeep, ExpectContinueTimeout: expectTime,
		MaxResponseHeaderBytes: maxHead, DisableCompression: true, ForceAttemptHTTP2: false,
	}
}

// authorize shows the secret, if there is one.
func (c *credentials) authorize(r *http.Request) {
	if c.secret != "" {
		r.Header.Set("Authorization", "Bearer "+c.secret)
	}
}

// said is the beginning of what somebody answered, for people. A secret that he shows
// in it, as those do who answer with what they were sent, is left out: it would get
// into logs, reports and files of reasons.
func (c *credentials) said(text string) string {
	for _, secret := range append([]string{c.secret}, c.others...) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	return cutText(strings.TrimSpace(strings.ToValidUTF8(text, "?")))
}

// statusError is an answer that is not what was asked for.
type statusError struct {
	Status int
	Said   string // the beginning of its body
}

// Error implements error.
func (e *statusError) Error() string {
	text := fmt.Sprintf("answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text
}

// call makes a small call and returns the body of its answer, which is 2xx.
func (c *credentials) call(ctx context.Context, client *http.Client, method, target string, body io.Reader) (text []byte, err error) {
	_, err = c.fetch(ctx, client, method, target, body, func(answer io.Reader) (err error) {
		text, err = io.ReadAll(io.LimitReader(answer, maxAnswer+1))
		if err == nil && len(text) > maxAnswer {
			err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
		}
		return err
	})
	return text, err
}

// fetch makes a small call, has the body of its answer read, which is 2xx, and returns
// the answer's header.
func (c *credentials) fetch(ctx context.Context, client *http.Client, method, target string, body io.Reader, read func(io.Reader) error) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	c.authorize(r)
	answer, err := client.Do(r)
	if err != nil {
		return nil, plainCause(err)
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or given up
	if answer.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxSaid)) // as far as it comes
		return nil, &statusError{Status: answer.StatusCode, Said: c.said(string(text))}
	}
	return answer.Header, read(answer.Body)
}

// plainCause takes the URL off an error of the HTTP client: whoever reports it says
// whom he called.
func plainCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
