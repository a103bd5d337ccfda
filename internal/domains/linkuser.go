package domains

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	numberedPrefix = "domain-" // and digits: domain-02
	linkPrefix     = "link_"
)

var errNoName = errors.New("is required: give the domain a name of its own")

// LinkUser returns the user as which a domain signs in at its neighbours:
// domain2-1 for "domain-02", link_X-1 for any other name X. It fails for what
// cannot be the name of a domain.
func LinkUser(domain string) (wire.UserID, error) {
	if domain == "" {
		return "", errNoName
	}
	if len(domain) > MaxName {
		return "", fmt.Errorf("%s is too long: the name of a domain has at most %d characters", quote(domain), MaxName)
	}
	app := linkPrefix + domain
	if digits, ok := strings.CutPrefix(domain, numberedPrefix); ok && isDigits(digits) {
		number := strings.TrimLeft(digits, "0")
		if number == "" {
			number = "0"
		}
		app = "domain" + number
	}
	user, err := wire.ParseUserID(app + "-1")
	if err != nil {
		return "", fmt.Errorf("%s is not the name of a domain: use letters, digits and _, or domain- and digits, as in domain-02, or give it a linkUser", quote(domain))
	}
	return user, nil
}

// linkUser returns as whom a domain signs in whose entry may say so.
func linkUser(domain, given string) (wire.UserID, error) {
	if given == "" {
		return LinkUser(domain)
	}
	if domain == "" || len(domain) > MaxName {
		return LinkUser(domain) // which says what is wrong
	}
	if strings.Trim(domain, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") != "" {
		return "", fmt.Errorf("%s is not the name of a domain: letters, digits, _, - and . are allowed", quote(domain))
	}
	user, err := wire.ParseUserID(given)
	if err != nil {
		return "", fmt.Errorf("%s is not a user ID: write the name of an app that is nobody else's, a - and a number", quote(given))
	}
	return user, nil
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
