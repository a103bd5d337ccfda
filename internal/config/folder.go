package config

import (
	"fmt"
	"os"
)

// Folder returns the data folder that the sources name. Nothing else of them is
// looked at: whoever has to revoke a key at once is not to be stopped by what is
// wrong elsewhere. What is wrong with the folder comes back as [Problems]. A file
// that is wrong and names no folder is an error, too: the default would be
// another node's.
func Folder(from Sources) (string, error) {
	for _, l := range []layer{readFlags(from.Flags), readEnviron(from.Environ)} {
		if folder, found, err := l.folder(); found || err != nil {
			return folder, err
		}
	}
	path := from.Path()
	if path == "" {
		return Defaults().Data, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", readError(path, err)
	}
	l := readFile(path, content, secretSource{skip: true})
	folder, found, err := l.folder()
	switch {
	case found || err != nil:
		return folder, err
	case len(l.problems) > 0:
		first := l.problems.orNil().(Problems)[0]
		return "", fmt.Errorf("which data folder is meant is not clear: %s; put it right, or name the folder with --data", first.Error())
	}
	return Defaults().Data, nil
}

// folder returns the data folder that a source names.
func (l *layer) folder() (folder string, found bool, err error) {
	const key = "data"
	var wrong Problems
	for _, p := range l.problems {
		if p.Key == key {
			wrong = append(wrong, p)
		}
	}
	folder, found = l.values[key].(string)
	return folder, found && len(wrong) == 0, wrong.orNil()
}
