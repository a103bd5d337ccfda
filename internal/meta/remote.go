package meta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// lookTime bounds one look at a repository elsewhere, a snapshot that is
	// fetched included.
	lookTime = time.Minute
	// graceTime is how long a look that was told to end may take to do so.
	graceTime = time.Second
	// largestPack is how large a snapshot of a repository may be, compressed. A
	// description has 1 MiB at most; a repository of settings is far below this.
	largestPack = 64 << 20
	// largestFile is the size from on which a server that can leaves files out, in
	// KiB: the parser would refuse them.
	largestFile = longestText/1024 + 1
)

// remote is a description on a branch of a Git repository elsewhere. A look asks
// for the branch's commit; a new one is fetched as a snapshot without history
// (with it where the server gives no other), read, and removed again.
type remote struct {
	url      string // without a password
	endpoint transport.Endpoint
	client   transport.Transport
	auth     transport.AuthMethod // nil: none
	branch   string
	read     reading
	scratch  string // a folder of its own, which exists during a fetch
	time     time.Duration
	size     int64

	busy   chan struct{} // holds one while no look is under way
	commit plumbing.Hash // that known is of
	known  content
}

// newRemote makes a source of a URL that was checked.
func newRemote(endpoint transport.Endpoint, auth transport.AuthMethod, branch string, read reading, scratch string) *remote {
	r := &remote{
		endpoint: endpoint, auth: auth, branch: branch, read: read, scratch: scratch,
		time: lookTime, size: largestPack, url: endpoint.String(), busy: make(chan struct{}, 1),
	}
	r.busy <- struct{}{}
	if endpoint.Protocol == "ssh" {
		r.client = gitssh.DefaultClient
		return r
	}
	r.client = githttp.NewClient(&http.Client{Transport: &limited{http.DefaultTransport, r.size}})
	return r
}

// String returns the URL, without credentials.
func (r *remote) String() string { return r.url }

// asked is what a look brought.
type asked struct {
	found  content
	commit plumbing.Hash
	err    error
}

// look does what it does in a goroutine: a server that speaks SSH may accept a
// connection and stay silent, and nothing ends the library's wait for it. Such a
// look is left behind, at most one at any time.
func (r *remote) look(ctx context.Context) (content, error) {
	select {
	case <-r.busy:
	default:
		return content{}, troubled(troubleRepository, "%s still does not answer", r.url)
	}
	bounded, cancel := context.WithTimeout(ctx, r.time)
	defer cancel()
	answers, known := make(chan asked, 1), r.commit
	go func() {
		found, commit, err := r.ask(bounded, known)
		r.busy <- struct{}{} // before the answer: whoever has that may look again
		answers <- asked{found, commit, err}
	}()
	late := troubled(troubleRepository, "%s does not answer within %s", r.url, r.time)
	var answer asked
	select {
	case answer = <-answers:
	case <-bounded.Done():
		select {
		case answer = <-answers: // a look that heeds the context ends now
		case <-time.After(graceTime):
			answer.err = late
		}
	}
	switch {
	case ctx.Err() != nil:
		return content{}, ctx.Err()
	case answer.err != nil && bounded.Err() != nil:
		return content{}, late
	case answer.err != nil:
		return content{}, r.explain(answer.err)
	case answer.commit != known:
		r.commit, r.known = answer.commit, answer.found
	}
	return r.known, nil
}

// ask asks for the branch's commit, and for its content if that is not known.
func (r *remote) ask(ctx context.Context, known plumbing.Hash) (found content, commit plumbing.Hash, err error) {
	endpoint := r.endpoint // a redirect changes it
	session, err := r.client.NewUploadPackSession(&endpoint, r.auth)
	if err != nil {
		return content{}, commit, err
	}
	defer session.Close() // what it had to say was read, or an error says more
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return content{}, commit, err
	}
	commit, ok := refs.References[plumbing.NewBranchReferenceName(r.branch).String()]
	if !ok {
		return content{}, commit, noBranch(r.branch, r.url, branchesIn(refs))
	}
	if commit == known {
		return content{}, commit, nil
	}
	found, err = r.fetch(ctx, session, refs, commit)
	return found, commit, err
}

