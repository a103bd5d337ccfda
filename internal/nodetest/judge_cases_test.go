package nodetest

import (
	"encoding/json"
	"testing"
)

// Two receivers and one sender; the judge sees every kind of violation, and none
// where there is none.
func TestTheJudgeSeesWhatIsWrong(t *testing.T) {
	stored := func(to ...string) posting { return posting{To: to, Link: 1, Stored: true} }
	got := func(numbers ...int) []delivery {
		var list []delivery
		for _, n := range numbers {
			list = append(list, delivery{From: "S", N: n, Intact: true})
		}
		return list
	}
	four := []posting{stored("R"), stored("R"), stored("R"), stored("R")}
	reliable := func(v verdict) map[bool]verdict { return map[bool]verdict{false: v} }
	all := verdict{Sent: 4, Accepted: 4, Arrived: 4}
	with := func(change func(*verdict)) map[bool]verdict {
		v := all
		change(&v)
		return reliable(v)
	}
	for _, c := range []struct {
		name     string
		kind     string
		sends    []posting
		sessions [][]delivery
		want     map[bool]verdict // by FAST
		bad      int
	}{
		{"all is well", "push", four, [][]delivery{got(0, 1, 2, 3)}, reliable(all), 0},
		{"lost", "push", four, [][]delivery{got(0, 1, 3)}, with(func(v *verdict) { v.Arrived, v.Lost = 3, 1 }), 1},
		{"confirmed alone, and lost", "push", []posting{{To: []string{"R"}, Link: 1, Confirmed: true}}, [][]delivery{nil},
			reliable(verdict{Sent: 1, Accepted: 1, Lost: 1}), 1},
		{"not accepted, and not arrived", "push", []posting{{To: []string{"R"}, Link: 1}}, [][]delivery{nil}, reliable(verdict{Sent: 1}), 0},
		{"not accepted, and arrived", "push", []posting{{To: []string{"R"}, Link: 1}}, [][]delivery{got(0)}, reliable(verdict{Sent: 1, Arrived: 1}), 0},
		{"twice on one session", "push", four, [][]delivery{got(0, 1, 1, 2, 3)}, with(func(v *verdict) { v.Duplicated = 1 }), 1},
		{"again on a later session", "push", four, [][]delivery{got(0, 1), got(1, 2, 3)}, with(func(v *verdict) { v.Again = 1 }), 0},
		{"again, to an application with ack", "ack", four, [][]delivery{got(0, 1), got(1, 2, 3)}, with(func(v *verdict) { v.Again = 1 }), 1},
		{"twice, to an application with ack", "ack", four, [][]delivery{got(0, 1, 1, 2, 3)}, with(func(v *verdict) { v.Duplicated = 1 }), 1},
		{"out of order", "push", four, [][]delivery{got(0, 2, 1, 3)}, with(func(v *verdict) { v.Reordered = 1 }), 1},
		{"out of order, to an application with ack", "ack", four, [][]delivery{got(0, 2, 1, 3)}, with(func(v *verdict) { v.Reordered = 1 }), 1},
		{"out of order over two sessions", "push", four, [][]delivery{got(0, 2), got(1, 3)}, with(func(v *verdict) { v.Reordered = 1 }), 1},
		{"again, after newer ones", "push", four, [][]delivery{got(0, 1), got(2, 1, 3)}, with(func(v *verdict) { v.Again = 1 }), 0},
		{"fetched while others come live", "fetch", four, [][]delivery{got(2, 0, 3, 1)}, reliable(all), 0},
		{"fetched out of order", "fetch", four, [][]delivery{got(3, 2, 0, 1)}, with(func(v *verdict) { v.Reordered = 1 }), 1},
		{"on two connections of the sender", "push", []posting{{To: []string{"R"}, Link: 1, Stored: true}, {To: []string{"R"}, Link: 2, Stored: true}},
			[][]delivery{got(1, 0)}, reliable(verdict{Sent: 2, Accepted: 2, Arrived: 2}), 0},
		{"never sent", "push", four, [][]delivery{got(0, 1, 2, 3, 4)}, with(func(v *verdict) { v.Unexpected = 1 }), 1},
		{"sent by nobody", "push", four, [][]delivery{append(got(0, 1, 2, 3), delivery{From: "X", Intact: true})}, with(func(v *verdict) { v.Unexpected = 1 }), 1},
		{"not what was sent", "push", four, [][]delivery{append(got(0, 1, 2), delivery{From: "S", N: 3})},
			with(func(v *verdict) { v.Arrived, v.Lost, v.Unexpected = 3, 1, 1 }), 2},
		{"to somebody else", "push", []posting{stored("Q")}, [][]delivery{got(0)}, reliable(verdict{Arrived: 1, Unexpected: 1}), 1},
		{"refused, and arrived", "push", []posting{{To: []string{"R"}, Link: 1, Refused: "STORE_FULL"}}, [][]delivery{got(0)},
			reliable(verdict{Sent: 1, Arrived: 1, Unexpected: 1}), 1},
		{"perhaps refused, and arrived", "push", []posting{{To: []string{"R"}, Link: 1, Refused: "TIMEOUT", MayYetArrive: true}}, [][]delivery{got(0)},
			reliable(verdict{Sent: 1, Arrived: 1}), 0},
		{"to a group", "push", []posting{stored("Q", "R")}, [][]delivery{got(0)}, reliable(verdict{Sent: 1, Accepted: 1, Arrived: 1}), 0},
		{"to a group, refused for one", "push", []posting{{To: []string{"Q", "R"}, Link: 1, Stored: true, Refused: "TIMEOUT", MayYetArrive: true, RefusedTo: []string{"R"}}},
			[][]delivery{nil}, reliable(verdict{Sent: 1}), 0},
		{"to a group, refused for another", "push", []posting{{To: []string{"Q", "R"}, Link: 1, Stored: true, Refused: "TIMEOUT", RefusedTo: []string{"Q"}}},
			[][]delivery{nil}, reliable(verdict{Sent: 1, Accepted: 1, Lost: 1}), 1},
		{"FAST, lost", "push", []posting{{To: []string{"R"}, Link: 1, Fast: true}}, [][]delivery{nil}, map[bool]verdict{true: {Sent: 1, Lost: 1}}, 0},
		{"FAST, twice", "push", []posting{{To: []string{"R"}, Link: 1, Fast: true}}, [][]delivery{got(0, 0)},
			map[bool]verdict{true: {Sent: 1, Arrived: 1, Duplicated: 1}}, 1},
		{"FAST, again on a later session", "push", []posting{{To: []string{"R"}, Link: 1, Fast: true}}, [][]delivery{got(0), got(0)},
			map[bool]verdict{true: {Sent: 1, Arrived: 1, Again: 1}}, 1},
		{"FAST before RELIABLE", "push", []posting{stored("R"), {To: []string{"R"}, Link: 1, Fast: true}}, [][]delivery{got(1, 0)},
			map[bool]verdict{false: {Sent: 1, Accepted: 1, Arrived: 1}, true: {Sent: 1, Arrived: 1}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory()
			h.Sends["S"] = c.sends
			r := h.receiver("R", c.kind)
			r.Sessions = c.sessions
			verdicts, bad := judge(h), 0
			for _, fast := range []bool{false, true} {
				in := class{fast, c.kind}
				if verdicts[in] != c.want[fast] {
					t.Errorf("%s:\n got %s\nwant %s", in, verdicts[in], c.want[fast])
				}
				bad += verdicts[in].violations(in)
			}
			if bad != c.bad {
				t.Errorf("%d violations, want %d", bad, c.bad)
			}
		})
	}
}

func TestAContentThatWasChangedIsNotIntact(t *testing.T) {
	for _, size := range []int{0, 10, 1000, 40_000} {
		content := valueContent("ANZ-1", 7, size)
		if len(content) < size {
			t.Errorf("%d bytes, want %d", len(content), size)
		}
		if d := readValue("ANZ-1", json.RawMessage(content)); d != (delivery{"ANZ-1", 7, true}) {
			t.Errorf("read %+v", d)
		}
		if readValue("ANZ-2", json.RawMessage(content)).Intact {
			t.Error("intact, though another one sent it")
		}
		for at := range min(len(content), 100) {
			changed := []byte(content)
			changed[at] ^= 1
			if d := readValue("ANZ-1", changed); d.Intact && d.N == 7 {
				t.Errorf("intact, though byte %d is changed", at)
			}
		}
		if readValue("ANZ-1", json.RawMessage(content[:len(content)/2])).Intact {
			t.Error("intact, though half of it is gone")
		}
	}
}
