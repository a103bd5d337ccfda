package nodetest

import (
	"fmt"
	"strconv"
	"strings"
)

// JSON in good order, with fields that are not.

const (
	unknownType = `INVALID_MESSAGE UNKNOWN_TYPE "r"`
	missing     = `INVALID_MESSAGE MISSING_FIELD "r"`
	badField    = `INVALID_MESSAGE BAD_FIELD "r"`
)

// with is a MESSAGE from mallory to itself, with one more member.
func with(member string) string {
	return `{"reference":"r",` + member + `,"type":"MESSAGE","data":{"to":"` + mallory + `","content":1}}`
}

// each makes a case of each value; frame makes the frame.
func each(name, want string, frame func(value string) string, values ...string) []badFrame {
	cases := make([][2]string, len(values))
	for i, v := range values {
		cases[i] = [2]string{fmt.Sprintf("%s %.40s", name, v), frame(v)}
	}
	return frameTable(want, cases)
}

func badEnvelopes() []badFrame {
	typed := func(v string) string {
		return `{"reference":"r","type":` + v + `,"data":{"to":"` + mallory + `","content":1}}`
	}
	list := each("type", unknownType, typed,
		`""`, `"message"`, `"MESSAGE "`, `"MESSAGE\u0000"`, `"AUTH_CLIENT_REPLY"`, `"MESSAGE_CONFIRMATION"`, `"GENERAL_ERROR"`,
		`"МESSAGE"`, `"\ud800"`, `"<script>alert(1)</script>"`, `"`+strings.Repeat("A", 60_000)+`"`, `"`+strings.Repeat(`\u0001`, 10_000)+`"`)
	list = append(list, each("type", badField, typed, `1`, `true`, `[]`, `["MESSAGE"]`, `{}`)...)
	list = append(list, each("type", missing, typed, `null`)...)
	data := func(v string) string { return `{"reference":"r","type":"MESSAGE","data":` + v + `}` }
	list = append(list, each("data", badField, data, `1`, `"{}"`, `[]`, `false`, `[{"to":"ANZ-1","content":1}]`)...)
	list = append(list, each("data", missing, data, `null`, `{}`)...)
	list = append(list, frameTable(missing, [][2]string{
		{"no type", `{"reference":"r","data":{"to":"` + mallory + `","content":1}}`},
		{"no data", `{"reference":"r","type":"MESSAGE"}`},
		{"a reference only", `{"reference":"r"}`},
	})...)
	list = append(list, frameTable(`INVALID_MESSAGE MISSING_FIELD`, [][2]string{{"empty object", `{}`}})...)
	list = append(list, each("feature", badField, func(v string) string { return with(`"feature":` + v) },
		`"fast"`, `"RELIABLE "`, `""`, `"BEST"`, `"FAST\u0000"`, `1`, `true`, `[]`, `["FAST"]`, `{}`)...)
	list = append(list, each("confirmationEnabled", badField, func(v string) string { return with(`"confirmationEnabled":` + v) },
		`"true"`, `"false"`, `""`, `1`, `0`, `[]`, `{}`)...)
	list = append(list, each("ttl", badField, func(v string) string { return with(`"ttl":` + v) },
		`0`, `-0`, `-1`, `1.5`, `1.0`, `1e3`, `1E400`, `"5"`, `""`, `true`, `[]`, `[5]`, `{}`, `-1180591620717411303424`)...)
	list = append(list, ttlsThatPass()...)
	return append(list, badReferences()...)
}

func ttlsThatPass() (list []badFrame) {
	for _, ttl := range []string{`1180591620717411303424`, `9223372036854775807`, `3153600001`, `null`} {
		list = append(list, badFrame{
			"ttl " + ttl, with(`"confirmationEnabled":false,"ttl":` + ttl),
			[]string{`{"type":"MESSAGE","data":{"from":"` + mallory + `","content":1},"reference":"r"}`},
		})
	}
	return list
}

