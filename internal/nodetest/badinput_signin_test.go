package nodetest

import (
	"encoding/json"
	"strings"
	"testing"
)

// badSignIn is what a client sends that has not signed in, and what becomes of
// it.
type badSignIn struct {
	name string
	send string
	want []string // as in badFrame
	// refused: the connection is closed with 4002. Otherwise it goes on, and may
	// sign in, unless it is signed in now.
	refused  bool
	signedIn bool
}

// badSignIns sends each on a connection of its own.
func badSignIns(t *testing.T, s *Server) int {
	cases := append(append(early(), badAuths()...), hostileAuths()...)
	for i, c := range cases {
		i += len(allBadFrames()) // users that nobody had before
		t.Run(c.name, func(t *testing.T) {
			p := Dial(t, s)
			defer p.Close()
			p.Send(own(i, c.send))
			wantFrames(t, ownAll(i, c.want), take(p, len(c.want)))
			switch {
			case c.refused:
				if code := p.CloseCode(); code != 4002 {
					t.Errorf("close code %d, want 4002", code)
				}
				return
			case c.signedIn:
				p.user = own(i, mallory)
			default:
				p.SignIn(own(i, mallory), "")
			}
			wantNothing(t, "the client", p)
		})
	}
	t.Run("another sign-in", func(t *testing.T) { again(t, s) })
	return len(cases) + 1
}

// early is what a client may not send before it has signed in.
func early() (list []badSignIn) {
	for _, c := range [][2]string{
		{"MESSAGE", toSelf(`1`)},
		{"MESSAGE to nobody", `{"type":"MESSAGE","reference":"r","data":{"to":"nobody"}}`},
		{"MESSAGE without data", `{"type":"MESSAGE","reference":"r"}`},
		{"GROUP_MESSAGE", `{"type":"GROUP_MESSAGE","reference":"r","data":{"to":["ANZ-1","ANZ-2"],"content":1}}`},
		{"FETCH_MISSING_MESSAGES_REQUEST", `{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":5}}`},
		{"MESSAGE_ACK", `{"type":"MESSAGE_ACK","data":{"id":"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"}}`},
		{"CLOSE_CONNECTION", `{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-1"}}`},
	} {
		list = append(list, badSignIn{name: "early " + c[0], send: c[1], want: []string{`{"type":"AUTH_REQUIRED","data":{}}`}})
	}
	for _, c := range [][3]string{
		{"early garbage", `hello`, `INVALID_MESSAGE NOT_JSON`},
		{"early empty frame", ``, `INVALID_MESSAGE NOT_JSON`},
		{"early unknown type", `{"type":"SIGN_IN","reference":"r"}`, unknownType},
		{"early server's type", `{"type":"AUTH_CLIENT_REPLY","reference":"r","data":{"isAuthenticated":true}}`, unknownType},
		{"early depth", strings.Repeat(`{"":`, 600), `INVALID_MESSAGE TOO_DEEP`},
	} {
		list = append(list, badSignIn{name: c[0], send: c[1], want: []string{c[2]}})
	}
	return list
}

// auth is an AUTH_CLIENT with these members of data.
func auth(data string) string { return `{"reference":"r","type":"AUTH_CLIENT","data":{` + data + `}}` }

// badAuths are sign-ins with fields that are not as they should be.
func badAuths() (list []badSignIn) {
	const app, user = `"appId":"app-id-343"`, `"userId":"` + mallory + `"`
	add := func(want string, cases ...[2]string) {
		for _, c := range cases {
			list = append(list, badSignIn{name: c[0], send: auth(c[1]), want: []string{want}})
		}
	}
	add(missing, [2]string{"no appId", user}, [2]string{"no userId", app}, [2]string{"no members", ``},
		[2]string{"appId null", `"appId":null,` + user}, [2]string{"userId null", `"userId":null,` + app})
	add(badField, [2]string{"appId a number", `"appId":343,` + user}, [2]string{"appId an array", `"appId":["app-id-343"],` + user},
		[2]string{"userId a number", `"userId":666,` + app}, [2]string{"userId an object", `"userId":{},` + app},
		[2]string{"token a number", app + `,` + user + `,"token":12345`}, [2]string{"token an object", app + `,` + user + `,"token":{}`},
		[2]string{"appId twice", app + `,` + user + `,` + app}, [2]string{"userId twice, one escaped", app + `,` + user + `,"\u0075serId":"ANZ-1"`},
		[2]string{"token twice, one null", app + `,` + user + `,"token":"a","token":null`},
		[2]string{"options twice", app + `,` + user + `,"options":{},"options":{}`})
	for _, options := range []string{
		`"ack"`, `[]`, `["ack"]`, `true`, `1`, `{"ack":"true"}`, `{"ack":1}`, `{"ack":{}}`, `{"receipts":"yes"}`, `{"receipts":0}`, `{"push":1}`,
		`{"push":[]}`, `{"ack":true,"ack":true}`, `{"push":true,"p\u0075sh":null}`, `{"presence":"ANZ-1"}`, `{"presence":{}}`, `{"presence":true}`,
		`{"presence":[1]}`, `{"presence":[null]}`, `{"presence":["ANZ-01"]}`, `{"presence":["ANZ-1",""]}`, `{"producer":1}`, `{"producer":""}`,
		`{"producer":"a b"}`, `{"producer":"\u0000"}`, `{"producer":"é"}`, `{"producer":"` + strings.Repeat("a", 65) + `"}`,
	} {
		add(badField, [2]string{"options " + options, app + `,` + user + `,"options":` + options})
	}
	add(`GENERAL_ERROR TOO_MANY "r"`, [2]string{"101 users in presence", app + `,` + user + `,"options":{"presence":[` + ids(1, 101) + `]}`})
	return append(list, goodAuths(app+`,`+user)...)
}

