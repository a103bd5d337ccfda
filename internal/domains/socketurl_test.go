package domains_test

import (
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

func TestWhereTheWebSocketOfADomainIs(t *testing.T) {
	for raw, want := range map[string]string{
		"wss://d1.example.org:8088":    "wss://d1.example.org:8088/ws",
		"ws://d1.example.org/":         "ws://d1.example.org/ws",
		"https://d1.example.org":       "wss://d1.example.org/ws",
		"http://[::1]:8088":            "ws://[::1]:8088/ws",
		"wss://example.org/switch/ws":  "wss://example.org/switch/ws",
		"wss://example.org/socket?x=1": "wss://example.org/socket?x=1",
		"tcp://d1.example.org:8088":    "",
		"d1.example.org":               "",
		"ws://":                        "",
	} {
		if got, err := domains.SocketURL(raw); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
	}
}
