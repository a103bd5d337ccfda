package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvSecrets is the environment variable that names the folder of secrets: a file for
// each, called as the secret is.
const EnvSecrets = envPrefix + "SECRETS"

// MaxSecretName is the longest name of a secret.
const MaxSecretName = 128

// maxSecret is how large a secret may be, in bytes.
const maxSecret = 64 << 10

// CheckSecretName checks the NAME of {secret: NAME}: a letter, then letters, digits,
// underscores, hyphens and dots. So it is the name of a variable, or of a file in the
// folder of secrets, and leads nowhere else.
func CheckSecretName(name string) error {
	good := name != "" && len(name) <= MaxSecretName
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		good = good && (letter || i > 0 && (c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'))
	}
	if !good {
		return fmt.Errorf("is not the name of a secret: write a letter, then letters, digits, _, - and dots, at most %d", MaxSecretName)
	}
	return nil
}

// secretSource is where secrets are that settings name.
type secretSource struct {
	environ []string
	skip    bool // they are not looked for: what they stand for counts as absent
}

// variable returns what a variable holds.
func (s secretSource) variable(name string) string {
	for _, entry := range s.environ {
		if text, ok := strings.CutPrefix(entry, name+"="); ok {
			return text
		}
	}
	return ""
}

// find returns a secret: what the variable of its name holds, or else the file in the
// folder of secrets, without white space at its end. What is wrong is said without it.
func (s secretSource) find(name string) (string, error) {
	if err := CheckSecretName(name); err != nil {
		return "", err
	}
	if strings.HasPrefix(name, envPrefix) {
		return "", fmt.Errorf("names %s as a secret: a variable that begins with %s is a setting; call the secret otherwise", name, envPrefix)
	}
	if text := s.variable(name); text != "" {
		return text, nil
	}
	folder := s.variable(EnvSecrets)
	if folder == "" {
		return "", fmt.Errorf("there is no secret %s: set the variable %s, or have %s name a folder with a file %s", name, name, EnvSecrets, name)
	}
	text, err := readSecret(folder, name)
	if err != nil {
		return "", fmt.Errorf("there is no secret %s: the variable %s is not set, and in the folder %s (%s) it cannot be read: %w", name, name, folder, EnvSecrets, err)
	}
	return text, nil
}

// readSecret reads a file of the folder of secrets, and nothing outside of it.
func readSecret(folder, name string) (string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", bare(err)
	}
	defer root.Close() // nothing was written
	// To open what is no file, a pipe for one, could take for ever.
	if info, err := root.Stat(name); err != nil {
		return "", bare(err)
	} else if !info.Mode().IsRegular() {
		return "", errors.New("it is not a file")
	}
	f, err := root.Open(name)
	if err != nil {
		return "", bare(err)
	}
	defer f.Close() // likewise
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	text := strings.TrimRight(string(content), " \t\r\n")
	switch {
	case err != nil:
		return "", bare(err)
	case len(content) > maxSecret:
		return "", fmt.Errorf("it is larger than %d KiB", maxSecret>>10)
	case text == "":
		return "", errors.New("it is empty")
	}
	return text, nil
}

// bare returns what is wrong without the path, which the sentence names already.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// secretNamed returns the NAME of {secret: NAME}.
func secretNamed(n *yaml.Node) (name string, is bool) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || resolve(n.Content[0]).Value != "secret" {
		return "", false
	}
	of := resolve(n.Content[1])
	return of.Value, of.Kind == yaml.ScalarNode && !isNull(of)
}

// maySecret says whether a value may be read from a secret: not one that names something,
// and so has to be seen.
func maySecret(key string) bool {
	name := allIndexes.ReplaceAllString(key, "[]")
	if slices.Contains([]string{"apps[].appId", "apps[].jwt.issuer", "apps[].jwt.audience", "chat.appId", "nats.user"}, name) {
		return true
	}
	i := slices.IndexFunc(Keys(), func(k Key) bool { return k.Name == name })
	return i >= 0 && slices.Contains([]string{kindSecret, kindSecrets, kindURL, kindKey, kindDB, kindNATS}, Keys()[i].Kind)
}

// secret returns what {secret: NAME} stands for, and notes that it is not to be shown.
func (r *fileReader) secret(key, name string, n *yaml.Node) (string, bool) {
	switch {
	case !maySecret(key):
		r.refuse(r.at(n), key, "cannot be a secret: only secrets, keys, URLs and what tells tokens apart can")
		return "", false
	case r.secretsFrom.skip:
		if err := CheckSecretName(name); err != nil {
			r.refuse(r.at(n), key, "%s", err)
		}
		return "", false
	}
	text, err := r.secretsFrom.find(name)
	if err != nil {
		r.refuse(r.at(n), key, "%s", err)
		return "", false
	}
	r.hidden[key] = true
	return text, true
}

// hiddenProblem is what is said of a value that is not to be shown.
const hiddenProblem = "what the secret holds is not good here; it is not shown"
