package bus

import (
	"crypto/rand"
	"crypto/subtle"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// Who belongs to a cluster's servers is decided in the server's own account, which
// holds no streams. Only this process gets in there, with a password that is made anew
// at each start; whoever else connects within the process is in the account of the
// streams, as where there is no such password. Where readers may connect from outside,
// this process needs the password for that account, too.
const (
	systemUser  = "switchboard"
	streamsUser = "switchboard-streams"
)

// door lets this process's connections in, and readers.
type door struct {
	secret  string
	system  func() *server.Account // the server's own
	streams func() *server.Account
	given   *Readers // nil: nobody comes from outside

	gate    atomic.Pointer[server.Account] // where what readers make is looked at
	readers atomic.Pointer[server.Account] // the same, once that is done
}

func newDoor(readers *Readers) *door { return &door{secret: rand.Text(), given: readers} }

// Check says whether a connection may come in, and to which account.
func (d *door) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == "" && o.Password == "" {
		return d.given == nil // to the account that all are in
	}
	var user *server.User
	switch own := subtle.ConstantTimeCompare([]byte(o.Password), []byte(d.secret)) == 1; {
	case own && o.Username == systemUser:
		user = &server.User{Username: systemUser, Account: d.system()}
	case own && o.Username == streamsUser:
		user = &server.User{Username: streamsUser, Account: d.streams()}
	case own && o.Username == gateUser && d.gate.Load() != nil:
		user = &server.User{Username: gateUser, Account: d.gate.Load()}
	case !own:
		user = d.reader(o.Username, o.Password)
	}
	if user == nil {
		return false
	}
	c.RegisterUser(user)
	return true
}
