// Package console is the web console: a page from which a person signs in, sends
// and receives messages and watches the frames go by; one for operators, who
// see how the node is doing, look after users, keys and webhooks; one on which
// people with accounts talk in rooms; one on which devices are matched, with what
// goes between them and the journal of it; and a map of who is around.
//
// The page is TypeScript (src/, built by Vite into dist/) and is embedded here.
// The package compiles without a built page, and then serves one that says how
// to build it. It promises that no answer lets a browser run anything but the
// console's own files, and that a new version is seen at the next reload.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// contentSecurityPolicy allows the console's own scripts and styles and sockets
// to anywhere: its address field may name another server. With Trusted Types
// required and no policy allowed, the page cannot turn text into markup even by
// mistake. The map may show tiles of one more origin.
func contentSecurityPolicy(tileOrigin string) string {
	images := "'self'"
	if tileOrigin != "" {
		images += " " + tileOrigin
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src " + images + "; " +
		"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
}

const notBuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Switchboard console</title>
<h1>The console is not built</h1>
<p>The server runs; this binary was compiled without its web console. At the root of the source:</p>
<pre>npm ci
npm run build
go build -o bin/switchboard ./cmd/switchboard</pre>
</html>
`

// contentType returns the type of a file that a build may contain. The machine's
// own table is not asked: it differs between machines.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".json":
		return "application/json"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// Options say what differs between servers.
type Options struct {
	// TileOrigin is where the map may get tiles besides the server itself, as https://host; empty: nowhere.
	TileOrigin string
}

// Handler serves the console at "/", the operator's part of it at "/operator", chat
// at "/chat", devices at "/devices", the map at "/map", and their files. It answers GET and HEAD only, and 404 to every other
// path. It may be used by any number of goroutines.
func Handler(o Options) http.Handler {
	built, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // "dist" is a valid path, which is all that Sub checks
	}
	return newSite(built, o)
}

// file is one file of the site, ready to be sent.
type file struct {
	body         []byte
	contentType  string
	cacheControl string
	etag         string
}

// site maps paths to files. It is not changed once made.
type site struct {
	files            map[string]file
	policy, onTheMap string // the content security policies
}

// mapPath is the page that may ask where the reader is, and show tiles.
const mapPath = "/map"

func newSite(built fs.FS, o Options) site {
	s := site{files: map[string]file{}, policy: contentSecurityPolicy(""), onTheMap: contentSecurityPolicy(o.TileOrigin)}
	err := fs.WalkDir(built, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		body, err := fs.ReadFile(built, name)
		if err != nil {
			return err
		}
		s.files["/"+name] = newFile(name, body)
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("console: read embedded files: %v", err)) // they are in memory
	}
	pages := map[string]string{"/": "index.html", "/operator": "operator.html", "/chat": "chat.html", "/devices": "devices.html", mapPath: "map.html"}
	for path, name := range pages {
		if page, ok := s.files["/"+name]; ok {
			s.files[path] = page
			delete(s.files, "/"+name) // one page, one address
		} else {
			s.files[path] = newFile(name, []byte(notBuilt))
		}
	}
	return s
}

// Serves says whether there is something at a path.
func (s site) Serves(path string) bool {
	_, ok := s.files[path]
	return ok
}

func newFile(name string, body []byte) file {
	sum := sha256.Sum256(body)
	f := file{
		body:         body,
		contentType:  contentType(name),
		cacheControl: "no-cache", // to be asked for each time; the tag makes that cheap
		etag:         `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}
	if strings.HasPrefix(name, "assets/") { // Vite puts a hash of the content into these names
		f.cacheControl = "public, max-age=31536000, immutable"
	}
	return f
}

func (s site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	policy, permissions := s.policy, "geolocation=()"
	if r.URL.Path == mapPath {
		policy, permissions = s.onTheMap, "geolocation=(self)"
	}
	header.Set("Content-Security-Policy", policy)
	header.Set("Permissions-Policy", permissions)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "the console is only read", http.StatusMethodNotAllowed)
		return
	}
	f, ok := s.files[r.URL.Path]
	if !ok {
		http.Error(w, "there is nothing at this path", http.StatusNotFound)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cacheControl)
	header.Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}
