package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDataFolderIsFoundInSettingsThatAreNotGood(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "s.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flag := []Flag{{Name: "--data", Key: "data", Value: "of-flag"}}
	for content, want := range map[string]string{
		"data: of-file\nlistne: 1\nlimits: {frame: much}\napps: [{appName: '!'}]\n": "of-file",
		"listen: 127.0.0.1:1\n": Defaults().Data,
		"":                      Defaults().Data,
		"daat: of-file\n":       "name the folder with --data",
		"data: [\n":             "name the folder with --data",
		"data: a\ndata: b\n":    "data:",
		"data: [a]\n":           "data:",
	} {
		path := write(content)
		got, err := Folder(Sources{File: path})
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: %s, want %s", content, got, want)
		}
		// Who names it needs no file.
		if got, err := Folder(Sources{File: path, Flags: flag}); got != "of-flag" || err != nil {
			t.Errorf("%q with --data: %s, %v", content, got, err)
		}
		if got, err := Folder(Sources{File: path, Environ: []string{"SWITCHBOARD_DATA=of-env", "SWITCHBOARD_NONSENSE=1"}}); got != "of-env" || err != nil {
			t.Errorf("%q with the variable: %s, %v", content, got, err)
		}
	}
	if _, err := Folder(Sources{File: "missing.yaml"}); err == nil {
		t.Error("a file that is not there names the default folder")
	}
}