// goodAuths look bad, and are let in.
func goodAuths(who string) (list []badSignIn) {
	for name, more := range map[string]string{
		"no token": ``, "token null": `,"token":null`, "huge token": `,"token":"` + strings.Repeat("t", 200_000) + `"`,
		"token with escapes": `,"token":"\u0000\ud800<b>"`, "options null": `,"options":null`, "no options": `,"options":{}`,
		"unknown options": `,"options":{"compress":9,"ACK":"yes","":[{}]}`, "options all null": `,"options":{"ack":null,"receipts":null,"push":null,"presence":null,"producer":null}`,
		"nobody in presence": `,"options":{"presence":[]}`, "unknown members": `,"admin":true,"isAuthenticated":true,"appid":1`,
	} {
		list = append(list, badSignIn{
			name: name, send: auth(who + more), signedIn: true,
			want: []string{`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"` + mallory + `","isAuthenticated":true}}`},
		})
	}
	return list
}

// hostileAuths are refused, and what they said comes back as JSON that holds
// nothing but text.
func hostileAuths() (list []badSignIn) {
	hostile := append(badIDs(), `"\"},\"isAuthenticated\":true,\"x\":{\""`, `"</script><script>alert(1)</script>"`, `"\u0000\u001f\u007f\u0080\u2028\u2029"`,
		`"\ud800\udc00\udc00"`, `"ANZ-1\r\nSet-Cookie: a=b"`, `"$(id)"`, `"%s%n%d"`, `"`+strings.Repeat(`\u0001`, 20_000)+`"`)
	for _, v := range hostile {
		list = append(list,
			badSignIn{name: "userId " + v[:min(len(v), 40)], send: auth(`"appId":"app-id-343","userId":` + v), refused: true,
				want: []string{refusedAuth(`"app-id-343"`, v, "BAD_USER_ID")}},
			badSignIn{name: "appId " + v[:min(len(v), 40)], send: auth(`"appId":` + v + `,"userId":"` + mallory + `"`), refused: true,
				want: []string{refusedAuth(v, `"`+mallory+`"`, "WRONG_APP_ID")}})
	}
	for _, app := range []string{"XYZ", "anz", "_", strings.Repeat("A", 64)} {
		list = append(list, badSignIn{name: "unknown app " + app, send: auth(`"appId":"app-id-343","userId":"` + app + `-1"`), refused: true,
			want: []string{refusedAuth(`"app-id-343"`, `"`+app+`-1"`, "UNKNOWN_APP")}})
	}
	return list
}

// refusedAuth is the answer to a sign-in that is refused: what was given comes
// back as the text that it stands for.
func refusedAuth(app, user, code string) string {
	for _, v := range []*string{&app, &user} {
		var text string
		if err := json.Unmarshal([]byte(*v), &text); err != nil {
			panic(err) // the table is not JSON
		}
		*v = plainJSON(text)
	}
	return `{"type":"AUTH_CLIENT_REPLY","data":{"appId":` + app + `,"userId":` + user + `,"isAuthenticated":false,"code":"` + code + `","reason":"<text>"}}`
}

// plainJSON is a text as JSON, with no escapes but those that JSON asks for.
func plainJSON(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic(err) // text can always be encoded
	}
	return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
}

// again is AUTH_CLIENT on a session that has signed in.
func again(t *testing.T, s *Server) {
	p := SignIn(t, s, mallory, "")
	defer p.Close()
	for _, c := range []struct{ name, send, want string }{
		{"as another user", auth(`"appId":"app-id-343","userId":"ANZ-1"`), `GENERAL_ERROR ALREADY_SIGNED_IN "r"`},
		{"as another app's user", auth(`"appId":"app-id-343","userId":"XYZ-1"`), `GENERAL_ERROR ALREADY_SIGNED_IN "r"`},
		{"as nobody", auth(`"appId":"app-id-343","userId":""`), `GENERAL_ERROR ALREADY_SIGNED_IN "r"`},
		{"malformed", auth(`"appId":"app-id-343"`), missing},
		{"renewed", auth(`"appId":"app-id-343","userId":"` + mallory + `"`), `{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"` + mallory + `","isAuthenticated":true}}`},
		{"renewed with other options", auth(`"appId":"app-id-343","userId":"` + mallory + `","options":{"ack":true}`), `{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"` + mallory + `","isAuthenticated":true}}`},
	} {
		p.Send(c.send)
		wantFrames(t, []string{c.want}, take(p, 1))
		if t.Failed() {
			t.Fatal(c.name)
		}
	}
	wantNothing(t, "the client", p)
	p.Send(auth(`"appId":"wrong","userId":"` + mallory + `"`))
	wantFrames(t, []string{refusedAuth(`"wrong"`, `"`+mallory+`"`, "WRONG_APP_ID")}, take(p, 1))
	if code := p.CloseCode(); code != 4002 {
		t.Errorf("a renewal that is refused: close code %d, want 4002", code)
	}
}
