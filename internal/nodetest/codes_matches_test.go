//go:build linux

package nodetest

import "testing"

// matchScenarios make the server send every frame about matches, and their errors.
func matchScenarios() []scenario {
	return []scenario{
		{"matches", []string{
			"client MATCH_REQUEST", "client MATCH_CANCEL", "client MATCH_LEAVE", "client MATCH_MESSAGE",
			"server MATCH_WAITING", "server MATCHED", "server MATCH_MESSAGE", "server MATCH_TIMEOUT", "server MATCH_CANCELED", "server MATCH_PEER_LEFT", "server MATCH_LEFT",
		}, everyFrameAboutMatches},
		{"no matches", []string{"GENERAL_ERROR MATCHING_OFF"}, func(t *testing.T, b *codeBook) {
			p := b.joined(startWith(t, demoApps+"matching: {enabled: false}\n"), "ANZ-1", "")
			b.send(p, `{"type":"MATCH_REQUEST","data":{"pool":"p"}}`)
			b.want(p, "GENERAL_ERROR MATCHING_OFF")
		}},
		{"a device that connects again", []string{"close 4009"}, func(t *testing.T, b *codeBook) {
			s := startWith(t, devicesOn)
			older := ConnectDevice(t, s, "a", 1, 1)
			ConnectDevice(t, s, "a", 1, 1)
			if code := older.CloseCode(); code != 4009 {
				t.Errorf("close code %d", code)
			}
			b.seen["close 4009"] = true
		}},
	}
}

func everyFrameAboutMatches(t *testing.T, b *codeBook) {
	s := Start(t)
	p, q := b.joined(s, "ANZ-1", ""), b.joined(s, "ANZ-2", "")
	b.send(p, `{"type":"MATCH_REQUEST","data":{"pool":"p","timeout":0.1}}`)
	b.want(p, "MATCH_WAITING")
	b.want(p, "MATCH_TIMEOUT")
	b.send(p, `{"type":"MATCH_REQUEST","data":{"pool":"p"}}`)
	ticket := b.want(p, "MATCH_WAITING").Field("ticket")
	b.send(p, `{"type":"MATCH_CANCEL","data":{"ticket":"`+ticket+`"}}`)
	b.want(p, "MATCH_CANCELED")
	for _, x := range []*Peer{p, q} {
		b.send(x, `{"type":"MATCH_REQUEST","data":{"pool":"p"}}`)
		b.want(x, "MATCH_WAITING")
	}
	match := b.want(p, "MATCHED").Field("match")
	b.want(q, "MATCHED")
	b.send(p, `{"type":"MATCH_MESSAGE","data":{"match":"`+match+`","content":1}}`)
	b.want(q, "MATCH_MESSAGE")
	b.send(p, `{"type":"MATCH_LEAVE","data":{"match":"`+match+`"}}`)
	b.want(p, "MATCH_LEFT")
	b.want(q, "MATCH_PEER_LEFT")
}
