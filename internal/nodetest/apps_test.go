package nodetest

import "testing"

// Users reach users of another app only where their own app's allowApps names
// it: here FACTORY may reach OFFICE, and not the other way round.
func TestAppsReachWhomTheyMay(t *testing.T) {
	t.Parallel()
	s := startWith(t, `
apps:
  - {appName: FACTORY, appId: factory-id, authEnabled: false, allowApps: [OFFICE]}
  - {appName: OFFICE, appId: office-id, authEnabled: false}
  - {appName: ALONE, appId: alone-id, authEnabled: false}
`)
	in := func(user, app, options string) *Peer {
		p := Dial(t, s)
		if err := p.TrySignIn(app, user, options); err != nil {
			t.Fatal(err)
		}
		return p
	}
	robot, clerk := in("FACTORY-1", "factory-id", ""), in("OFFICE-1", "office-id", "")
	if err := Dial(t, s).TrySignIn("office-id", "FACTORY-2", ""); err == nil {
		t.Error("a user was let in with another app's ID")
	}

	for _, feature := range []string{"RELIABLE", "FAST"} {
		robot.Message("OFFICE-1", "done", `"reference":"r","feature":"`+feature+`"`)
		if f := clerk.Expect("MESSAGE"); f.Field("from") != "FACTORY-1" {
			t.Errorf("got %s", f.Raw)
		}
		wantConfirmation(t, robot, "r")

		clerk.Message("FACTORY-1", "thanks", `"reference":"r","feature":"`+feature+`"`)
		wantRefused(t, clerk, `{"type":"GENERAL_ERROR","data":{"code":"FORBIDDEN","reason":"<text>","to":"FACTORY-1"},"reference":"r"}`)
		robot.Message("ALONE-1", "hello?", `"reference":"r","feature":"`+feature+`"`)
		wantRefused(t, robot, `{"type":"GENERAL_ERROR","data":{"code":"FORBIDDEN","reason":"<text>","to":"ALONE-1"},"reference":"r"}`)
	}

	// A group's members are looked at one by one.
	robot.Send(`{"type":"GROUP_MESSAGE","reference":"g","data":{"to":["ALONE-1","OFFICE-1","NOWHERE-1","nobody","FACTORY-1"],"content":1}}`)
	wantRefused(t, robot, `{"type":"DELIVER_FAILED","data":{"code":"BAD_RECEIVER","reason":"<text>","to":["nobody"]},"reference":"g"}`)
	wantRefused(t, robot, `{"type":"DELIVER_FAILED","data":{"code":"UNKNOWN_APP","reason":"<text>","to":["NOWHERE-1"]},"reference":"g"}`)
	wantRefused(t, robot, `{"type":"GENERAL_ERROR","data":{"code":"FORBIDDEN","reason":"<text>","to":["ALONE-1"]},"reference":"g"}`)
	robot.Expect("MESSAGE")
	clerk.Expect("MESSAGE")

	// So is whom one may watch.
	watcher := in("FACTORY-3", "factory-id", `{"presence":["OFFICE-1","ALONE-1","FACTORY-1"]}`)
	got := take(watcher, 3)
	wantFrames(t, []string{
		`{"type":"GENERAL_ERROR","data":{"code":"FORBIDDEN","reason":"<text>","to":["ALONE-1"]}}`, "USER_CONNECTED", "USER_CONNECTED",
	}, sortedErrorsFirst(got))
	wantNothing(t, "the watcher", watcher)
	wantNothing(t, "who may not answer", clerk)
}

// wantRefused fails unless the next frame is this one, as in a transcript.
func wantRefused(t *testing.T, p *Peer, want string) {
	t.Helper()
	wantFrames(t, []string{want}, take(p, 1))
}

// sortedErrorsFirst puts errors before all else: nothing is promised about their
// order among the notices of the keeper.
func sortedErrorsFirst(frames []Frame) []Frame {
	var errors, others []Frame
	for _, f := range frames {
		if f.Type == "GENERAL_ERROR" {
			errors = append(errors, f)
		} else {
			others = append(others, f)
		}
	}
	return append(errors, others...)
}
