package config

import (
	"path/filepath"
	"testing"
)

func TestTheRelayThatIsShownIsNamedByItsNetworkServer(t *testing.T) {
	for _, text := range []string{"127.0.0.1:9200", "relay.example:9200", "http://relay.example", "https://relay.example:9200/below"} {
		if got := load(t, Sources{File: write(t, "relay: {network: '"+text+"'}\n")}).Relay.Network; got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"relay.example":        "is not host:port, as in 127.0.0.1:9200, nor a URL of a network server",
		":9200":                "is not host:port, as in 127.0.0.1:9200, nor a URL of a network server",
		"ftp://relay.example":  "is not a URL such as https://relay.example:9200, nor host:port",
		"https://a:b@relay.ex": "must not carry a user name, a query or a fragment: what the network server asks for goes into relay.secretFile",
	} {
		expect(t, problems(t, Sources{File: write(t, "relay: {network: '"+text+"'}\n")}), "s.yaml:1: relay.network: "+want)
	}
}

func TestFilesForARelayHaveToBeThereAndAreForOne(t *testing.T) {
	expect(t, problems(t, Sources{File: write(t, "relay: {secretFile: s}\n")}),
		"s.yaml:1: relay.network: is required: without it no relay is shown, and relay.secretFile means nothing")
	missing := filepath.Join(t.TempDir(), "missing")
	expect(t, problems(t, Sources{File: write(t, "relay: {network: 'h:1', ca: "+missing+"}\n")}),
		"s.yaml:1: relay.ca: stat "+missing+": no such file or directory")
}
