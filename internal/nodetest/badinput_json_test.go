package nodetest

import (
	"fmt"
	"strings"
)

// What is not JSON, or JSON that is hard to read in one way only.

func notJSON() []badFrame {
	good := toSelf(`1`)
	return append(frameTable(`INVALID_MESSAGE NOT_JSON`, [][2]string{
		{"empty frame", ""},
		{"white space only", " \t\r\n"},
		{"a word", "hello"},
		{"byte order mark", "\ufeff" + good},
		{"array", `[]`},
		{"array with an object", `[` + good + `]`},
		{"string", `"MESSAGE"`},
		{"number", `42`},
		{"null", `null`},
		{"true", `true`},
		{"truncated at once", `{`},
		{"truncated in a name", `{"typ`},
		{"truncated after a name", `{"type"`},
		{"truncated after a colon", `{"type":`},
		{"truncated in a string", `{"type":"MESS`},
		{"truncated after a value", `{"type":"MESSAGE"`},
		{"truncated after a comma", `{"type":"MESSAGE",`},
		{"truncated in the reference", `{"reference":"r`},
		{"truncated in an escape of the reference", `{"reference":"r\u00`},
		{"comma at the end", `{"type":"MESSAGE",}`},
		{"two commas", `{"type":"MESSAGE",,"data":{}}`},
		{"no comma", `{"type":"MESSAGE" "data":{}}`},
		{"no colon", `{"type" "MESSAGE"}`},
		{"name without quotes", `{type:"MESSAGE"}`},
		{"number as a name", `{1:2}`},
		{"null as a name", `{null:1}`},
		{"single quotes", `{'type':'MESSAGE'}`},
		{"comment", `{/* */"type":"MESSAGE"}`},
		{"wrong bracket", `{"type":"MESSAGE"]`},
		{"form feed as white space", "\f" + good},
		{"no-break space as white space", "\u00a0" + good},
		{"NUL before", "\x00" + good},
	}), frameTable(`INVALID_MESSAGE NOT_JSON "r"`, [][2]string{
		{"truncated in data", good[:len(good)-3]},
		{"truncated before the end", good[:len(good)-1]},
		{"trailing garbage", good + "x"},
		{"trailing bracket", good + "}"},
		{"NUL after", good + "\x00"},
		{"two objects", good + good},
		{"two objects, one a line", good + "\n" + good},
		{"NUL between tokens", `{"reference":"r",` + "\x00" + `"type":"MESSAGE"}`},
		{"truncated literal", toSelf(`tru`)},
		{"literal in capitals", toSelf(`TRUE`)},
		{"literal with more", toSelf(`nullx`)},
		{"undefined", toSelf(`undefined`)},
		{"wrong bracket within", toSelf(`[1}`)},
		{"comma at the end within", toSelf(`[1,]`)},
		{"comma at the beginning within", toSelf(`[,1]`)},
	})...)
}

func badNumbers() []badFrame {
	list := frameTable(`INVALID_MESSAGE NOT_JSON "r"`, [][2]string{
		{"NaN", toSelf(`NaN`)},
		{"Infinity", toSelf(`-Infinity`)},
		{"hexadecimal", toSelf(`0x10`)},
		{"leading zero", toSelf(`01`)},
		{"leading zero, negative", toSelf(`-01`)},
		{"plus sign", toSelf(`+1`)},
		{"sign alone", toSelf(`-`)},
		{"point at the end", toSelf(`1.`)},
		{"point at the beginning", toSelf(`.5`)},
		{"exponent without digits", toSelf(`1e`)},
		{"exponent with a sign only", toSelf(`1e+`)},
		{"two points", toSelf(`1.2.3`)},
		{"underscores", toSelf(`1_000`)},
		{"digits of another script", toSelf(`١٢`)},
	})
	return append(list, passes([][2]string{
		{"a number that no machine holds", `1e999999`},
		{"a number of 10 000 digits", strings.Repeat("7", 10_000)},
		{"a number of 64 bits and more", `18446744073709551616`},
		{"minus zero", `-0`},
		{"many numbers", `[` + strings.Repeat(`0,`, 20_000) + `0]`},
	})...)
}