// badReferences: what is no string is refused, what is one comes back byte for
// byte.
func badReferences() []badFrame {
	referred := func(v string) string { return `{"type":"NOTHING","reference":` + v + `}` }
	list := each("reference", `INVALID_MESSAGE BAD_FIELD`, referred, `1`, `true`, `[]`, `["r"]`, `{}`)
	for _, r := range []string{
		`"\ud800"`, `"\u0000"`, `"\u0072\/"`, `"</script>"`, `"é\u2028"`, "\"\u2028\"", `""`, `"` + strings.Repeat("r", 60_000) + `"`,
		`"` + strings.Repeat(`\"`, 60_000) + `"`,
	} {
		list = append(list, badFrame{fmt.Sprintf("reference echoed %.20s", r), referred(r), []string{"INVALID_MESSAGE UNKNOWN_TYPE " + r}})
	}
	return append(list,
		badFrame{"reference null", referred(`null`), []string{"INVALID_MESSAGE UNKNOWN_TYPE"}},
		badFrame{"reference in the receiver's frame",
			`{"type":"MESSAGE","reference":"\ud800\u0000","confirmationEnabled":false,"data":{"to":"` + mallory + `","content":1}}`,
			[]string{`{"type":"MESSAGE","data":{"from":"` + mallory + `","content":1},"reference":"\ud800\u0000"}`}},
	)
}

// badIDs are strings, as they stand in JSON, that are no user IDs.
func badIDs() []string {
	return []string{
		`""`, `" "`, `"-"`, `"ANZ"`, `"ANZ-"`, `"-1"`, `"1"`, `"ANZ--1"`, `"ANZ-1-2"`, `"ANZ-1-"`, `"-ANZ-1"`,
		`" ANZ-1"`, `"ANZ-1 "`, `"ANZ- 1"`, `"AN Z-1"`, `"ANZ-+1"`, `"ANZ-01"`, `"ANZ-00"`, `"ANZ-1.0"`, `"ANZ-1e3"`,
		`"ANZ-0x1"`, `"ANZ-1_0"`, `"ANZ-one"`,
		`"ANZ-9223372036854775808"`, `"ANZ-18446744073709551616"`, `"ANZ-1180591620717411303424"`, `"ANZ--9223372036854775808"`,
		`"ANZ-` + strings.Repeat("9", 10_000) + `"`,
		`"ANZ-١٢"`, `"ANZ-１"`, `"ANZ-²"`, `"ÄNZ-1"`, `"АNZ-1"`, `"ANZ‐1"`, `"ANZ−1"`, "\"ANZ\u200d-1\"", "\"\u202eANZ-1\"", "\"\ufeffANZ-1\"",
		`"ANZ\u0000-1"`, `"ANZ-1\u0000"`, `"ANZ-1\n"`, `"\u0007ANZ-1"`, `"ANZ-\ud800"`, `"\udc00-1"`,
		`"ANZ.X-1"`, `"ANZ*-1"`, `"ANZ>-1"`, `"a/../b-1"`, `"ANZ-1'--"`, `"<b>-1"`, `"%41NZ-1"`,
		`"` + strings.Repeat("A", 65) + `-1"`, `"` + strings.Repeat("A", 60_000) + `-1"`,
	}
}

func badReceivers() []badFrame {
	to := func(v string) string {
		return `{"reference":"r","type":"MESSAGE","data":{"to":` + v + `,"content":1}}`
	}
	list := each("to", badField, to, badIDs()...)
	list = append(list, each("to", badField, to, `1`, `-1`, `true`, `{}`, `[]`, `["ANZ-1"]`, `{"to":"ANZ-1"}`)...)
	list = append(list, each("to", missing, to, `null`)...)
	for _, app := range []string{"anz", "XYZ", "_", "0", strings.Repeat("A", 64)} {
		list = append(list, badFrame{"to an unknown app " + app, to(`"` + app + `-1"`),
			[]string{`{"type":"DELIVER_FAILED","data":{"code":"UNKNOWN_APP","reason":"<text>","to":"` + app + `-1"},"reference":"r"}`}})
	}
	fast := func(v string) string { return strings.Replace(to(v), `"type"`, `"feature":"FAST","type"`, 1) }
	return append(append(list, each("FAST to", badField, fast, `"ANZ-01"`, `""`, `7`)...),
		badFrame{"the smallest user", fast(`"ANZ-0"`), nil},
		badFrame{"the largest user", fast(`"ANZ-9223372036854775807"`), nil},
	)
}

