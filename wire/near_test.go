package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// nearbyAsk parses a frame about positions.
func nearbyAsk(t *testing.T, typ wire.Type, data string) (wire.NearbyAsk, *wire.Error) {
	t.Helper()
	f, err := wire.ParseFrame([]byte(`{"type":"` + typ.String() + `","data":` + data + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return wire.ParseNearby(&f)
}

func TestFramesAboutPositionsSayWhatTheyAskFor(t *testing.T) {
	number := func(n float64) *float64 { return &n }
	at := time.UnixMilli(1_795_687_200_123).UTC()
	for _, c := range []struct {
		typ  wire.Type
		data string
		want wire.NearbyAsk
	}{
		{wire.TypePosition, `{"lat":-90,"lon":180}`, wire.NearbyAsk{Position: wire.Position{Lat: -90, Lon: 180}}},
		{wire.TypePosition, `{"lat":1e1,"lon":-0.5,"accuracy":0,"heading":359.5,"speed":2,"at":null}`, wire.NearbyAsk{Position: wire.Position{Lat: 10, Lon: -0.5, Accuracy: number(0), Heading: number(359.5), Speed: number(2)}}},
		{wire.TypePosition, `{"lat":1,"lon":2,"heading":360,"at":"2026-11-26T12:00:00.123+02:00"}`, wire.NearbyAsk{Position: wire.Position{Lat: 1, Lon: 2, Heading: number(0), At: at}}},
		{wire.TypePosition, `{"lat":1,"lon":2,"at":1795687200123,"more":[1]}`, wire.NearbyAsk{Position: wire.Position{Lat: 1, Lon: 2, At: at}}},
		{wire.TypePositionHide, `{}`, wire.NearbyAsk{}},
		{wire.TypeNearbyWatch, `{"id":"m","lat":1,"lon":2,"radius":500000,"bbox":null}`, wire.NearbyAsk{Watch: "m", Area: wire.Area{Lat: 1, Lon: 2, Radius: 500000}}},
		{wire.TypeNearbyWatch, `{"bbox":[170,-90,-170.5,-90],"id":"\u006d"}`, wire.NearbyAsk{Watch: "m", Area: wire.Area{Box: true, West: 170, South: -90, East: -170.5, North: -90}}},
		{wire.TypeNearbyUnwatch, `{"id":"m"}`, wire.NearbyAsk{Watch: "m"}},
	} {
		c.want.Type = c.typ
		got, err := nearbyAsk(t, c.typ, c.data)
		got.Position.At = got.Position.At.UTC()
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(c.want)
		if err != nil || string(a) != string(b) {
			t.Errorf("%s %s:\ngot  %s %v\nwant %s", c.typ, c.data, a, err, b)
		}
	}
	if f, err := wire.ParseFrame([]byte(`{"type":"POSITION_HIDE"}`)); err != nil {
		t.Error(err)
	} else if _, err := wire.ParseNearby(&f); err != nil {
		t.Errorf("a POSITION_HIDE without data: %v", err)
	}
}

func TestWhatIsWrongWithAFrameAboutPositionsIsNamed(t *testing.T) {
	long := strings.Repeat("x", wire.MaxWatchID+1)
	for _, c := range []struct {
		typ         wire.Type
		data        string
		code, field string
	}{
		{wire.TypePosition, `null`, wire.CodeMissingField, "data"},
		{wire.TypePosition, `{"lon":1}`, wire.CodeMissingField, "data.lat"},
		{wire.TypePosition, `{"lat":1}`, wire.CodeMissingField, "data.lon"},
		{wire.TypePosition, `{"lat":null,"lon":1}`, wire.CodeMissingField, "data.lat"},
		{wire.TypePosition, `{"lat":"1","lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypePosition, `{"lat":"NaN","lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypePosition, `{"lat":90.0001,"lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypePosition, `{"lat":1e999,"lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypePosition, `{"lat":1,"lon":-1e999}`, wire.CodeBadField, "data.lon"},
		{wire.TypePosition, `{"lat":1,"lon":180.1}`, wire.CodeBadField, "data.lon"},
		{wire.TypePosition, `{"lat":1,"lat":1,"lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypePosition, `{"lat":1,"lon":1,"accuracy":-1}`, wire.CodeBadField, "data.accuracy"},
		{wire.TypePosition, `{"lat":1,"lon":1,"accuracy":1e9}`, wire.CodeBadField, "data.accuracy"},
		{wire.TypePosition, `{"lat":1,"lon":1,"heading":361}`, wire.CodeBadField, "data.heading"},
		{wire.TypePosition, `{"lat":1,"lon":1,"heading":-0.1}`, wire.CodeBadField, "data.heading"},
		{wire.TypePosition, `{"lat":1,"lon":1,"speed":true}`, wire.CodeBadField, "data.speed"},
		{wire.TypePosition, `{"lat":1,"lon":1,"speed":100001}`, wire.CodeBadField, "data.speed"},
		{wire.TypePosition, `{"lat":1,"lon":1,"at":"yesterday"}`, wire.CodeBadField, "data.at"},
		{wire.TypePosition, `{"lat":1,"lon":1,"at":-1}`, wire.CodeBadField, "data.at"},
		{wire.TypePosition, `{"lat":1,"lon":1,"at":1e300}`, wire.CodeBadField, "data.at"},
		{wire.TypePosition, `{"lat":1,"lon":1,"at":"0001-01-01T00:00:00Z"}`, wire.CodeBadField, "data.at"},
		{wire.TypePosition, `{"lat":1,"lon":1,"at":"1969-12-31T23:59:59Z"}`, wire.CodeBadField, "data.at"},
		{wire.TypePosition, `{"lat":1,"lon":1,"at":{}}`, wire.CodeBadField, "data.at"},
		{wire.TypeNearbyWatch, `null`, wire.CodeMissingField, "data"},
		{wire.TypeNearbyWatch, `{"lat":1,"lon":1,"radius":1}`, wire.CodeMissingField, "data.id"},
		{wire.TypeNearbyWatch, `{"id":"","lat":1,"lon":1,"radius":1}`, wire.CodeBadField, "data.id"},
		{wire.TypeNearbyWatch, `{"id":7,"lat":1,"lon":1,"radius":1}`, wire.CodeBadField, "data.id"},
		{wire.TypeNearbyWatch, `{"id":"` + long + `","lat":1,"lon":1,"radius":1}`, wire.CodeBadField, "data.id"},
		{wire.TypeNearbyWatch, `{"id":"m"}`, wire.CodeMissingField, "data.lat"},
		{wire.TypeNearbyWatch, `{"id":"m","lat":1,"lon":1}`, wire.CodeMissingField, "data.radius"},
		{wire.TypeNearbyWatch, `{"id":"m","lat":1,"lon":1,"radius":0}`, wire.CodeBadField, "data.radius"},
		{wire.TypeNearbyWatch, `{"id":"m","lat":1,"lon":1,"radius":-5}`, wire.CodeBadField, "data.radius"},
		{wire.TypeNearbyWatch, `{"id":"m","lat":1,"lon":1,"radius":500000.1}`, wire.CodeBadField, "data.radius"},
		{wire.TypeNearbyWatch, `{"id":"m","lat":91,"lon":1,"radius":5}`, wire.CodeBadField, "data.lat"},
		{wire.TypeNearbyWatch, `{"id":"m","lat":1,"lon":181,"radius":5}`, wire.CodeBadField, "data.lon"},
		{wire.TypeNearbyWatch, `{"id":"m","lat":1,"bbox":[1,2,3,4]}`, wire.CodeBadField, "data.lat"},
		{wire.TypeNearbyWatch, `{"id":"m","radius":1,"bbox":[1,2,3,4]}`, wire.CodeBadField, "data.radius"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":{"w":1}}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[1,2,3]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[1,2,3,4,5]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[1,2,3,null]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[1,4,3,2]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[1,2,3,90.5]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[-180.5,2,3,4]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyWatch, `{"id":"m","bbox":[1,2,1e999,4]}`, wire.CodeBadField, "data.bbox"},
		{wire.TypeNearbyUnwatch, `null`, wire.CodeMissingField, "data"},
		{wire.TypeNearbyUnwatch, `{}`, wire.CodeMissingField, "data.id"},
	} {
		_, err := nearbyAsk(t, c.typ, c.data)
		if err == nil || err.Kind != wire.KindInvalidMessage || err.Code != c.code || err.Field != c.field || !strings.HasPrefix(err.Reason, c.field) {
			t.Errorf("%s %s: %+v, not %s of %s", c.typ, c.data, err, c.code, c.field)
		}
		if err != nil && strings.HasPrefix(err.Reason, c.field+" is a ") {
			t.Errorf("%s %s: %s, as if it were so", c.typ, c.data, err.Reason)
		}
	}
}

func TestThePositionInABodyIsThatOfAFrame(t *testing.T) {
	p, err := wire.ParsePosition([]byte(`{"lat":1.5,"lon":2,"speed":3}`))
	if err != nil || p.Lat != 1.5 || p.Lon != 2 || *p.Speed != 3 {
		t.Errorf("got %+v, %v", p, err)
	}
	for body, field := range map[string]string{`{"lon":2}`: "lat", `{"lat":1,"lon":200}`: "lon", `{"lat":1,"lon":2,"at":"x"}`: "at", `{"lat":1,"lon":2,"lon":2}`: "lon"} {
		if _, err := wire.ParsePosition([]byte(body)); err == nil || err.Field != field || !strings.HasPrefix(err.Reason, field) {
			t.Errorf("%s: %+v, not about %s", body, err, field)
		}
	}
}

func TestFramesAboutPositionsAreWrittenAsThePageSays(t *testing.T) {
	number := func(n float64) *float64 { return &n }
	at := time.UnixMilli(1_795_687_200_000)
	there := wire.Position{Lat: 47.37710000000001, Lon: -0.00000000001, At: at}
	measured := wire.Position{Lat: 1, Lon: 2.5, At: at, Accuracy: number(12.345), Heading: number(0), Speed: number(1.4)}
	ref := []byte(`"r"`)
	users := []wire.Neighbour{{User: "a-1", Name: `A "n"`, Position: there, Distance: 789.48712}, {User: "a-2", Position: measured}}
	const written = `[{"userId":"a-1","name":"A \"n\"","lat":47.3771,"lon":0,"at":"2026-11-26T10:00:00.000Z","distance":789.487},` +
		`{"userId":"a-2","lat":1,"lon":2.5,"at":"2026-11-26T10:00:00.000Z","distance":0,"heading":0,"speed":1.4,"accuracy":12.35}]`
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{wire.AppendNearby(nil, `m"`, users, 7, ref), `{"type":"NEARBY","data":{"id":"m\"","users":` + written + `,"total":7},"reference":"r"}`},
		{wire.AppendNearby(nil, "m", nil, 0, nil), `{"type":"NEARBY","data":{"id":"m","users":[],"total":0}}`},
		{wire.AppendNearbyCells(nil, "m", []wire.Crowd{{1, -2.5, 3}, {0, 0, 4}}, 7, ref), `{"type":"NEARBY","data":{"id":"m","cells":[{"lat":1,"lon":-2.5,"count":3},{"lat":0,"lon":0,"count":4}],"total":7},"reference":"r"}`},
		{wire.AppendNearbyNews(nil, wire.TypeNearbyEnter, "m", users), `{"type":"NEARBY_ENTER","data":{"id":"m","users":` + written + `}}`},
		{wire.AppendNearbyNews(nil, wire.TypeNearbyMove, "m", users[:0]), `{"type":"NEARBY_MOVE","data":{"id":"m","users":[]}}`},
		{wire.AppendNearbyMoveCells(nil, "m", []wire.Crowd{{1, 2, 0}}), `{"type":"NEARBY_MOVE","data":{"id":"m","cells":[{"lat":1,"lon":2,"count":0}]}}`},
		{wire.AppendNearbyLeave(nil, "m", []wire.UserID{"a-1", "a-2"}), `{"type":"NEARBY_LEAVE","data":{"id":"m","users":["a-1","a-2"]}}`},
		{wire.AppendPositionHidden(nil, ref), `{"type":"POSITION_HIDDEN","data":{},"reference":"r"}`},
		{wire.AppendPosition(nil, &measured), `{"lat":1,"lon":2.5,"at":"2026-11-26T10:00:00.000Z","heading":0,"speed":1.4,"accuracy":12.35}`},
	} {
		if string(c.got) != c.want || !json.Valid(c.got) {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}

// Whatever a client sends about positions is read or refused by name, and what was read
// is within what may be.
func FuzzParseNearby(f *testing.F) {
	f.Add([]byte(`{"type":"POSITION","data":{"lat":1,"lon":2,"accuracy":3,"heading":4,"speed":5,"at":"2026-11-26T10:00:00Z"}}`))
	f.Add([]byte(`{"type":"NEARBY_WATCH","data":{"id":"m","lat":1,"lon":2,"radius":3}}`))
	f.Add([]byte(`{"type":"NEARBY_WATCH","data":{"id":"m","bbox":[1,2,3,4]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := wire.ParseFrame(b)
		if err != nil || !frame.Type.OfPositions() {
			return
		}
		ask, err := wire.ParseNearby(&frame)
		p, a := ask.Position, ask.Area
		switch {
		case err != nil && (err.Kind != wire.KindInvalidMessage || err.Field == "" || err.Code == ""):
			t.Fatalf("%s: %+v", b, err)
		case err != nil:
		case !(p.Lat >= -90 && p.Lat <= 90 && p.Lon >= -180 && p.Lon <= 180 && a.Radius >= 0 && a.Radius <= wire.MaxNearbyRadius && a.South <= a.North):
			t.Fatalf("%s: %+v", b, ask)
		case !json.Valid(wire.AppendPosition(nil, &p)):
			t.Fatalf("%s: %s is no JSON", b, wire.AppendPosition(nil, &p))
		}
	})
}
