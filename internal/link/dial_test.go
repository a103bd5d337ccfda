package link

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhoIsNotLetInIsToldWhichSecretIsMissingAndWhereItBelongs(t *testing.T) {
	refused := func(code string) error { return &wire.Error{Kind: wire.KindAuthReply, Code: code, Reason: "Because."} }
	for _, test := range []struct {
		err          error
		secret, want string
	}{
		{refused(wire.CodeBadToken), "", "this domain has none for it: put that of domain-02 into the setting links.secret here, or into links.secrets under its name"},
		{refused(wire.CodeBadToken), "s3cr3t", "has to be the same in both domains"},
		{refused(wire.CodeRefused), "", "put the same secret into the setting links.secret of both domains"},
		{refused(wire.CodeRefused), "s3cr3t", "Because. (REFUSED)"},
		{refused(wire.CodeUnknownApp), "", "Because. (UNKNOWN_APP)"},
		{errors.New("connection refused"), "", "connection refused"},
	} {
		got := where{neighbour: "domain-02", secret: test.secret}.advise(test.err).Error()
		if !strings.HasSuffix(got, test.want) || strings.Contains(got, "s3cr3t") {
			t.Errorf("%v with %q: %s", test.err, test.secret, got)
		}
	}
}
