package wire

import (
	"errors"
	"strings"
)

// MaxAppName is the longest name that an app may have, in bytes.
const MaxAppName = 64

// maxDigits is the number of digits of the largest int64.
const maxDigits = 19

// UserID is the one address of a person, a device or a service: the name of its
// app, one '-', and a number, for example "ANZ-123223".
//
// The name has 1 to [MaxAppName] ASCII letters, digits and '_'. The number is
// decimal, without sign and leading zeros, at most 9223372036854775807. So a
// user has one spelling, and user IDs may be compared as strings. A UserID that
// did not come from [ParseUserID] or [CheckUserID] may break these rules.
type UserID string

// Why a user ID is refused. The texts are meant for whoever sent it.
var (
	errUserEmpty  = errors.New("a user ID is appName-number, this one is empty")
	errUserDash   = errors.New("a user ID is appName-number, with exactly one '-'")
	errUserApp    = errors.New("the app's name in a user ID has 1 to 64 letters, digits and '_'")
	errUserNone   = errors.New("a user ID is appName-number, the number is missing")
	errUserNumber = errors.New("the number in a user ID has decimal digits only, without sign and leading zeros")
	errUserRange  = errors.New("the number in a user ID is at most 9223372036854775807")
)

// ParseUserID returns s as a user ID, or an error that says which rule it
// breaks.
func ParseUserID[T ~string | ~[]byte](s T) (UserID, error) {
	if err := checkUserID(s); err != nil {
		return "", err
	}
	return UserID(s), nil
}

// CheckUserID does what ParseUserID does, without making a string.
func CheckUserID(b []byte) error { return checkUserID(b) }

// App returns the name of the user's app: what stands before the '-'.
func (u UserID) App() string {
	app, _, _ := strings.Cut(string(u), "-")
	return app
}

// Number returns the user's number: what stands after the '-'. It returns 0 for
// a user ID that breaks the rules.
func (u UserID) Number() int64 {
	if checkUserID(u) != nil {
		return 0
	}
	var n int64
	for i := strings.IndexByte(string(u), '-') + 1; i < len(u); i++ {
		n = n*10 + int64(u[i]-'0')
	}
	return n
}

func checkUserID[T ~string | ~[]byte](s T) error {
	if len(s) == 0 {
		return errUserEmpty
	}
	dash := 0
	for dash < len(s) && isNameByte(s[dash]) {
		dash++
	}
	if dash == len(s) {
		return errUserDash
	}
	if s[dash] != '-' || dash == 0 || dash > MaxAppName {
		return errUserApp
	}
	if dash+1 == len(s) {
		return errUserNone
	}
	return checkNumber(s[dash+1:])
}

func checkNumber[T ~string | ~[]byte](s T) error {
	if s[0] == '0' && len(s) > 1 {
		return errUserNumber
	}
	for i := range len(s) {
		switch {
		case s[i] == '-':
			return errUserDash
		case s[i] < '0' || s[i] > '9':
			return errUserNumber
		}
	}
	if len(s) > maxDigits || (len(s) == maxDigits && string(s) > "9223372036854775807") {
		return errUserRange
	}
	return nil
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}