// fetch fetches a commit into the scratch folder and reads the file.
func (r *remote) fetch(ctx context.Context, session transport.UploadPackSession, refs *packp.AdvRefs, commit plumbing.Hash) (found content, err error) {
	// A process that was killed may have left one.
	if err := os.RemoveAll(r.scratch); err != nil {
		return content{}, troubled(troubleDisk, "the folder for snapshots cannot be emptied: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.scratch)) }()
	request := snapshotOf(commit, refs.Capabilities)
	answer, err := session.UploadPack(ctx, request)
	if err != nil {
		return content{}, err
	}
	defer answer.Close() // it was read to its end, or an error says more
	pack := &limit{r: answer, left: r.size}
	objects := filesystem.NewStorage(osfs.New(r.scratch), cache.NewObjectLRU(cache.MiByte))
	err = packfile.UpdateObjectStorage(objects, demultiplexed(request.Capabilities, pack))
	switch {
	case pack.hit:
		return content{}, troubled(troubleRepository, "a snapshot of %s is larger than %d MiB: keep the description in a repository of its own", r.url, r.size>>20)
	case err != nil:
		return content{}, err
	}
	return readCommit(objects, commit, r.read, r.url)
}

// snapshotOf makes the request for one commit without its history, as far as the
// server can.
func snapshotOf(commit plumbing.Hash, can *capability.List) *packp.UploadPackRequest {
	request := packp.NewUploadPackRequestFromCapabilities(can)
	request.Wants = []plumbing.Hash{commit}
	// None of these takes an argument, so setting them cannot fail.
	if can.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
		_ = request.Capabilities.Set(capability.Shallow)
	}
	if can.Supports(capability.Filter) {
		request.Filter = packp.FilterBlobLimit(largestFile, packp.BlobLimitPrefixKibi)
		_ = request.Capabilities.Set(capability.Filter)
	}
	if can.Supports(capability.NoProgress) {
		_ = request.Capabilities.Set(capability.NoProgress)
	}
	return request
}

// demultiplexed returns the pack alone of an answer that carries messages, too.
func demultiplexed(agreed *capability.List, r io.Reader) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// explain says what an error of the library means, and what to do.
func (r *remote) explain(err error) error {
	var known *trouble
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return noBranch(r.branch, r.url, nil)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return troubled(troubleRepository, "there is no Git repository at %s, or not for these credentials", r.url)
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		// Of HTTP; SSH's errors have no names, only texts.
		if r.auth == nil {
			return troubled(troubleAccess, "%s asks who we are: set %s and %s", r.url, EnvUsername, EnvPassword)
		}
		return troubled(troubleAccess, "%s does not take the credentials in %s and %s", r.url, EnvUsername, EnvPassword)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return troubled(troubleAccess, "%s does not take the key: name one that it knows in %s (%w)", r.url, EnvSSHKey, err)
	case strings.Contains(err.Error(), "SSH agent"):
		return troubled(troubleAccess, "%s takes a key: name its file in %s, or start an SSH agent (%w)", r.url, EnvSSHKey, err)
	case strings.Contains(err.Error(), "knownhosts:"):
		return troubled(troubleAccess, "the key of the host of %s is not the one in known_hosts (%w)", r.url, err)
	}
	return troubled(troubleRepository, "%s cannot be read: %w", r.url, err)
}

// branchesIn returns the names of the branches that a server advertises.
func branchesIn(refs *packp.AdvRefs) []string {
	var names []string
	for name := range refs.References {
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			names = append(names, branch)
		}
	}
	return names
}

// limit is a reader that fails when it has given what it may.
type limit struct {
	r    io.Reader
	left int64
	hit  bool
}

// Read implements io.Reader.
func (l *limit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		l.hit = true
		return 0, errors.New("the answer is too large")
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// limited bounds each answer of a server.
type limited struct {
	http.RoundTripper
	size int64
}

// RoundTrip implements http.RoundTripper.
func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		// A little more than a pack may have: what stands around it.
		bounded := &limit{r: answer.Body, left: l.size + l.size/8}
		answer.Body = struct {
			io.Reader
			io.Closer
		}{bounded, answer.Body}
	}
	return answer, err
}

// method returns how to sign in at a repository, out of what the environment
// says; nil for not at all.
func (c Credentials) method(endpoint transport.Endpoint) (transport.AuthMethod, error) {
	if endpoint.Protocol != "ssh" {
		if c.Password == "" {
			return nil, nil
		}
		name := c.Username
		if name == "" {
			name = endpoint.User
		}
		if name == "" {
			name = "git" // hosts that take tokens want a name, and take any
		}
		return &githttp.BasicAuth{Username: name, Password: c.Password}, nil
	}
	name := endpoint.User
	if name == "" {
		name = gitssh.DefaultUsername
	}
	if c.SSHKey == "" {
		return nil, nil // the library asks the SSH agent
	}
	keys, err := gitssh.NewPublicKeysFromFile(name, c.SSHKey, c.SSHPassphrase)
	if err != nil {
		return nil, fmt.Errorf("the key in %s cannot be used: %w", EnvSSHKey, err)
	}
	return keys, nil
}
