package meta

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/prometheus/client_golang/prometheus"
)

// The environment variables of credentials for a repository elsewhere.
const (
	EnvUsername      = "SWITCHBOARD_GIT_USERNAME"
	EnvPassword      = "SWITCHBOARD_GIT_PASSWORD"
	EnvSSHKey        = "SWITCHBOARD_GIT_SSH_KEY"
	EnvSSHPassphrase = "SWITCHBOARD_GIT_SSH_PASSPHRASE"
)

// Defaults of the options, and their bounds.
const (
	DefaultListen = "127.0.0.1:9000"
	DefaultData   = "./meta"
	DefaultBranch = "main"
	DefaultEvery  = 10 * time.Second
	// DefaultEveryHere is for what is on this machine, where a look costs next to
	// nothing.
	DefaultEveryHere = time.Second

	// leastEvery keeps a mistyped time from loading a repository's host.
	leastEvery = 100 * time.Millisecond
	// leastSecret is how long the secret must be: whoever has it reads the
	// description, with the passwords in its authUrls.
	leastSecret = 16
)

// Credentials are for a Git repository elsewhere. They are never logged.
type Credentials struct {
	Username, Password    string // over HTTPS; the password may be a token
	SSHKey, SSHPassphrase string // a file with a private key; without one the SSH agent is asked
}

// envPrefix begins every variable that is about Git.
const envPrefix = "SWITCHBOARD_GIT_"

// CredentialsFrom reads the credentials from an environment. A variable that is
// nearly one of them is an error: it would be missed.
func CredentialsFrom(environ []string) (Credentials, error) {
	var c Credentials
	fields := map[string]*string{EnvUsername: &c.Username, EnvPassword: &c.Password, EnvSSHKey: &c.SSHKey, EnvSSHPassphrase: &c.SSHPassphrase}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if field, ok := fields[name]; ok {
			*field = value
		} else if strings.HasPrefix(name, envPrefix) && value != "" {
			return Credentials{}, fmt.Errorf("%s: unknown variable: there are %s, %s, %s and %s", name, EnvUsername, EnvPassword, EnvSSHKey, EnvSSHPassphrase)
		}
	}
	return c, nil
}

// Options say what is served, and how.
type Options struct {
	Config string // the description's file: a path, or with Git the path in the repository; empty for none
	// Settings is the folder of the settings of services, as Config is the file; empty for
	// none. There is one of the two.
	Settings string
	Git      string        // a repository: a path, or a URL; empty for a plain file and folder
	Branch   string        // of the repository (DefaultBranch)
	Every    time.Duration // between two looks (DefaultEvery, or DefaultEveryHere)
	Data     string        // the data folder (DefaultData)
	Listen   string        // host:port (DefaultListen); port 0 takes any that is free
	Secret   string        // what readers have to show; empty for none

	// TLSCert and TLSKey are files in PEM, which are read again when they change; empty:
	// readers talk in clear.
	TLSCert, TLSKey string

	Credentials Credentials
	Look        <-chan struct{} // look at once; nil for never
	Version     string          // of the program
	Out         io.Writer       // where the lines of the start go (nowhere)
	Log         *slog.Logger    // (nowhere)
	Metrics     *prometheus.Registry
	Now         func() time.Time

	// For tests; 0 for the constants of these names.
	after       func(time.Duration) <-chan time.Time
	keepAlive   time.Duration
	header      time.Duration
	streams     int
	connections int
}

// Wrong is an option that is not good.
type Wrong struct {
	Option string // as its flag is called
	Reason string
}

// Error returns a sentence.
func (w *Wrong) Error() string { return "--" + w.Option + " " + w.Reason }

func wrong(option, format string, args ...any) error {
	return &Wrong{option, fmt.Sprintf(format, args...)}
}

