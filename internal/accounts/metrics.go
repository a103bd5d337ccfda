package accounts

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what happens with accounts.
type metrics struct {
	made, deleted, reused, revoked prometheus.Counter
	signIns                        *prometheus.CounterVec // outcome
}

func newMetrics(reg prometheus.Registerer, r *Room) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		made:    counter("switchboard_accounts_made_total", "Accounts that were made."),
		deleted: counter("switchboard_accounts_deleted_total", "Accounts that were deleted by their owners."),
		reused:  counter("switchboard_accounts_refresh_reused_total", "Refresh tokens that were used a second time, so that their sessions were ended."),
		revoked: counter("switchboard_accounts_closed_total", "Sockets that were closed because the account's session ended on which they rested."),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_accounts_sign_ins_total", Help: "Attempts to sign in with a password: ok, wrong, or slowed (refused because too many had failed).",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{"ok", "wrong", "slowed"} {
		m.signIns.WithLabelValues(outcome)
	}
	if reg == nil {
		return m, nil
	}
	var failed []error
	for _, c := range []prometheus.Collector{
		m.made, m.deleted, m.reused, m.revoked, m.signIns,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "switchboard_accounts_hashes_total", Help: "Hashes of passwords that were computed.",
		}, func() float64 { return float64(r.hashes.made.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_accounts_sockets", Help: "Sockets that rest on sessions of accounts.",
		}, func() float64 { return float64(r.sockets()) }),
	} {
		failed = append(failed, reg.Register(c))
	}
	return m, errors.Join(failed...)
}
