package accounts

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of what people choose.
const (
	MinName        = 3 // of A-Z a-z 0-9 _ . -
	MaxName        = 20
	MinPassword    = 8 // characters
	MaxPassword    = 128
	MaxDisplayName = 64   // characters, in one line
	MaxBio         = 1000 // characters
	MaxAvatarURL   = 500  // bytes
)

// NameKey returns what a name is found by: names that differ in case only are one.
func NameKey(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A' // others have no part in names: the KELVIN SIGN is no k
		}
		return c
	}, name)
}

// CheckName says what is wrong with a name; nil for nothing.
func CheckName(name string) *Refusal {
	if len(name) < MinName || len(name) > MaxName {
		return invalid("username", "must have %d to %d characters", MinName, MaxName)
	}
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return invalid("username", "must consist of A-Z a-z 0-9 _ . -")
		}
	}
	return nil
}

// checkAccount says what is wrong with what an account is to be made of.
func checkAccount(username, password string) *Refusal {
	if refused := CheckName(username); refused != nil {
		return refused
	}
	return checkPassword("password", password)
}

// checkPassword says what is wrong with a password that is to be.
func checkPassword(field, password string) *Refusal {
	if n := utf8.RuneCountInString(password); n < MinPassword || n > MaxPassword || !utf8.ValidString(password) {
		return invalid(field, "must have %d to %d characters", MinPassword, MaxPassword)
	}
	return nil
}

// checkProfile says what is wrong with what somebody says of himself.
func checkProfile(p Profile) *Refusal {
	text := func(field, value string, most int, also string) *Refusal {
		bad := func(c rune) bool { return !unicode.IsPrint(c) && !strings.ContainsRune(also, c) }
		if utf8.RuneCountInString(value) > most || !utf8.ValidString(value) || strings.ContainsFunc(value, bad) {
			return invalid(field, "must be text of at most %d characters", most)
		}
		return nil
	}
	if refused := text("displayName", p.DisplayName, MaxDisplayName, ""); refused != nil {
		return refused
	}
	if refused := text("bio", p.Bio, MaxBio, "\n\t\u200d"); refused != nil {
		return refused
	}
	if p.AvatarURL == "" {
		return nil
	}
	u, err := url.Parse(p.AvatarURL)
	if err != nil || len(p.AvatarURL) > MaxAvatarURL || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.ContainsFunc(p.AvatarURL, unicode.IsSpace) {
		return invalid("avatarUrl", "must be a URL that begins with https:// or http://, of at most %d bytes", MaxAvatarURL)
	}
	return nil
}