// fill puts defaults where nothing is said.
func (o *Options) fill() {
	text := func(to *string, standard string) {
		if *to == "" {
			*to = standard
		}
	}
	if o.Git != "" {
		text(&o.Branch, DefaultBranch)
	}
	text(&o.Data, DefaultData)
	text(&o.Listen, DefaultListen)
	if o.Every == 0 {
		o.Every = DefaultEvery
		if endpoint, err := transport.NewEndpoint(o.Git); o.Git == "" || err == nil && endpoint.Protocol == "file" {
			o.Every = DefaultEveryHere
		}
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.after == nil {
		o.after = time.After
	}
	if o.keepAlive == 0 {
		o.keepAlive = keepAlive
	}
	if o.header == 0 {
		o.header = headerTime
	}
	if o.streams == 0 {
		o.streams = maxStreams
	}
	if o.connections == 0 {
		o.connections = maxConnections
	}
}

// check returns what is wrong with the options, which are filled.
func (o *Options) check() error {
	var errs []error
	if o.Config == "" && o.Settings == "" {
		errs = append(errs, wrong("config", "is required: the YAML file that describes the network; or --settings, the folder of the settings of services"))
	}
	if o.Every < leastEvery {
		errs = append(errs, wrong("every", "%s is too short: at least %s", o.Every, leastEvery))
	}
	if o.Secret != "" && len(o.Secret) < leastSecret {
		errs = append(errs, wrong("secret-file", "holds a secret that is too short: at least %d bytes, as openssl rand -hex 32 makes", leastSecret))
	}
	if strings.ContainsFunc(o.Secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, wrong("secret-file", "holds a secret that no HTTP header can carry: letters, digits and signs of ASCII, without spaces"))
	}
	if (o.TLSCert == "") != (o.TLSKey == "") {
		errs = append(errs, wrong("tls-cert", "and --tls-key go together: a certificate and its key"))
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		errs = append(errs, wrong("listen", "%s is no address: write HOST:PORT, as in %s", o.Listen, DefaultListen))
	}
	return errors.Join(append(errs, o.checkGit())...)
}

func (o *Options) checkGit() error {
	switch {
	case o.Git == "" && o.Branch != "":
		return wrong("branch", "%s is of a Git repository: name that with --git, or take --branch away", o.Branch)
	case o.Git == "":
		return nil
	}
	outside := func(name string) bool {
		inside := filepath.ToSlash(name)
		return path.IsAbs(inside) || inside != "" && !filepath.IsLocal(inside)
	}
	if outside(o.Config) {
		return wrong("config", "%s is not a path inside the repository: with --git, name the file as it is called there, as in network.yaml", o.Config)
	}
	if outside(o.Settings) {
		return wrong("settings", "%s is not a path inside the repository: with --git, name the folder as it is called there, as in settings, or . for all of it", o.Settings)
	}
	if plumbing.NewBranchReferenceName(o.Branch).Validate() != nil {
		return wrong("branch", "%s is not the name of a branch", o.Branch)
	}
	u, err := url.Parse(o.Git)
	if err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			return wrong("git", "holds a password, which others on this machine can read: put it into %s", EnvPassword)
		}
	}
	endpoint, err := transport.NewEndpoint(o.Git)
	if err != nil {
		return wrong("git", "is neither a path nor a URL of a repository")
	}
	switch endpoint.Protocol {
	case "file", "https", "ssh":
	case "http":
		if o.Credentials.Password != "" && !loopback(endpoint.Host) {
			return wrong("git", "%s is not encrypted, and there is a password in %s: use https://", o.Git, EnvPassword)
		}
	default:
		return wrong("git", "%s: use https://, ssh://, file:// or a path", o.Git)
	}
	return nil
}

// loopback says whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// networkSource returns where the description stands. The options were checked.
func (o *Options) networkSource() (source, error) {
	if o.Git == "" {
		return &file{path: o.Config, after: o.after}, nil
	}
	return o.gitSource(oneFile(inRepository(o.Config)), scratchName)
}

// settingsSource returns where the settings stand, likewise.
func (o *Options) settingsSource() (source, error) {
	if o.Git == "" {
		return &folder{path: o.Settings, after: o.after}, nil
	}
	return o.gitSource(settingsFolder(inRepository(o.Settings)), scratchName+"-settings")
}

func inRepository(name string) string { return path.Clean(filepath.ToSlash(name)) }

func (o *Options) gitSource(read reading, scratch string) (source, error) {
	endpoint, err := transport.NewEndpoint(o.Git)
	if err != nil {
		return nil, fmt.Errorf("read --git: %w", err)
	}
	if endpoint.Protocol == "file" {
		return &repository{path: endpoint.Path, branch: o.Branch, read: read}, nil
	}
	auth, err := o.Credentials.method(*endpoint)
	if err != nil {
		return nil, err
	}
	return newRemote(*endpoint, auth, o.Branch, read, filepath.Join(o.Data, scratch)), nil
}

// ReadSecret reads a secret from a file: its first line.
func ReadSecret(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("the secret cannot be read: %s: %w", name, cause(err))
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("the secret cannot be read: %s is empty", name)
	}
	return secret, nil
}
