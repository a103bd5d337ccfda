package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What doors a node has.
const (
	publicDoor  = "public"
	adminDoor   = "admin"
	controlDoor = "control" // whose visitors need no key
)

// Starting returns what stands at the doors of a node that is starting, until
// Server.Switch has what NewPublic, NewAdmin and NewControl return take its place:
// /healthz says that it lives, /readyz what it waits for, and /cluster, where that will
// be, which nodes it knows. Everything else is refused for now, but for a browser's
// EventSource: that would give up on any answer, and comes back when there is none.
// waiting says what is waited for, to operators or to anybody.
func Starting(o Options, waiting func(operator bool) string) (public, admin, control http.Handler) {
	o.V1 = nil
	before := func(name string, cluster string, o Options) http.Handler {
		says := func() string { return waiting(name != publicDoor) }
		o.Parts = []Part{{Name: "node", Check: func() error { return errors.New("the node is starting: " + says()) }}}
		refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refused := Refuse(http.StatusServiceUnavailable, wire.CodeBusy, "the server is starting: %s", says())
			refused.RetryAfter = later
			refused.write(w)
		})
		d := newDoor(name, o)
		d.ownOrigin = []string{"/ws", "/device/connect"}
		if cluster != "" && o.Cluster != nil {
			d.exact(cluster, read, clusterPage(o.Cluster))
		}
		d.exact("/v1/events", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
				panic(http.ErrAbortHandler) // ends the connection
			}
			refuse(w, r)
		}))
		d.below("/", nil, refuse)
		return d
	}
	shown := ""
	if o.Demo {
		shown = "/cluster"
	}
	public, admin = before(publicDoor, shown, o), before(adminDoor, "/cluster", o)
	o.Demo, o.Origin = false, nil
	return public, admin, before(controlDoor, "/v1/cluster", o)
}
