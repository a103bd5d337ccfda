package meta

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// shared is the name of the file that all services have.
const shared = "application"

// maxAnswers is how many answers are kept ready. Those of further services are made
// anew each time.
const maxAnswers = 1000

// settings are the files of settings that are served. They are a subject.
type settings struct {
	lastGood *lastGood
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics

	mu      sync.Mutex
	view    *settingsView // nil before there were good settings
	changed chan struct{} // closed with the next view
}

// newSettings takes the last good copy, if there is one.
func newSettings(last *lastGood, log *slog.Logger, now func() time.Time, m *metrics) *settings {
	s := &settings{lastGood: last, log: log, now: now, metrics: m, changed: make(chan struct{})}
	text, err := last.read()
	var c settingsCopy
	if err == nil && text != nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil && text != nil {
		var v *settingsView
		if v, err = newSettingsView(c.content(), c.Since); err == nil {
			s.put(v)
		}
	}
	if err != nil {
		log.Warn("the last good copy of the settings is passed over", "err", err)
	}
	return s
}

// settingsCopy is what is kept of settings.
type settingsCopy struct {
	Commit string            `json:"commit"`
	Place  string            `json:"place"`
	Since  time.Time         `json:"since"`
	Files  map[string]string `json:"files"`
}

func (c settingsCopy) content() content {
	found := content{commit: c.Commit, place: c.Place, files: map[string][]byte{}}
	for name, text := range c.Files {
		found.files[name] = []byte(text)
	}
	return found
}

// current returns what is served, and what will be closed when that changes.
func (s *settings) current() (*settingsView, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, s.changed
}

func (s *settings) put(v *settingsView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = v
	close(s.changed)
	s.changed = make(chan struct{})
	s.metrics.files.Set(float64(len(v.trees)))
	v.ready = s.metrics.answers
	v.ready.Set(0)
}

func (s *settings) serves() bool {
	v, _ := s.current()
	return v != nil
}

// troubled has answers say why they are not newer.
func (s *settings) troubled(t *standing) {
	v, _ := s.current()
	if v == nil || v.trouble == nil && t == nil {
		return
	}
	s.put(v.with(t))
}

func (s *settings) words() *words {
	return &words{
		over:    "the trouble with the settings is over",
		unread:  "the settings cannot be read: the last good ones stay",
		unkept:  "the new settings cannot be kept, so they do not take effect: the last good ones stay",
		refused: "the settings are refused: the last good ones stay",
		more:    "the settings have more problems: switchboard meta check names them",
		again:   "the settings can be read again, and are those that were refused: the last good ones stay",
	}
}

// take checks files and has them served.
func (s *settings) take(found content) error {
	if before, _ := s.current(); before != nil && before.commit == found.commit {
		return nil
	}
	v, err := newSettingsView(found, s.now())
	if err != nil {
		return err
	}
	c := settingsCopy{Commit: found.commit, Place: found.place, Since: v.since, Files: map[string]string{}}
	for name, text := range found.files {
		c.Files[name] = string(text)
	}
	text, err := plainJSON(c)
	if err == nil {
		err = s.lastGood.save(text) // first, as with descriptions
	}
	if err != nil {
		return &trouble{troubleDisk, err}
	}
	s.put(v)
	s.metrics.settingsChanges.Inc()
	s.log.Info("new settings are in effect", "place", found.place, "files", len(found.files))
	return nil
}

// settingsView is the settings of one commit as they are served. But for the answers it is
// never changed.
type settingsView struct {
	commit, place string
	since         time.Time
	trees         map[string]*value // by the name of the file, without its end
	trouble       *standing         // why there is nothing newer; nil: nothing newer is known

	ready prometheus.Gauge // counts answers

	mu      sync.Mutex
	answers map[[2]string]answer // by service and profile
}

// newSettingsView checks files. What is wrong is a *Bad.
func newSettingsView(found content, since time.Time) (*settingsView, error) {
	v := &settingsView{commit: found.commit, place: found.place, since: since, trees: map[string]*value{}, answers: map[[2]string]answer{}}
	problems := slices.Clone(found.problems)
	for _, name := range slices.Sorted(maps.Keys(found.files)) {
		tree, wrong := readTree(name, found.files[name])
		problems = append(problems, wrong...)
		v.trees[strings.TrimSuffix(name, yamlExt)] = tree
	}
	if len(problems) > 0 {
		return nil, &Bad{found.place, problems}
	}
	return v, nil
}

// with returns the same settings with another trouble.
func (v *settingsView) with(t *standing) *settingsView {
	return &settingsView{commit: v.commit, place: v.place, since: v.since, trees: v.trees, trouble: t, answers: map[[2]string]answer{}}
}

// files returns the files that a service has with a profile, the later over the earlier.
func (v *settingsView) files(service, profile string) []string {
	var names []string
	for _, name := range []string{shared, service, service + "-" + profile} {
		if v.trees[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// configAnswer is what is said to a service.
type configAnswer struct {
	Service  string            `json:"service"`
	Profile  string            `json:"profile"`
	Commit   string            `json:"commit"`
	Since    time.Time         `json:"since"`
	Files    []string          `json:"files"`
	Settings json.RawMessage   `json:"settings"`
	Places   map[string]string `json:"places"`
	Trouble  *standing         `json:"trouble,omitempty"`
}

// answer returns what a service is told.
func (v *settingsView) answer(service, profile string) (answer, error) {
	key := [2]string{service, profile}
	v.mu.Lock()
	a, known := v.answers[key]
	v.mu.Unlock()
	if known {
		return a, nil
	}
	tree := &value{fields: map[string]*value{}}
	of := configAnswer{Service: service, Profile: profile, Commit: v.commit, Since: v.since.UTC(), Files: []string{}, Places: map[string]string{}, Trouble: v.trouble}
	for _, name := range v.files(service, profile) {
		tree = over(tree, v.trees[name])
		of.Files = append(of.Files, name+yamlExt)
	}
	of.Settings = tree.appendJSON(nil, "", of.Places)
	body, err := plainJSON(of)
	if err != nil {
		return answer{}, fmt.Errorf("write the settings of %s as JSON: %w", service, err)
	}
	sum := sha256.Sum256(body)
	a = answer{body, `"` + hex.EncodeToString(sum[:16]) + `"`}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.answers) < maxAnswers {
		v.answers[key] = a
		v.ready.Set(float64(len(v.answers)))
	}
	return a, nil
}

// CheckSettings checks a folder of settings: its files, and whether what stands there for
// nodes of Switchboard are settings that they know. files says how many there are. An
// error is a *Bad when the folder could be read.
func CheckSettings(path string) (files int, err error) {
	found, err := readFolder(path)
	if err != nil {
		return 0, err
	}
	v, err := newSettingsView(found, time.Time{})
	if err != nil {
		return 0, err
	}
	problems := v.checkNodes()
	if len(problems) > 0 {
		return 0, &Bad{path, problems}
	}
	return len(v.trees), nil
}

// nodes is what nodes of Switchboard are called here.
const nodes = "switchboard"

// checkNodes checks each file of the settings that nodes get, alone and without secrets.
func (v *settingsView) checkNodes() config.Problems {
	var problems config.Problems
	for _, name := range slices.Sorted(maps.Keys(v.trees)) {
		if name != shared && name != nodes && !strings.HasPrefix(name, nodes+"-") {
			continue
		}
		places := map[string]string{}
		text := v.trees[name].appendJSON(nil, "", places)
		problems = append(problems, config.CheckRepository(config.Repository{Settings: text, Places: places})...)
	}
	return problems
}
