// Command switchboard connects people, devices and services over WebSockets.
//
// Usage:
//
//	switchboard serve [--config F] [--listen A] [--admin A] [--data D] [--roles R] [--nats URL] …
//	switchboard config check F
//	switchboard config print [--config F] …
//	switchboard config init [F]
//	switchboard keys create|list|revoke …
//	switchboard cluster status|remove [--data D] …
//	switchboard register --name S --url U … -- command …
//	switchboard meta --config F [--git R] [--listen A] [--data D] …
//	switchboard meta check F
//	switchboard trace USER [--data D] …
//	switchboard bench messaging|baseline|matching|traffic|suite|compare …
//	switchboard demo relay [--static] [--data D] [--listen A]
//	switchboard doctor --url U …
//	switchboard health [--data D | --url U] [--alive]
//	switchboard version | --version
//	switchboard help [COMMAND] | [COMMAND] --help
//
// It exits with 0 when all went well, 1 when something failed, settings in the
// file or the environment that are not good included, and 2 when the command
// line is wrong, a bad value in a flag included. SIGINT and SIGTERM stop a running serve or a running meta gracefully, and
// end a running bench early; a second one ends the process at once. SIGHUP makes
// serve read its settings again, and meta look at its description.
//
// Signals and exit codes are known here and nowhere else in the program.
package main

import (
	"os"
	"os/signal"
	"syscall"

	// Certificates of public authorities, for where the system has none, as in an image
	// from scratch. Those of the system, and of SSL_CERT_FILE, go before.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/seed-3d8c1042/switchboard/internal/node"
)

// version is stamped by the build (-X main.version=…).
var version string

// allSignals are those that concern us.
var allSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

func main() {
	p := &program{
		out:     os.Stdout,
		err:     os.Stderr,
		environ: os.Environ(),
		version: buildVersion(version),
		serve:   node.Run,
		listen: func(signals chan<- os.Signal, which ...os.Signal) (stop func()) {
			signal.Notify(signals, which...)
			return func() { signal.Stop(signals) }
		},
		exit: os.Exit,
	}
	os.Exit(p.run(os.Args[1:]))
}
