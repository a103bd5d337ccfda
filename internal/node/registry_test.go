package node

import (
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/members"
)

func TestNodesAreListedByTheSchemeThatTheyTalk(t *testing.T) {
	list := nodesAsService([]members.Member{
		{Name: "a", Address: "10.0.0.1:8088", Status: members.Up},
		{Name: "b", Address: "https://10.0.0.2:8443", Status: members.Up},
		{Name: "c", Status: members.Up},
		{Name: "d", Address: "10.0.0.4:8088", Status: members.Unreachable},
	})
	if len(list) != 2 || list[0].URL != "http://10.0.0.1:8088" || list[1].URL != "https://10.0.0.2:8443" {
		t.Errorf("listed are %+v", list)
	}
}
