package config

import (
	"errors"
	"testing"
)

// FuzzFile checks that no file brings the reader down, that whatever is wrong is
// said with the file's name, and that what is accepted prints as a file that
// is accepted again.
func FuzzFile(f *testing.F) {
	f.Add(Template())
	f.Add([]byte("listen: &a 127.0.0.1:1\nadmin: *a\n"))
	f.Add([]byte("apps: &a [{appName: A, appId: b, authEnabled: false, allowApps: *a}]"))
	f.Add([]byte("limits: {frame: 0x10, ? [a] : b}\n---\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		placed, err := compose([]layer{readFile("f.yaml", content, secretSource{})}, false)
		s := placed.Settings
		var ps Problems
		switch {
		case errors.As(err, &ps):
			for _, p := range ps {
				if p.Place.File != "f.yaml" {
					t.Errorf("a problem without its file: %v", p)
				}
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		if err := s.Check(); err != nil {
			t.Fatalf("accepted, but: %v", err)
		}
		for _, a := range s.Apps {
			if a.JWT != nil && a.JWT.Secret != "" {
				return // printed masked: does not load again as it was
			}
		}
		again := readFile("again", s.YAML(), secretSource{})
		if len(again.problems) > 0 {
			t.Fatalf("what is printed is not accepted: %v\n%s", again.problems, s.YAML())
		}
	})
}