func badMessages() []badFrame {
	list := frameTable(missing, [][2]string{
		{"no to", `{"reference":"r","type":"MESSAGE","data":{"content":1}}`},
		{"no content", `{"reference":"r","type":"MESSAGE","data":{"to":"ANZ-1"}}`},
		{"content null", toSelf(`null`)},
		{"members beside data instead of in it", `{"reference":"r","type":"MESSAGE","to":"ANZ-1","content":1}`},
	})
	return append(list, passes([][2]string{
		{"content false", `false`}, {"content 0", `0`}, {"content empty", `""`}, {"content empty array", `[]`},
		{"content with null", `[null]`}, {"content that looks like a frame", `{"type":"MESSAGE","data":{"from":"ANZ-1"},"id":1}`},
		{"content that ends like a frame", `"\"},\"id\":\"x\"}"`},
	})...)
}

// ids is a list of n users, as an array of JSON without its brackets.
func ids(first, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"ANZ-` + strconv.Itoa(first+i) + `"`)
	}
	return b.String()[1:]
}

func badGroups() []badFrame {
	to := func(v string) string {
		return `{"reference":"r","type":"GROUP_MESSAGE","data":{"to":` + v + `,"content":1}}`
	}
	refused := func(to string) string {
		return `{"type":"DELIVER_FAILED","data":{"code":"BAD_RECEIVER","reason":"<text>","to":[` + to + `]},"reference":"r"}`
	}
	const message = `{"type":"MESSAGE","data":{"from":"` + mallory + `","content":1},"reference":"r"}`
	const self = `"` + mallory + `"`
	list := each("group", badField, to, `[]`, `""`, self, `1`, `{}`, `true`)
	list = append(list, each("group", missing, to, `null`)...)
	list = append(list, frameTable(missing, [][2]string{
		{"group without to", `{"reference":"r","type":"GROUP_MESSAGE","data":{"content":1}}`},
		{"group without content", `{"reference":"r","type":"GROUP_MESSAGE","data":{"to":["ANZ-1"]}}`},
		{"group without data", `{"reference":"r","type":"GROUP_MESSAGE"}`},
	})...)
	return append(list,
		badFrame{"group of one bad ID", to(`["nobody"]`), []string{refused(`"nobody"`)}},
		badFrame{"group of bad IDs only", to(`["","ANZ-01","-"]`), []string{refused(`"","ANZ-01","-"`)}},
		badFrame{"group of what is no string", to(`[1,null,true,[],{"a":1},["ANZ-1"]]`),
			[]string{refused(`"1","null","true","[]","{\"a\":1}","[\"ANZ-1\"]"`)}},
		badFrame{"group with hostile IDs", to(`["<b>\u0000","\ud800","\u2028"]`), []string{refused("\"<b>\\u0000\",\"\ufffd\",\"\u2028\"")}},
		badFrame{"group with one bad ID", to(`["nobody",` + self + `]`), []string{refused(`"nobody"`), message}},
		badFrame{"group with an unknown app", to(`["XYZ-1",` + self + `]`),
			[]string{`{"type":"DELIVER_FAILED","data":{"code":"UNKNOWN_APP","reason":"<text>","to":["XYZ-1"]},"reference":"r"}`, message}},
		badFrame{"group with the same ID 20 000 times", to(`[` + strings.Repeat(self+`,`, 19_999) + self + `]`), []string{message}},
		badFrame{"group with an ID in two spellings", to(`[` + self + `,"\u0041NZ-666"]`), []string{message}},
		badFrame{"group with a very long ID", to(`["` + strings.Repeat("A", 200_000) + `"]`), []string{refused(`"` + strings.Repeat("A", 80) + `…"`)}},
		badFrame{"group of 10 000", to(`[` + self + `,` + ids(1_000_000, 9_999) + `]`), []string{message}},
		badFrame{"group of 10 000, one of them twice", to(`[` + self + `,` + ids(1_000_000, 9_999) + `,` + self + `]`), []string{message}},
		badFrame{"group of 10 001", to(`[` + self + `,` + ids(1_000_000, 10_000) + `]`), []string{`INVALID_MESSAGE TOO_MANY_RECEIVERS "r"`}},
		badFrame{"group of 10 001, the last one bad", to(`[` + self + `,` + ids(1_000_000, 9_999) + `,""]`), []string{`INVALID_MESSAGE TOO_MANY_RECEIVERS "r"`}},
		badFrame{"group of 10 000 bad IDs", to(`[` + strings.Repeat(`"",`, 9_999) + `""]`),
			[]string{refused(strings.Repeat(`"",`, 9_999) + `""`)}},
		badFrame{"group of 100 000 numbers", to(`[` + strings.Repeat(`1,`, 99_999) + `1]`), []string{`INVALID_MESSAGE TOO_MANY_RECEIVERS "r"`}},
	)
}

func badRequests() []badFrame {
	fetch := func(v string) string {
		return `{"reference":"r","type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":` + v + `}}`
	}
	list := each("count", badField, fetch, `0`, `-0`, `-1`, `1.5`, `1.0`, `1e3`, `"5"`, `""`, `true`, `[]`, `[5]`, `{}`, `-1180591620717411303424`)
	list = append(list, each("count", `FETCH_MISSING_MESSAGES_COMPLETE`, fetch, `1`, `2001`, `null`, `9223372036854775808`, `1180591620717411303424`)...)
	list = append(list, each("fetch with data", badField, func(v string) string {
		return `{"reference":"r","type":"FETCH_MISSING_MESSAGES_REQUEST","data":` + v + `}`
	}, `5`, `[]`, `"x"`)...)
	list = append(list, frameTable(`FETCH_MISSING_MESSAGES_COMPLETE`, [][2]string{
		{"fetch without data", `{"type":"FETCH_MISSING_MESSAGES_REQUEST"}`},
		{"fetch without count", `{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"counter":-1}}`},
	})...)
	ack := func(v string) string { return `{"reference":"r","type":"MESSAGE_ACK","data":{"id":` + v + `}}` }
	list = append(list, each("ack", badField, ack, `1`, `""`, `[]`, `"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f708"`, `"0199a3e27c1b7f008a2b3c4d5e6f7081"`,
		`"{0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081}"`, `"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f708g"`, `"`+strings.Repeat("0", 60_000)+`"`)...)
	list = append(list, each("ack", missing, ack, `null`)...)
	list = append(list, frameTable(`GENERAL_ERROR UNKNOWN_ID "r"`, [][2]string{
		{"ack without the option", ack(`"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"`)},
	})...)
	closing := func(v string) string {
		return `{"reference":"r","type":"CLOSE_CONNECTION","data":{"userId":` + v + `}}`
	}
	list = append(list, each("close", badField, closing, `1`, `""`, `"ANZ"`, `["ANZ-1"]`, `"ANZ-01"`)...)
	list = append(list, each("close", missing, closing, `null`)...)
	list = append(list, each("close", `GENERAL_ERROR FORBIDDEN "r"`, closing, `"ANZ-1"`, `"`+mallory+`"`, `"ANZ-123223"`, `"XYZ-1"`)...)
	return append(list, frameTable(missing, [][2]string{
		{"ack without data", `{"reference":"r","type":"MESSAGE_ACK"}`},
		{"close without data", `{"reference":"r","type":"CLOSE_CONNECTION"}`},
		{"sign-in without data", `{"reference":"r","type":"AUTH_CLIENT"}`},
	})...)
}
