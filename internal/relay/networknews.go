package relay

import (
	"log/slog"
	"time"
)

// newsTime is the least between two lines of the log about members of one kind.
const newsTime = time.Second

// networkNews is what became of members since the log told of it: however many come or
// go at once, it is a line of each kind.
type networkNews struct {
	told    time.Time // the last line
	joined  gathered
	dropped gathered
	removed gathered
	by      string // who had them removed; "several" for more than one
}

// gathered are members to which the same happened.
type gathered struct {
	count int
	first registered
}

func (g *gathered) add(m *registered) {
	if g.count++; g.count == 1 {
		g.first = *m
	}
}

func (k *networkNews) remove(m *registered, by string) {
	if k.removed.count > 0 && k.by != by {
		by = "several"
	}
	k.by = by
	k.removed.add(m)
}

// say logs what was gathered: which one, or how many.
func (g *gathered) say(level func(string, ...any), one, many string, more ...any) {
	switch m := &g.first; g.count {
	case 0:
	case 1:
		level(one, append([]any{"cluster", m.cluster, "id", m.id, "address", m.address, "port", m.port}, more...)...)
	default:
		level(many, append([]any{"count", g.count, "firstCluster", m.cluster, "firstId", m.id}, more...)...)
	}
}

func (k *networkNews) say(log *slog.Logger) {
	k.removed.say(log.Info, "removed by request", "many were removed by request", "by", k.by)
	k.dropped.say(log.Warn, "a collector missed its heartbeats and is dropped", "many collectors missed their heartbeats and are dropped")
	k.joined.say(log.Info, "a collector is there", "many collectors are there")
}

// tellNews logs what became of members, unless that was done a moment ago: then it is
// for the next look, or the end.
func (n *networkServer) tellNews(atOnce bool) {
	n.mu.Lock()
	now, news := n.now(), n.news
	if since := now.Sub(news.told); news.joined.count+news.dropped.count+news.removed.count == 0 ||
		!atOnce && since >= 0 && since < newsTime {
		n.mu.Unlock()
		return
	}
	n.news = networkNews{told: now}
	n.mu.Unlock()
	news.say(n.log)
}
