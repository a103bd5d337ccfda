package bus

import (
	"crypto/rand"
	"crypto/subtle"

	"github.com/nats-io/nats-server/v2/server"
)

// Who belongs to a cluster's servers is decided in the server's own account, which
// holds no streams. Only this process gets in there, with a password that is made anew
// at each start; whoever else connects within the process is in the account of the
// streams, as where there is no such password.
const systemUser = "switchboard"

// door lets this process's connections in.
type door struct {
	secret string
	system func() *server.Account // the server's own
}

func newDoor() door { return door{secret: rand.Text()} }

// Check says whether a connection may come in, and to which account.
func (d *door) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == "" && o.Password == "" {
		return true // to the account that all are in
	}
	if o.Username != systemUser || subtle.ConstantTimeCompare([]byte(o.Password), []byte(d.secret)) == 0 {
		return false
	}
	c.RegisterUser(&server.User{Username: systemUser, Account: d.system()})
	return true
}
