package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

// docs are the OpenAPI document and the page that is made of it.
type docs struct {
	openapi []byte
	page    [][]byte // what stands between the addresses of this server
	bytes   int      // of all of it
	policy  string   // of the page
}

// theDocs are made once, when somebody asks for them: it takes longer than all else at
// the start of a server. Tests see to it that they can be.
var theDocs = sync.OnceValues(newDocs)

func newDocs() (*docs, error) {
	d, err := loadDocument()
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	openapi, err := d.json()
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	page, err := d.page()
	if err != nil {
		return nil, fmt.Errorf("write the page of the HTTP interface: %w", err)
	}
	sum := sha256.Sum256([]byte(docsStyle))
	pieces := bytes.Split(page, []byte(demoAddress))
	return &docs{
		openapi: openapi, page: pieces, bytes: len(page) - (len(pieces)-1)*len(demoAddress),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, nil
}

func (d document) page() ([]byte, error) {
	v, err := d.view()
	if err != nil {
		return nil, err
	}
	v.Style = template.CSS(docsStyle)
	t, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// demoAddress is where the examples of the document find the server.
const demoAddress = "http://127.0.0.1:8088"

// host is what the name of a server may look like in a command that people copy.
var host = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// addressOf returns where the reader of a page has found this server.
func addressOf(r *http.Request) string {
	if !host.MatchString(r.Host) {
		return demoAddress
	}
	scheme := "http://"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https://"
	}
	return scheme + r.Host
}

// add puts both on a door.
func addDocs(to *door) {
	to.exact("/openapi.json", read, ofDocs(func(d *docs, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.openapi))
	}))
	for _, near := range []string{"/docs", "/docs/", "/docs/api/"} {
		to.exact(near, read, http.RedirectHandler("/docs/api", http.StatusFound))
	}
	to.exact("/docs/api", read, ofDocs(func(d *docs, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", d.policy)
		d.write(w, r)
	}))
}

// write answers with the page as its reader has found this server, and keeps no copy of it
// for who is slow to take it.
func (d *docs) write(w http.ResponseWriter, r *http.Request) {
	at := []byte(addressOf(r))
	w.Header().Set("Content-Length", strconv.Itoa(d.bytes+(len(d.page)-1)*len(at)))
	if r.Method == http.MethodHead {
		return
	}
	for i, piece := range d.page {
		if i > 0 {
			_, _ = w.Write(at) // the client may be gone
		}
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

func ofDocs(serve func(*docs, http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := theDocs()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		serve(d, w, r)
	})
}
