package api

import (
	"context"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/settings"
)

// Settings knows which settings are in force: *settings.Book.
type Settings interface {
	State() settings.State
}

func (r Rooms) settingsCalls() []Call {
	return []Call{{Method: "GET", Path: "/v1/settings", Scope: keys.StatsRead, Here: true, Handler: Handle(r.getSettings)}}
}

type getSettingsRequest struct{}

// settingsAnswer is the settings of a node as the interface shows them.
type settingsAnswer struct {
	Source   *settingsSource   `json:"source,omitzero"` // nil: no meta server has any
	Pending  []pendingSetting  `json:"pending"`
	Troubles []settingsTrouble `json:"troubles"`
	Settings []oneSetting      `json:"settings"`
}

type settingsSource struct {
	URL       string   `json:"url"`
	Profile   string   `json:"profile"`
	Commit    string   `json:"commit"`
	Files     []string `json:"files"`
	Since     Time     `json:"since,omitzero"`
	Confirmed Time     `json:"confirmed,omitzero"`
	Following bool     `json:"following"`
}

type pendingSetting struct {
	Key   string `json:"key"`
	Value string `json:"value,omitzero"`
}

type settingsTrouble struct {
	Kind   string   `json:"kind"`
	Since  Time     `json:"since"`
	Commit string   `json:"commit,omitzero"`
	Text   []string `json:"text"`
}

type oneSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
	Place string `json:"place,omitzero"`
	Live  bool   `json:"live"`
}

// getSettings shows the settings of this node. They say how everybody's traffic is
// handled, so they are for admin keys.
func (r Rooms) getSettings(_ context.Context, who Identity, _ getSettingsRequest) (settingsAnswer, error) {
	if !who.Admin {
		return settingsAnswer{}, Forbidden("the settings are shown to admin keys only, this key is of app %s", who.App)
	}
	s := r.Settings.State()
	a := settingsAnswer{Pending: []pendingSetting{}, Troubles: []settingsTrouble{}, Settings: make([]oneSetting, len(s.Settings))}
	if s.URL != "" {
		a.Source = &settingsSource{URL: s.URL, Profile: s.Profile, Commit: s.Commit, Files: append([]string{}, s.Files...), Since: Time(s.Since), Confirmed: Time(s.Confirmed), Following: s.Following}
	}
	for _, p := range s.Pending {
		a.Pending = append(a.Pending, pendingSetting(p))
	}
	for _, t := range s.Troubles {
		a.Troubles = append(a.Troubles, settingsTrouble{Kind: t.Kind, Since: Time(t.Since), Commit: t.Commit, Text: t.Text})
	}
	for i, one := range s.Settings {
		a.Settings[i] = oneSetting{Key: one.Key, Value: one.Value, From: one.Place.Source(), Place: one.Place.String(), Live: one.Live}
	}
	return a, nil
}
