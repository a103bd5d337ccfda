package config

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// hiddenPart stands in a URL for what is not shown, so that it stays a URL.
const hiddenPart = "xxxxx"

// What is most likely called so in a URL's query is a secret.
var (
	secretWord   = regexp.MustCompile(`(?i)key|token|secret|pass|pwd|auth|credential|code|jwt|sig(nature)?$`)
	secretWordDB = regexp.MustCompile(`(?i)pass`) // its sslkey is a file
)

// said returns a URL that was refused in quotes, and "this" for one that may hold a secret.
func said(text string) string {
	if strings.ContainsAny(text, "@?") {
		return "this"
	}
	return strconv.Quote(text)
}

// redactedAll is redactedURL for URLs with commas between them.
func redactedAll(text string) string {
	list := splitList(text)
	for i, one := range list {
		list[i] = redactedURL(one)
	}
	return strings.Join(list, ",")
}

// redactedURL returns a URL without what may be a secret: passwords, names that stand
// without one, which are tokens, and what is called like a secret in a query. What is no
// URL, such as a file's name, stays.
func redactedURL(text string) string { return redactedOf(text, secretWord) }

// redactedDB is redactedURL for a database, where a name is no token.
func redactedDB(text string) string { return redactedOf(text, secretWordDB) }

func redactedOf(text string, secret *regexp.Regexp) string {
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "" // it was refused, or is a default of ours
	}
	pairs, hides := strings.Split(u.RawQuery, "&"), u.User != nil
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); value != "" && (err != nil || secret.MatchString(plain)) {
			pairs[i], hides = name+"="+hiddenPart, true
		}
	}
	if !hides {
		return text
	}
	if _, both := u.User.Password(); u.User != nil && !both && secret != secretWordDB {
		u.User = url.User(hiddenPart)
	}
	u.RawQuery = strings.Join(pairs, "&")
	return u.Redacted()
}
