package meta

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pathConfig is the path under which settings are served.
const pathConfig = "/config"

// findSettings finds what the parts of a path behind pathConfig stand for.
func (d *door) findSettings(parts []string) http.HandlerFunc {
	if len(parts) == 0 {
		return d.settingsStatus
	}
	if len(parts) < 2 || !validName(parts[0], maxName) || !validName(parts[1], maxName) || parts[0] == shared {
		return nil
	}
	service, profile := parts[0], parts[1]
	switch {
	case len(parts) == 2:
		return func(w http.ResponseWriter, r *http.Request) { d.config(w, r, service, profile) }
	case len(parts) == 3 && parts[2] == "events":
		return func(w http.ResponseWriter, r *http.Request) { d.configEvents(w, r, service, profile) }
	}
	return nil
}

// config answers with the settings of a service.
func (d *door) config(w http.ResponseWriter, r *http.Request, service, profile string) {
	v, _ := d.settings.current()
	a, err := v.answer(service, profile)
	if err != nil {
		panic(err) // what is served was checked
	}
	give(w, r, a)
}

// configEvents answers with a stream: what is current of a service's settings, at once,
// and again with each change.
func (d *door) configEvents(w http.ResponseWriter, r *http.Request, service, profile string) {
	d.tell(w, r, func() (told, <-chan struct{}) {
		v, changed := d.settings.current()
		a, err := v.answer(service, profile)
		if err != nil {
			panic(err) // as above
		}
		id := strings.Trim(a.etag, `"`)
		return told{id, fmt.Sprintf("id: %s\nevent: settings\ndata: {\"commit\":%s}\n\n", id, strconv.Quote(v.commit))}, changed
	})
}

// settingsStatus answers with what is served, and what keeps newer settings from it.
func (d *door) settingsStatus(w http.ResponseWriter, r *http.Request) {
	v, _ := d.settings.current()
	files := make([]string, 0, len(v.trees))
	for name := range v.trees {
		files = append(files, name+yamlExt)
	}
	slices.Sort(files)
	body, err := plainJSON(struct {
		Commit  string    `json:"commit"`
		Since   time.Time `json:"since"`
		Files   []string  `json:"files"`
		Trouble *standing `json:"trouble"`
	}{v.commit, v.since.UTC(), files, v.trouble})
	if err != nil {
		panic(err) // texts and a time
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the reader may be gone; there is nobody else to tell
	}
}
