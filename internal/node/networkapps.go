package node

import (
	"errors"
	"slices"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// applyApps puts the apps of the settings and of the network into effect.
func (n *node) applyApps() {
	n.applying.Lock()
	defer n.applying.Unlock()
	if err := n.replaceApps(*n.settings.Load()); err != nil {
		n.log.Error("the apps of the network are not in effect", "err", err)
	}
}

// replaceApps has the apps of settings, and those of the network, take the place of
// those that there are. applying is held.
func (n *node) replaceApps(s config.Settings) error {
	list, passed := n.allApps(s)
	for _, p := range passed {
		n.log.Warn("a part of the apps is passed over", "app", p.app, "err", p.why)
	}
	return n.apps.Replace(list)
}

// passedOver is what of the apps is not in effect, and why.
type passedOver struct{ app, why string }

// allApps returns the apps of settings and, where there are other domains, of the
// network: one of the settings takes the place of one of the network that has its
// name. What does not go with the network is passed over: it may have changed after
// the settings were checked.
func (n *node) allApps(s config.Settings) (list []apps.App, passed []passedOver) {
	list = n.withChat(appsOf(s.Apps))
	if n.abroad == nil {
		return list, nil
	}
	v := n.abroad.view.Load()
	if v == nil {
		return withoutUnknown(list)
	}
	for _, d := range v.network.Domains {
		user := d.User()
		list = slices.DeleteFunc(list, func(a apps.App) bool {
			if a.Name != user.App() {
				return false
			}
			passed = append(passed, passedOver{a.Name, "its name is that of the link user of " + d.Name + ": give the app another one"})
			return true
		})
	}
	described := make(map[string]bool) // apps that the network alone has
	for _, a := range v.network.Apps {
		switch i := slices.IndexFunc(list, func(b apps.App) bool { return b.Name == a.Name }); {
		case i < 0:
			described[a.Name] = true
			list = append(list, apps.App{Name: a.Name, ID: a.ID, Master: wire.UserID(a.Master), AuthEnabled: a.AuthEnabled, AuthURL: a.AuthURL})
		case list[i].ID != a.ID || list[i].Master != wire.UserID(a.Master):
			passed = append(passed, passedOver{a.Name, "the settings of this domain give it another appId or masterUserId than the network, and that counts here: they should be the same in all domains"})
		}
	}
	list, bad := withoutBad(list, described)
	known, more := withoutUnknown(list)
	return known, append(append(passed, bad...), more...)
}

// withoutBad takes out apps of the network that nobody could sign in with, or that do
// not go with those of the settings. Whoever wrote the description cannot know these,
// and the others are not to suffer: not now, and not at a start that has nothing but
// the last copy of it.
func withoutBad(list []apps.App, described map[string]bool) ([]apps.App, []passedOver) {
	var wrong apps.FieldErrors
	if !errors.As(apps.Check(list), &wrong) {
		return list, nil
	}
	var passed []passedOver
	for _, e := range wrong {
		name := list[e.Index].Name
		if !described[name] {
			continue // of the settings, which are refused as a whole; or of its allowApps, see withoutUnknown
		}
		if !slices.ContainsFunc(passed, func(p passedOver) bool { return p.app == name }) {
			passed = append(passed, passedOver{name, "the description of the network has it, and nobody can sign in with it here: " + e.Field + ": " + e.Problem})
		}
	}
	return slices.DeleteFunc(list, func(a apps.App) bool {
		return slices.ContainsFunc(passed, func(p passedOver) bool { return p.app == a.Name })
	}), passed
}

// withoutUnknown takes out of allowApps what is no app.
func withoutUnknown(list []apps.App) ([]apps.App, []passedOver) {
	var passed []passedOver
	for i := range list {
		a := &list[i]
		a.AllowApps = slices.DeleteFunc(slices.Clone(a.AllowApps), func(other string) bool {
			known := slices.ContainsFunc(list, func(b apps.App) bool { return b.Name == other })
			if !known {
				passed = append(passed, passedOver{a.Name, "its allowApps names " + other + ", which is no app of the settings or of the network"})
			}
			return !known
		})
	}
	return list, passed
}
