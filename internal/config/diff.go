package config

import (
	"fmt"
	"maps"
	"reflect"
)

// Changes names the keys in which two settings differ; "apps" stands for all
// of the apps.
type Changes struct {
	Live    []string // take effect at run time
	Restart []string // take a restart
}

// Diff says in which keys two settings differ.
func Diff(old, new Settings) Changes {
	var c Changes
	note := func(name string, live bool) {
		if live {
			c.Live = append(c.Live, name)
		} else {
			c.Restart = append(c.Restart, name)
		}
	}
	if !reflect.DeepEqual(old.Apps, new.Apps) || old.Demo != new.Demo {
		note("apps", true)
	}
	if !reflect.DeepEqual(old.Chat.Webhooks, new.Chat.Webhooks) {
		note("chat.webhooks", false)
	}
	if len(old.Gateway.Routes)+len(new.Gateway.Routes) > 0 && !reflect.DeepEqual(old.Gateway.Routes, new.Gateway.Routes) {
		note(gatewayRoutes, true)
	}
	for _, k := range Keys() {
		if k.field != nil && k.text(&old) != k.text(&new) {
			note(k.Name, k.Live)
		}
	}
	return c
}

// Adopt returns the running settings with everything from wanted that may
// change at run time. It fails when the two do not go together, as when the
// apps are taken away from a process that others can reach.
func Adopt(running, wanted Settings) (Settings, error) {
	next := running
	next.Apps, next.Demo = wanted.Apps, wanted.Demo
	next.Gateway.Routes = wanted.Gateway.Routes
	next.hidden = maps.Clone(running.hidden)
	if next.hidden == nil {
		next.hidden = map[string]bool{}
	}
	maps.Copy(next.hidden, wanted.hidden)
	for _, k := range Keys() {
		if k.field == nil || !k.Live {
			continue
		}
		if err := k.set(&next, k.text(&wanted)); err != nil {
			return Settings{}, fmt.Errorf("adopt %s: %w", k.Name, err)
		}
	}
	if err := next.Check(); err != nil {
		return Settings{}, err
	}
	return next, nil
}
