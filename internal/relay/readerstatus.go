package relay

import (
	"encoding/json"
	"fmt"
	"io"
)

// Bounds of a status, which hold while it is read: few bytes of JSON may be many in
// memory. A network server of ours is within them, with all that it may keep.
const (
	maxStatus   = 48 << 20       // bytes: of the reports, and of members without one
	maxTold     = 16 * maxReport // bytes of one report, or member; every character may be written as six
	mostTargets = maxReportBytes/leastTarget + maxTargets
)

// readStatus reads a status.
func readStatus(from io.Reader) (Status, error) {
	r := &statusReader{pieces: newPieces(from, maxStatus, maxTold, "a name, a member or a program")}
	err := r.object(r.member)
	if err == nil {
		err = r.nothingMore()
	}
	switch {
	case err == nil:
		return r.status, nil
	case r.broke != nil:
		return Status{}, r.broke
	}
	return Status{}, fmt.Errorf("its answer is no status: %w", err)
}

// statusReader reads a status piece by piece.
type statusReader struct {
	*pieces
	status  Status
	members int // and clusters
	targets int
}

func (r *statusReader) member(name string) error {
	switch name {
	case "version":
		return r.value(&r.status.Version)
	case "started":
		return r.value(&r.status.Started)
	case "now":
		return r.value(&r.status.Now)
	case "clusters":
		return r.list(r.cluster)
	case "programs":
		return r.list(r.program)
	}
	return r.value(new(json.RawMessage)) // of a newer version
}

func (r *statusReader) cluster() error {
	var c ClusterStatus
	err := r.object(func(name string) error {
		switch name {
		case "name":
			return r.value(&c.Name)
		case "members":
			return r.list(func() error { return r.clusterMember(&c) })
		}
		return r.value(new(json.RawMessage)) // likewise
	})
	if err == nil {
		err = r.another() // a cluster without members takes memory, too
	}
	r.status.Clusters = append(r.status.Clusters, c)
	return err
}

func (r *statusReader) clusterMember(c *ClusterStatus) error {
	var m MemberStatus
	err := r.value(&m)
	if err == nil && m.Report != nil {
		err = r.bound(m.Report)
	}
	if err == nil {
		err = r.another()
	}
	c.Members = append(c.Members, m)
	return err
}

// another counts a member or a cluster.
func (r *statusReader) another() error {
	if r.members++; r.members > 2*maxKnown {
		return tooMuch("members and clusters", 2*maxKnown)
	}
	return nil
}

func (r *statusReader) program() error {
	var p ReportStatus
	err := r.value(&p)
	if err == nil {
		err = r.bound(&p.Report)
	}
	r.status.Programs = append(r.status.Programs, p)
	if err == nil && len(r.status.Programs) > maxReports {
		err = tooMuch("programs", maxReports)
	}
	return err
}

// bound lets go of what no report of ours has.
func (r *statusReader) bound(told *Report) error {
	told.bound()
	if r.targets += len(told.Targets); r.targets > mostTargets {
		return tooMuch("collectors in reports", mostTargets)
	}
	return nil
}

func tooMuch(what string, most int) error { return fmt.Errorf("more than %d %s", most, what) }