func badStrings() []badFrame {
	var list []badFrame
	for c := range byte(0x20) {
		name := fmt.Sprintf("raw control character %#02x", c)
		list = append(list, badFrame{name, toSelf(`"a` + string(rune(c)) + `b"`), []string{`INVALID_MESSAGE NOT_JSON "r"`}})
	}
	list = append(list, frameTable(`INVALID_MESSAGE NOT_JSON "r"`, [][2]string{
		{"unknown escape", toSelf(`"\x41"`)},
		{"escape of an apostrophe", toSelf(`"\'"`)},
		{"escape with too few digits", toSelf(`"\u12"`)},
		{"escape with a wrong digit", toSelf(`"\u12G4"`)},
		{"capital U", toSelf(`"\U00000041"`)},
		{"backslash before the end", toSelf(`"\"`)},
	})...)
	list = append(list, frameTable(`INVALID_MESSAGE NOT_JSON`, [][2]string{
		{"raw control character in a name", "{\"ty\npe\":\"MESSAGE\",\"reference\":\"r\"}"},
		{"raw control character in the reference", "{\"reference\":\"r\n\",\"type\":\"MESSAGE\"}"},
		{"raw control character in the type", "{\"type\":\"MESS\x00AGE\",\"reference\":\"r\"}"},
	})...)
	return append(list, passes([][2]string{
		{"lone high surrogate", `"\ud800"`},
		{"lone low surrogate", `"\udc00"`},
		{"surrogates in the wrong order", `"\udc00\ud800"`},
		{"high surrogate before text", `"\ud83dx"`},
		{"surrogate pair", `"\ud83d\ude00"`},
		{"escaped NUL", `"\u0000"`},
		{"escaped control characters", `"\b\f\n\r\t\u001f"`},
		{"delete", "\"\x7f\""},
		{"line separators", "\"\u2028\u2029\""},
		{"noncharacters", "\"\uffff\ufffe\U0010ffff\""},
		{"replacement character", "\"\ufffd\""},
		{"byte order mark within", "\"\ufeff\""},
		{"a name with a NUL", `{"\u0000":1}`},
		{"empty name", `{"":1}`},
		{"names twice in content", `{"a":1,"a":2,"\u0061":3}`},
		{"white space of all kinds in content", "[ \t\r\n1 , { } ]"},
		{"a string of 200 000 escapes", `"` + strings.Repeat(`\"`, 100_000) + `"`},
	})...)
}

// tooDeep is nested around the limit of 512: the envelope is one level, data
// another.
func tooDeep() []badFrame {
	nested := func(open, inner, closing string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(closing, n)
	}
	list := passes([][2]string{
		{"arrays at the depth limit", nested(`[`, ``, `]`, 510)},
		{"objects at the depth limit", nested(`{"a":`, `1`, `}`, 510)},
		{"wide at the depth limit", nested(`[`, ``, `]`, 509)[:509] + strings.Repeat(`[],`, 1000) + `[]` + strings.Repeat(`]`, 509)},
	})
	list = append(list, frameTable(`INVALID_MESSAGE TOO_DEEP "r"`, [][2]string{
		{"arrays one deeper", toSelf(nested(`[`, ``, `]`, 511))},
		{"objects one deeper", toSelf(nested(`{"a":`, `1`, `}`, 511))},
		{"both in turns", toSelf(nested(`[{"a":`, `1`, `}]`, 256))},
		{"100 000 arrays", toSelf(nested(`[`, ``, `]`, 100_000))},
		{"100 000 arrays that do not end", toSelf(strings.Repeat(`[`, 100_000))},
		{"40 000 objects", toSelf(nested(`{"a":`, `1`, `}`, 40_000))},
		{"in a member that nobody knows", `{"reference":"r","x":` + nested(`[`, ``, `]`, 512) + `}`},
		{"in the type", `{"reference":"r","type":` + nested(`[`, ``, `]`, 512) + `}`},
		{"in data", `{"reference":"r","type":"MESSAGE","data":` + nested(`{"data":`, `1`, `}`, 512) + `}`},
	})...)
	return append(list,
		badFrame{"reference after what is too deep", `{"x":` + nested(`[`, ``, `]`, 512) + `,"reference":"r"}`,
			[]string{`INVALID_MESSAGE TOO_DEEP`}},
		badFrame{"100 000 brackets and nothing else", strings.Repeat(`[`, 100_000), []string{`INVALID_MESSAGE NOT_JSON`}},
		badFrame{"100 000 braces with names", strings.Repeat(`{"":`, 50_000), []string{`INVALID_MESSAGE TOO_DEEP`}},
	)
}

