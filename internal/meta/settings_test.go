package meta

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// settle puts a commit onto main in which the folder conf has files. A name that ends in
// "@" is a symbolic link.
func (d *depot) settle(files map[string]string) plumbing.Hash {
	d.t.Helper()
	var entries []object.TreeEntry
	for _, name := range []string{"README.md", "application.yaml", "bad name.yaml", "link.yaml@", "orders-eu.yaml", "orders.yaml", "orders.yml", "sub.yaml"} {
		text, there := files[name]
		if !there {
			continue
		}
		entry := object.TreeEntry{Name: strings.TrimSuffix(name, "@"), Mode: filemode.Regular, Hash: d.blob(text)}
		if strings.HasSuffix(name, "@") {
			entry.Mode = filemode.Symlink
		}
		entries = append(entries, entry)
	}
	conf := d.store(&object.Tree{Entries: entries})
	root := d.store(&object.Tree{Entries: []object.TreeEntry{{Name: "conf", Mode: filemode.Dir, Hash: conf}}})
	return d.place("main", root, d.head("main"))
}

// fill has a folder, which is a link to one, hold files, all at once.
func fill(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	next := t.TempDir()
	for name, text := range files {
		err := error(nil)
		if link, is := strings.CutSuffix(name, "@"); is {
			err = os.Symlink(text, filepath.Join(next, link))
		} else {
			err = os.WriteFile(filepath.Join(next, name), []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(next, folder+".next"), os.Rename(folder+".next", folder)); err != nil {
		t.Fatal(err)
	}
}

// filled returns the name of a folder with files.
func filled(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "conf")
	fill(t, folder, files)
	return folder
}

// overEachPlace tests with settings in a plain folder, and in a Git repository at some ends of roads. put changes them and has the server look.
func overEachPlace(t *testing.T, names []string, test func(t *testing.T, r *running, put func(files map[string]string))) {
	first := map[string]string{"orders.yaml": "size: 1\n"}
	for _, name := range names {
		of := roads()[name] // nil for a folder
		t.Run(name, func(t *testing.T) {
			o := quiet(t)
			if of == nil {
				o.Settings = filled(t, first)
				r := start(t, o)
				test(t, r, func(files map[string]string) { fill(t, r.options.Settings, files); r.look() })
				return
			}
			d := newDepot(t, true, 2)
			d.settle(first)
			o.Settings, o.Git = "conf", of(t, d)
			r := start(t, o)
			test(t, r, func(files map[string]string) { d.settle(files); r.look() })
		})
	}
}

// settings returns what a service gets: files and settings as JSON, and the whole answer.
func (r *running) settings(path string) (text string, a configAnswer) {
	r.t.Helper()
	answer, body := r.get("/config/" + path)
	if err := json.Unmarshal([]byte(body), &a); err != nil || answer.StatusCode != http.StatusOK {
		r.t.Fatalf("status %d: %s, %v", answer.StatusCode, body, err)
	}
	return fmt.Sprintf("%s %s", strings.Join(a.Files, "+"), a.Settings), a
}

func (r *running) says(path, want string) {
	r.t.Helper()
	if got, _ := r.settings(path); got != want {
		r.t.Errorf("%s gets\n%s\nwant\n%s\n%s", path, got, want, r.log.String())
	}
}

func TestALaterFileOfSettingsWinsAndAllOfAnAnswerIsOfOneCommit(t *testing.T) {
	overEachPlace(t, []string{"folder", "path", "HTTP"}, func(t *testing.T, r *running, put func(map[string]string)) {
		r.says("orders/eu", `orders.yaml {"size":1}`)
		r.says("stock/eu", ` {}`)
		_, before := r.settings("orders/eu")
		put(map[string]string{
			"README.md":        "not: [settings",
			"application.yaml": "db: &db {host: a, port: 5432, name: all}\nlist: [1, 2, 3]\nid: 007\nratio: 0.5\nday: 2026-01-02\non: yes\nlabel: 'yes <&'\nempty:\n",
			"orders.yaml":      "db: {host: b, password: {secret: ORDERS_DB}}\nlist: [9]\nsecond: {name: x}\n",
			"orders-eu.yaml":   "db: {host: c}\nempty: no longer\nsecond:\n",
		})
		r.says("orders/eu", `application.yaml+orders.yaml+orders-eu.yaml {"day":"2026-01-02","db":{"host":"c","name":"all","password":{"secret":"ORDERS_DB"},"port":5432},"empty":"no longer","id":"007","label":"yes <&","list":[9],"on":"yes","ratio":0.5,"second":{"name":"x"}}`)
		_, a := r.settings("orders/eu")
		if a.Places["db.host"] != "orders-eu.yaml:1" || a.Places["db.port"] != "application.yaml:1" || a.Places["list[0]"] != "orders.yaml:2" {
			t.Errorf("places are %v", a.Places)
		}
		if _, b := r.settings("orders/us"); a.Commit == before.Commit || b.Commit != a.Commit || len(a.Commit) < 40 {
			t.Errorf("commits %s, %s and %s", before.Commit, a.Commit, b.Commit)
		}
		answer, _ := r.get("/config/orders/eu")
		if again, body := r.get("/config/orders/eu", "If-None-Match", answer.Header.Get("Etag")); again.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("who has it is answered %d %s", again.StatusCode, body)
		}
	})
}

