package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiffTellsWhatTakesEffectAtOnceFromWhatTakesARestart(t *testing.T) {
	old, changed := Defaults(), Defaults()
	if got := Diff(old, changed); len(got.Live)+len(got.Restart) > 0 {
		t.Errorf("no change: got %+v", got)
	}
	changed.Listen, changed.Log = "127.0.0.1:1", Log{Level: "debug", Format: "json"}
	changed.Apps = []App{{Name: "SHOP", ID: "x"}}
	changed.Limits.Frame, changed.Origins = KiB, []string{"https://a.example"}
	got := Diff(old, changed)
	if want := []string{"apps", "origins", "limits.frame", "log.level"}; !slices.Equal(got.Live, want) {
		t.Errorf("live: got %v, want %v", got.Live, want)
	}
	if want := []string{"listen", "log.format"}; !slices.Equal(got.Restart, want) {
		t.Errorf("restart: got %v, want %v", got.Restart, want)
	}
}

func TestDiffSeesAChangedSecret(t *testing.T) {
	with := func(secret Secret) Settings {
		s := Defaults()
		s.Apps = []App{{Name: "SHOP", ID: "x", AuthEnabled: true, JWT: &JWT{Secret: secret}}}
		return s
	}
	if got := Diff(with("a"), with("b")); !slices.Equal(got.Live, []string{"apps"}) {
		t.Errorf("got %+v", got)
	}
}

func TestAdoptTakesOnlyWhatMayChangeAtRunTime(t *testing.T) {
	running, wanted := Defaults(), Defaults()
	wanted.Listen, wanted.Data = "127.0.0.1:1", "/elsewhere"
	wanted.Limits.PingInterval, wanted.Log.Level = time.Second, "debug"
	wanted.Origins = []string{"https://a.example", "https://b.example"}
	got, err := Adopt(running, wanted)
	if err != nil {
		t.Fatal(err)
	}
	if left := Diff(got, wanted); len(left.Live) > 0 || !slices.Equal(left.Restart, []string{"listen", "data"}) {
		t.Errorf("still differs: %+v", left)
	}
	if got.Listen != running.Listen {
		t.Errorf("listen: got %s", got.Listen)
	}
}

func TestAppsAreNotTakenAwayFromAProcessThatOthersCanReach(t *testing.T) {
	running := load(t, Sources{File: write(t, oneApp+"listen: 0.0.0.0:8088\n")})
	_, err := Adopt(running, Defaults())
	if err == nil || !strings.HasPrefix(err.Error(), "listen: other machines can reach 0.0.0.0:8088") {
		t.Errorf("got %v", err)
	}
}

func TestCheckFindsWhatIsWrongWithSettingsMadeByHand(t *testing.T) {
	s := Defaults()
	s.Limits.Frame, s.Log.Level, s.Apps, s.Chat.Enabled = 0, "loud", nil, false
	err := s.Check()
	want := "limits.frame: 0 is too little: the least is 1KiB\n" +
		`log.level: "loud" is none of debug, info, warn, error` + "\napps: must name at least one app, unless chat.enabled is true"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