// givenTwice are members that may be read in two ways.
func givenTwice() []badFrame {
	const self = `"` + mallory + `"`
	list := frameTable(`INVALID_MESSAGE BAD_FIELD "r"`, [][2]string{
		{"type twice", `{"reference":"r","type":"MESSAGE","type":"MESSAGE","data":{"to":` + self + `,"content":1}}`},
		{"type twice, one escaped", `{"reference":"r","type":"MESSAGE","t\u0079pe":"GROUP_MESSAGE","data":{"to":` + self + `,"content":1}}`},
		{"type twice, one null", `{"reference":"r","type":"MESSAGE","type":null,"data":{"to":` + self + `,"content":1}}`},
		{"type twice, null first", `{"reference":"r","type":null,"type":"MESSAGE","data":{"to":` + self + `,"content":1}}`},
		{"data twice", `{"reference":"r","type":"MESSAGE","data":{"to":` + self + `,"content":1},"data":{"to":"ANZ-1","content":1}}`},
		{"data twice, one null", `{"reference":"r","type":"MESSAGE","data":null,"data":{"to":` + self + `,"content":1}}`},
		{"data twice, one escaped", `{"reference":"r","type":"MESSAGE","data":{"to":` + self + `,"content":1},"\u0064ata":{}}`},
		{"feature twice", `{"reference":"r","type":"MESSAGE","feature":"FAST","feature":"RELIABLE","data":{"to":` + self + `,"content":1}}`},
		{"confirmationEnabled twice", `{"reference":"r","type":"MESSAGE","confirmationEnabled":true,"confirmationEnabled":true,"data":{"to":` + self + `,"content":1}}`},
		{"ttl twice", `{"reference":"r","type":"MESSAGE","ttl":1,"ttl":2,"data":{"to":` + self + `,"content":1}}`},
		{"to twice", `{"reference":"r","type":"MESSAGE","data":{"to":` + self + `,"content":1,"to":"ANZ-1"}}`},
		{"to twice, one escaped", `{"reference":"r","type":"MESSAGE","data":{"to":` + self + `,"content":1,"\u0074\u006f":"ANZ-1"}}`},
		{"to twice, one null", `{"reference":"r","type":"MESSAGE","data":{"to":` + self + `,"content":1,"to":null}}`},
		{"content twice", `{"reference":"r","type":"MESSAGE","data":{"to":` + self + `,"content":1,"content":2}}`},
		{"content twice, null first", `{"reference":"r","type":"MESSAGE","data":{"content":null,"to":` + self + `,"content":2}}`},
		{"to of a group twice", `{"reference":"r","type":"GROUP_MESSAGE","data":{"to":[` + self + `],"content":1,"to":["ANZ-1"]}}`},
		{"count twice", `{"reference":"r","type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":1,"count":1}}`},
		{"userId twice", `{"reference":"r","type":"CLOSE_CONNECTION","data":{"userId":"ANZ-1","userId":"ANZ-1"}}`},
		{"id twice", `{"reference":"r","type":"MESSAGE_ACK","data":{"id":"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081","id":null}}`},
		{"reference twice", `{"reference":"r","type":"MESSAGE","reference":"s","data":{"to":` + self + `,"content":1}}`},
	})
	message := []string{`{"type":"MESSAGE","data":{"from":"` + mallory + `","content":1},"reference":"r"}`}
	return append(list,
		badFrame{"members that nobody knows, twice", `{"x":1,"x":2,"reference":"r","confirmationEnabled":false,"type":"MESSAGE","data":{"to":` + self + `,"content":1,"y":1,"y":2}}`, message},
		badFrame{"id is nothing that a client says", `{"id":1,"id":2,"reference":"r","confirmationEnabled":false,"type":"MESSAGE","data":{"to":` + self + `,"content":1}}`, message},
		badFrame{"names in other case are others", `{"Type":1,"DATA":2,"reference":"r","confirmationEnabled":false,"type":"MESSAGE","data":{"TO":1,"to":` + self + `,"content":1}}`, message},
		badFrame{"escaped names", `{"t\u0079pe":"\u004dESSAGE","\u0072eference":"r","confirmationEnabled":false,"d\u0061ta":{"\u0074o":"\u0041NZ-666","content":1}}`, message},
		badFrame{"10 000 members that nobody knows", `{` + strings.Repeat(`"x":0,`, 10_000) + `"reference":"r","confirmationEnabled":false,"type":"MESSAGE","data":{"to":` + self + `,"content":1}}`, message},
	)
}
