package domains

import "github.com/seed-3d8c1042/switchboard/wire"

// Limits of a description. They are far beyond what anybody describes by hand
// (a domain is a site), and keep what a stranger's text can cost within a second
// and some hundred MiB.
const (
	// MaxFile is the largest YAML file, in bytes.
	MaxFile = 1 << 20
	// MaxJSON is the largest description as JSON, in bytes. JSON needs more room
	// than YAML for the same, and YAML may say a thing once and refer to it.
	MaxJSON = 4 << 20
	// MaxDomains, MaxLinks and MaxApps are how many entries the lists may have.
	MaxDomains = 1000
	MaxLinks   = 10_000
	MaxApps    = 1000
	// MaxRanges is how many ranges one app may have.
	MaxRanges = 1000
	// MaxURLs is how many URLs one domain may have: they are tried in turn.
	MaxURLs = 16
	// MaxCost is the greatest cost of a link: the cost of the longest path still
	// fits into 32 bits.
	MaxCost = 1_000_000
	// MaxName is the longest name of a domain: "link_" and the name is the name of
	// an app.
	MaxName = wire.MaxAppName - len(linkPrefix)
	// MaxVersion is the greatest version: readers of JSON that keep numbers as
	// floating point tell versions apart up to here.
	MaxVersion = 1<<53 - 1

	maxURL   = 2048 // bytes; what HTTP servers and proxies commonly take
	maxAppID = 256  // bytes, as in the settings of a node
	// maxEntries is how many keys and items of lists are read. A file of good
	// entries is full before; only aliases of aliases reach it.
	maxEntries = 1 << 18
	// maxNodes is the same for JSON, in values and keys: an entry makes two, and
	// what was left out of the file is written out.
	maxNodes = 2*maxEntries + 100_000
	// maxProblems is how many problems are said one by one. Nobody reads more,
	// and a file of rubbish would fill the log.
	maxProblems = 100
)
