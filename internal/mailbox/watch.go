package mailbox

import "github.com/seed-3d8c1042/switchboard/wire"

// watching is one watched user of a session, and watcher the same from the
// other side. Each knows the other's place, so that a session leaves without a
// search: a popular user has many watchers.
type watching struct {
	user *user
	at   int // in user.watchers
}

type watcher struct {
	session *session
	at      int // in session.watching
}

// watch registers the session with those that it watches, and tells it who is
// here now.
func (c *core) watch(s *session) {
	for _, id := range s.Watch {
		u := c.user(id)
		if c.enlist(s, u) && len(u.sessions) > 0 {
			c.tellPresence(s, id, true)
		}
	}
}

// enlist makes s a watcher of u; false when it is one already.
func (c *core) enlist(s *session, u *user) bool {
	n := len(u.watchers)
	if n > 0 && u.watchers[n-1].session == s {
		return false // named twice; nobody else came in between
	}
	u.watchers = append(u.watchers, watcher{s, len(s.watching)})
	s.watching = append(s.watching, watching{u, n})
	return true
}

// unwatch reverses watch.
func (c *core) unwatch(s *session) {
	for _, w := range s.watching {
		list := w.user.watchers
		last := list[len(list)-1]
		list[w.at] = last
		last.session.watching[last.at].at = w.at
		list[len(list)-1] = watcher{}
		w.user.watchers = list[:len(list)-1]
		c.release(w.user)
	}
	s.watching = nil
}

func (c *core) tellWatchers(u *user, online bool) {
	for _, w := range u.watchers {
		c.tellPresence(w.session, u.id, online)
	}
}

func (c *core) tellPresence(s *session, user wire.UserID, online bool) {
	c.effects = append(c.effects, effect{kind: effPresence, outlet: s.Outlet, user: user, online: online})
}
