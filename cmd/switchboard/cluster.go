package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// clusterCommands are about the nodes of a cluster.
type clusterCommands struct {
	Status clusterStatusCommand `cmd:"" set:"key=with the scope stats:read" help:"List the nodes that the node on a data folder, or at a URL, knows. Exit code 1 when one of them is unreachable."`
	Remove clusterRemoveCommand `cmd:"" set:"key=an admin key" help:"Take out a processor that is gone for good, and wait until the others have copies of all that it had. Exit code 1 when it is alive, unknown, or needed."`
}

// clusterStatusCommand lists the nodes.
type clusterStatusCommand struct {
	nodeFlags
}

// clusterAnswer is what a node says of its cluster.
type clusterAnswer struct {
	Members []struct {
		ID       string    `json:"id"`
		Name     string    `json:"name"`
		Address  string    `json:"address"`
		Status   string    `json:"status"`
		Roles    []string  `json:"roles"`
		Version  string    `json:"version"`
		Sessions int       `json:"sessions"`
		Load     float64   `json:"load"`
		Since    time.Time `json:"since"`
		Reason   string    `json:"reason"`
		Self     bool      `json:"self"`
		Copies   *share    `json:"copies"`
	} `json:"members"`
	Store *struct {
		Streams int      `json:"streams"`
		Short   []string `json:"short"`
		Due     []string `json:"due"`
		Gone    []struct {
			Name string `json:"name"`
			share
		} `json:"gone"`
	} `json:"store"`
}

// share is of what a node has copies.
type share struct {
	Streams int `json:"streams"`
	Behind  int `json:"behind"`
}

// String returns "11" or "11 (2 behind)".
func (s *share) String() string {
	switch {
	case s == nil:
		return "-"
	case s.Behind > 0:
		return fmt.Sprintf("%d (%d behind)", s.Streams, s.Behind)
	}
	return fmt.Sprint(s.Streams)
}

// Run implements the command.
func (c clusterStatusCommand) Run(p *program) error {
	n, err := c.node(p)
	if err != nil {
		return fmt.Errorf("cluster status: %w", err)
	}
	var answer clusterAnswer
	raw, err := n.call(context.Background(), "GET", "/v1/cluster", nil, &answer)
	if err != nil {
		return fmt.Errorf("cluster status: %w", err)
	}
	var away []string
	for _, m := range answer.Members {
		if m.Status == "unreachable" {
			away = append(away, m.Name)
		}
	}
	if answer.Store != nil {
		for _, g := range answer.Store.Gone {
			if !slices.Contains(away, g.Name) {
				away = append(away, g.Name)
			}
		}
	}
	if c.JSON {
		_, err = p.out.Write(raw)
	} else {
		err = answer.write(p)
	}
	if err == nil && len(away) > 0 {
		err = fmt.Errorf("cluster status: unreachable: %s", strings.Join(away, ", "))
	}
	return err
}

// write prints the table, and below it what the node says of itself.
func (a clusterAnswer) write(p *program) error {
	table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATUS\tSINCE\tADDRESS\tROLES\tVERSION\tSESSIONS\tLOAD\tCOPIES\tID")
	for _, m := range a.Members {
		name := m.Name
		if m.Self {
			name += " (this)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.2f\t%s\t%s\n", name, m.Status, m.Since.UTC().Format("2006-01-02T15:04:05Z"),
			orDash(m.Address), strings.Join(m.Roles, ","), m.Version, m.Sessions, m.Load, m.Copies, m.ID)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, m := range a.Members {
		if m.Reason != "" {
			fmt.Fprintf(p.out, "%s: %s\n", m.Name, m.Reason)
		}
	}
	if a.Store == nil {
		return nil
	}
	for _, g := range a.Store.Gone {
		fmt.Fprintf(p.out, "%s is not there, and counts for a majority; if it is gone for good: switchboard cluster remove %s\n", g.Name, g.Name)
	}
	if short := len(a.Store.Short); short > 0 {
		fmt.Fprintf(p.out, "%d of %d streams have fewer complete copies than they should\n", short, a.Store.Streams)
	}
	return nil
}
