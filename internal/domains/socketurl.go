package domains

import (
	"fmt"
	"net/url"
	"strings"
)

// SocketURL returns where the WebSocket of a domain is, of which a URL is in the
// description: ws or wss, with the path /ws where the URL has none.
func SocketURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%s is not the URL of a domain", quote(raw))
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return "", fmt.Errorf("%s is not the URL of a domain: it begins with ws://, wss://, http:// or https://", quote(raw))
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/ws"
	}
	return u.String(), nil
}
