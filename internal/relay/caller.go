package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// credentials is an Access that was read: what guards the calls now.
type credentials struct {
	secret string
	server *tls.Config // nil: plain HTTP is served
	client *tls.Config // nil: what the system trusts
}

// read reads the files of an Access.
func (a Access) read() (*credentials, error) {
	c := &credentials{}
	if a.SecretFile != "" {
		text, err := os.ReadFile(a.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("secretFile: %w", err)
		}
		c.secret = strings.TrimSpace(string(text))
		if len(c.secret) < leastSecret || strings.ContainsAny(c.secret, " \t\r\n") {
			return nil, fmt.Errorf("secretFile %s: the secret must be one word of at least %d bytes", a.SecretFile, leastSecret)
		}
	}
	if a.TLS.Cert != "" || a.TLS.Key != "" {
		pair, err := tls.LoadX509KeyPair(a.TLS.Cert, a.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert %q and tls.key %q: %w", a.TLS.Cert, a.TLS.Key, err)
		}
		c.server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if a.TLS.CA != "" {
		pem, err := os.ReadFile(a.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM", a.TLS.CA)
		}
		c.client = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	return c, nil
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
	idleKeep   = time.Minute
	expectTime = time.Second // for a 100 Continue; a stranger may know nothing of it
)

// transport returns what a program calls others with. Of its connections to one host
// perHost are kept for the next calls; how many there are at once is the callers'.
func (c *credentials) transport(perHost int) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTime}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: c.client, TLSHandshakeTimeout: dialTime,
		MaxIdleConnsPerHost: perHost, IdleConnTimeout: idleKeep, ExpectContinueTimeout: expectTime,
		DisableCompression: true, ForceAttemptHTTP2: false,
	}
}

// authorize shows the secret, if there is one.
func (c *credentials) authorize(r *http.Request) {
	if c.secret != "" {
		r.Header.Set("Authorization", "Bearer "+c.secret)
	}
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
func (c *credentials) call(ctx context.Context, client *http.Client, method, target string, body io.Reader) ([]byte, error) {
	text, _, err := c.ask(ctx, client, method, target, body)
	return text, err
}

// ask is call for those who want the answer's header, too.
func (c *credentials) ask(ctx context.Context, client *http.Client, method, target string, body io.Reader) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	c.authorize(r)
	answer, err := client.Do(r)
	if err != nil {
		return nil, nil, plainCause(err)
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or given up
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case answer.StatusCode/100 != 2:
		return nil, nil, &statusError{Status: answer.StatusCode, Said: cutText(strings.TrimSpace(string(text)))}
	case err != nil:
		return nil, nil, err
	case len(text) > maxAnswer:
		return nil, nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return text, answer.Header, nil
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