func TestABadCommitOfSettingsChangesNothingAndIsToldEverywhereOnce(t *testing.T) {
	overEachPlace(t, []string{"folder", "path"}, func(t *testing.T, r *running, put func(map[string]string)) {
		_, before := r.settings("orders/eu")
		deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
		bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d]\n"
		for _, c := range []struct{ name, text, want string }{
			{"orders.yaml", "size: 2\nlist: [\n", "orders.yaml:"},
			{"orders.yaml", "size: 2\nsize: 3\n", "orders.yaml:2: size: is set twice"},
			{"orders.yaml", "a: {b: 1,\n  b: 2}\n", "orders.yaml:2: a.b: is set twice"},
			{"orders.yaml", "- 1\n", "orders.yaml:1: must be keys with values"},
			{"orders.yaml", "a: 1\n---\nb: 2\n", "a second document"},
			{"orders.yaml", "a: {x: 1}\nb: {<<: {x: 1}}\n", "orders.yaml:2: b: merging by <<"},
			{"orders.yaml", "list: [1, ]\nother: [1, ~]\n", "orders.yaml:2: other[1]: must not be empty"},
			{"orders.yaml", "a: " + deep + "\n", "nested more than 32 deep"},
			{"orders.yaml", bomb, "more than 20000 values"},
			{"orders.yaml", "a: " + strings.Repeat("x", maxSettings) + "\n", "larger than 256 KiB"},
			{"orders.yaml", "a: &a [*a]\n", "orders.yaml:"},
			{"orders.yaml", "password: {secret: 'p4ss word='}\n", "orders.yaml:1: password.secret: must name a secret"},
			{"orders.yaml", "password: {secret: [A]}\n", "must name a secret"},
			{"orders.yml", "a: 1\n", "orders.yml: would not be read"},
			{"bad name.yaml", "a: 1\n", "bad name.yaml: is the file of no service"},
			{"link.yaml@", "/etc/passwd", "link.yaml: is a symbolic link"},
		} {
			put(map[string]string{"application.yaml": "good: 1\n", c.name: c.text})
			r.look()
			r.says("orders/eu", `orders.yaml {"size":1}`)
			_, a := r.settings("orders/eu")
			if a.Commit != before.Commit || a.Trouble == nil || a.Trouble.Kind != troubleBad || !strings.Contains(strings.Join(a.Trouble.Problems, "\n"), c.want) {
				t.Errorf("%s: %.40s: the answer says %+v of commit %s", c.name, c.text, a.Trouble, a.Commit)
			}
			if _, body := r.get(pathConfig); !strings.Contains(body, before.Commit) || !strings.Contains(body, `"kind":"bad"`) {
				t.Errorf("the state is %s", body)
			}
			r.logged(1, c.want)
			if v := r.metric("switchboard_meta_settings_in_trouble"); v != "1" {
				t.Errorf("in_trouble is %s", v)
			}
			if t.Failed() {
				return
			}
			r.log.reset()
		}
		put(map[string]string{"orders.yaml": "size: 2\n"})
		r.says("orders/eu", `orders.yaml {"size":2}`)
		if _, a := r.settings("orders/eu"); a.Trouble != nil || r.metric("switchboard_meta_settings_in_trouble") != "0" {
			t.Errorf("there is still %+v", a.Trouble)
		}
		r.logged(1, "the trouble with the settings is over")
	})
}

