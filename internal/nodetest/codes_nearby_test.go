//go:build linux

package nodetest

import "testing"

// nearbyScenarios make the server send every frame about positions, and their error.
func nearbyScenarios() []scenario {
	return []scenario{
		{"positions", []string{
			"client POSITION", "client POSITION_HIDE", "client NEARBY_WATCH", "client NEARBY_UNWATCH",
			"server POSITION_HIDDEN", "server NEARBY", "server NEARBY_ENTER", "server NEARBY_MOVE", "server NEARBY_LEAVE",
		}, everyFrameAboutPositions},
		{"no positions", []string{"GENERAL_ERROR NEARBY_OFF"}, func(t *testing.T, b *codeBook) {
			p := b.joined(startWith(t, demoApps+"nearby: {enabled: false}\n"), "ANZ-1", "")
			b.send(p, `{"type":"POSITION","data":{"lat":1,"lon":2}}`)
			b.want(p, "GENERAL_ERROR NEARBY_OFF")
		}},
	}
}

func everyFrameAboutPositions(t *testing.T, b *codeBook) {
	s := Start(t)
	p, q := b.joined(s, "ANZ-1", ""), b.joined(s, "ANZ-2", "")
	b.send(p, `{"type":"NEARBY_WATCH","data":{"id":"m","lat":1,"lon":2,"radius":100}}`)
	b.want(p, "NEARBY")
	b.send(q, `{"type":"POSITION","data":{"lat":1,"lon":2}}`)
	b.want(p, "NEARBY_ENTER")
	b.send(q, `{"type":"POSITION","data":{"lat":1.0001,"lon":2}}`)
	b.want(p, "NEARBY_MOVE")
	b.send(q, `{"type":"POSITION_HIDE"}`)
	b.want(q, "POSITION_HIDDEN")
	b.want(p, "NEARBY_LEAVE")
	b.send(p, `{"type":"NEARBY_UNWATCH","data":{"id":"m"}}`)
	b.send(p, `{"type":"NEARBY_UNWATCH","data":{"id":"m"}}`)
	b.want(p, "GENERAL_ERROR NOT_FOUND")
}
