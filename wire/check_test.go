package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestAFrameIsCheckedAsFarAsItShowsWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ frame, want string }{
		{`"MESSAGE","data":{"to":"ANZ-1","content":null}`, `MISSING_FIELD data.content`},
		{`"MESSAGE","data":{"to":"ANZ-1"}`, `MISSING_FIELD data.content`},
		{`"MESSAGE","data":{"content":1}`, `MISSING_FIELD data.to`},
		{`"MESSAGE"`, `MISSING_FIELD data`},
		{`"MESSAGE","data":{"to":"bob","content":1}`, `BAD_FIELD data.to`},
		{`"MESSAGE","data":{"to":1,"content":1}`, `BAD_FIELD data.to`},
		{`"MESSAGE","data":{"to":"ANZ-1","to":"ANZ-1","content":1}`, `BAD_FIELD data.to`},
		{`"MESSAGE","data":{"to":"ANZ-1","content":1}`, ``},
		{`"GROUP_MESSAGE","data":{"to":"ANZ-1","content":1}`, `BAD_FIELD data.to`},
		{`"GROUP_MESSAGE","data":{"to":[],"content":1}`, `BAD_FIELD data.to`},
		{`"GROUP_MESSAGE","data":{"to":["bob"],"content":1}`, `BAD_RECEIVER data.to`},
		{`"GROUP_MESSAGE","data":{"to":["ANZ-1","ANZ-2","ANZ-3"],"content":1}`, `TOO_MANY_RECEIVERS data.to`},
		{`"GROUP_MESSAGE","data":{"to":["ANZ-1","bob"],"content":1}`, ``}, // ANZ-1 gets it
		{`"GROUP_MESSAGE","data":{"to":["ANZ-1"]}`, `MISSING_FIELD data.content`},
		{`"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":0}`, `BAD_FIELD data.count`},
		{`"FETCH_MISSING_MESSAGES_REQUEST"`, ``},
		{`"CLOSE_CONNECTION","data":{"userId":"bob"}`, `BAD_FIELD data.userId`},
		{`"CLOSE_CONNECTION","data":{"userId":"ANZ-1"}`, ``},
		{`"MESSAGE_ACK","data":{"id":"x"}`, `BAD_FIELD data.id`},
		{`"MESSAGE_ACK","data":{"id":"01a2155c-d1f2-76e4-bf9a-4187b5d07f95"}`, ``},
		{`"AUTH_CLIENT","data":{"userId":"ANZ-1"}`, `MISSING_FIELD data.appId`},
		{`"AUTH_CLIENT","data":{"appId":"a","userId":"ANZ-1","options":{"presence":["bob"]}}`, `BAD_FIELD data.options.presence`},
		{`"AUTH_CLIENT","data":{"appId":"a","userId":"bob"}`, ``},
		{`"MESSAGE","ttl":0`, `BAD_FIELD ttl`},
		{`"MESSAGE","reference":1`, `BAD_FIELD reference`},
		{`"MESAGE"`, `UNKNOWN_TYPE type`},
	} {
		f, err := wire.ParseFrame([]byte(`{"type":` + c.frame + `}`))
		if err == nil {
			err = f.Check(2)
		}
		got := ""
		if err != nil {
			got = fmt.Sprint(err.Code, " ", err.Field)
			if err.Code == wire.CodeBadField && !strings.HasPrefix(err.Reason, err.Field) {
				t.Errorf("%s: %q says nothing of %s", c.frame, err.Reason, err.Field)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, not %q", c.frame, got, c.want)
		}
	}
}