// A ConfigMap of Kubernetes is mounted as links to files behind another link, which is
// replaced when it changes.
func TestAFolderOfLinksThatStayInItIsRead(t *testing.T) {
	folder := t.TempDir()
	link := func(to, name string) {
		t.Helper()
		name = filepath.Join(folder, name)
		if err := errors.Join(os.Symlink(to, name+".next"), os.Rename(name+".next", name)); err != nil {
			t.Fatal(err)
		}
	}
	mount := func(name, text string) {
		t.Helper()
		at := filepath.Join(folder, name)
		if err := errors.Join(os.Mkdir(at, 0o700), os.WriteFile(filepath.Join(at, "orders.yaml"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		link(name, "..data")
	}
	mount("..1", "size: 1\n")
	link("..data/orders.yaml", "orders.yaml")
	o := quiet(t)
	o.Settings = folder
	r := start(t, o)
	r.says("orders/eu", `orders.yaml {"size":1}`)
	mount("..2", "size: 2\n")
	r.look()
	r.says("orders/eu", `orders.yaml {"size":2}`)
	outside := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(outside, []byte("size: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{outside, "..data/none.yaml", "../" + filepath.Base(folder) + "/../../x.yaml", "bills.yaml"} {
		link(to, "bills.yaml")
		r.look()
		r.logged(1, "bills.yaml: is a symbolic link that is not followed")
		r.log.reset()
		if err := os.Remove(filepath.Join(folder, "bills.yaml")); err != nil {
			t.Fatal(err)
		}
		r.look()
		r.says("orders/eu", `orders.yaml {"size":2}`)
	}
}

func TestChangesOfSettingsAreToldToThoseTheyConcern(t *testing.T) {
	overEachPlace(t, []string{"folder", "path"}, func(t *testing.T, r *running, put func(map[string]string)) {
		_, a := r.settings("orders/eu")
		f := r.followAt("/config/orders/eu/events")
		f.begins()
		first := f.next()
		if !strings.HasSuffix(first, "\nevent: settings\ndata: {\"commit\":\""+a.Commit+"\"}") {
			t.Fatalf("it tells %s", first)
		}
		put(map[string]string{"orders.yaml": "size: 2\n"})
		_, b := r.settings("orders/eu")
		if second := f.next(); second == first || !strings.Contains(second, b.Commit) {
			t.Errorf("it tells %s", second)
		}
		put(map[string]string{"orders.yaml": "size: [\n"}) // the trouble is news, too
		if third := f.next(); !strings.Contains(third, b.Commit) {
			t.Errorf("it tells %s", third)
		}
	})
}

func TestSettingsOutliveARestartWithoutTheirPlaceAndADamagedCopyIsSaid(t *testing.T) {
	o := quiet(t)
	o.Settings = filled(t, map[string]string{"orders.yaml": "size: 1\n"})
	r := start(t, o)
	_, before := r.settings("orders/eu")
	if err := os.Remove(o.Settings); err != nil {
		t.Fatal(err)
	}
	r = r.again()
	r.says("orders/eu", `orders.yaml {"size":1}`)
	if _, a := r.settings("orders/eu"); a.Commit != before.Commit || !a.Since.Equal(before.Since) || a.Trouble == nil || a.Trouble.Kind != troubleFile {
		t.Errorf("it serves %+v, before %+v", a, before)
	}
	for _, path := range []string{pathGraph, "/events"} {
		if answer, _ := r.get(path); answer.StatusCode != http.StatusNotFound {
			t.Errorf("without a description %s is answered %d", path, answer.StatusCode)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(r.options.Data, settingsName), "{")
	r.options.Metrics = nil
	second := begin(t, r.options)
	if <-second.ended; second.err == nil || !strings.Contains(second.log.String(), "damaged") {
		t.Errorf("it ended with %v\n%s", second.err, second.log.String())
	}
}

func TestWhoAsksForSettingsByANameThatLeadsElsewhereGetsNothing(t *testing.T) {
	o := quiet(t)
	o.Settings, o.Secret = filled(t, map[string]string{"orders.yaml": "size: 1\n"}), strings.Repeat("s", 32)
	r := start(t, o)
	if answer, _ := r.get("/config/orders/eu"); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the secret it is answered %d", answer.StatusCode)
	}
	for _, path := range []string{
		"/config/", "/config/orders", "/config/orders/", "/config/application/eu", "/config/orders/%2e%2e", "/config/%2e%2e%2fetc/passwd",
		"/config/orders/eu/more", "/config/orders/eu/events/more", "/config/" + strings.Repeat("x", 65) + "/eu", "/config/-x/eu", "/config/orders/e%00u",
	} {
		if answer, body := r.get(path, "Authorization", "Bearer "+o.Secret); answer.StatusCode != http.StatusNotFound || !strings.Contains(body, "no service is called application") {
			t.Errorf("%s is answered %d %s", path, answer.StatusCode, body)
		}
	}
	for text, change := range map[string]func(*Options){
		"is required":                    func(o *Options) { o.Settings = "" },
		"not a path inside the reposito": func(o *Options) { o.Git, o.Settings = t.TempDir(), "../x" },
	} {
		wrong := quiet(t)
		wrong.Settings = o.Settings
		change(&wrong)
		if err := Run(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not say %s", err, text)
		}
	}
}
