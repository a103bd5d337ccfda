package config

import "errors"

// MaxSecretName is the longest name of a secret.
const MaxSecretName = 128

// CheckSecretName checks the NAME of {secret: NAME}: a letter, then letters, digits,
// underscores, hyphens and dots. So it is the name of a variable, or of a file in the
// folder of secrets, and leads nowhere else.
func CheckSecretName(name string) error {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '_' && c != '-' && c != '.') {
			return errors.New("is not the name of a secret: write a letter, then letters, digits, _, - and dots")
		}
	}
	if name == "" || len(name) > MaxSecretName {
		return errors.New("is not the name of a secret: it must have 1 to 128 letters, digits, _, - and dots")
	}
	return nil
}
