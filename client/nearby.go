package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Position is where somebody is. Lat and Lon are degrees; the others may be absent.
type Position struct {
	Lat      float64    `json:"lat"`
	Lon      float64    `json:"lon"`
	At       *time.Time `json:"at,omitempty"`
	Accuracy *float64   `json:"accuracy,omitempty"` // metres
	Heading  *float64   `json:"heading,omitempty"`  // degrees, clockwise from north
	Speed    *float64   `json:"speed,omitempty"`    // metres a second
}

// Area is what somebody looks at: a circle around Lat and Lon of Radius metres, or a box.
type Area struct {
	Lat, Lon, Radius float64
	// Box is west, south, east and north in degrees, in place of the circle; it crosses
	// the antimeridian when east is below west.
	Box *[4]float64
}

// Neighbour is somebody who is seen.
type Neighbour struct {
	UserID wire.UserID `json:"userId"`
	Name   string      `json:"name"` // empty for none
	Position
	Distance float64 `json:"distance"` // metres
}

// Crowd is how many are in one part of an area.
type Crowd struct {
	Lat   float64 `json:"lat"` // of its middle
	Lon   float64 `json:"lon"`
	Count int     `json:"count"` // 0: nobody any more
}

// Nearby is the Data of a wire.TypeNearby, which is all that is in view; and of a
// wire.TypeNearbyEnter and wire.TypeNearbyMove, which is what has changed.
type Nearby struct {
	ID    string      `json:"id"`
	Users []Neighbour `json:"users"`
	Cells []Crowd     `json:"cells"` // in place of Users, where there are too many
	Total int         `json:"total"` // in view, of a wire.TypeNearby alone: 0 in the others; see [NearbyView.Total]
}

// NearbyLeave is the Data of a wire.TypeNearbyLeave.
type NearbyLeave struct {
	ID    string        `json:"id"`
	Users []wire.UserID `json:"users"`
}

// NearbyView is what is in view of one watch: what comes to OnFrame, added up. It is for
// one goroutine at a time.
type NearbyView struct {
	// Users is who is in view, by user ID. It is empty where Cells are told.
	Users map[wire.UserID]Neighbour
	// Cells is how many are where, by Lat and Lon; nil where users are told.
	Cells map[[2]float64]Crowd

	id string
}

// NewNearbyView returns the view of the watch with this ID, which is empty at first.
func NewNearbyView(id string) *NearbyView {
	return &NearbyView{Users: make(map[wire.UserID]Neighbour), id: id}
}

// Take takes in what came; false when it is about another watch, or something else.
func (v *NearbyView) Take(f wire.ServerFrame) bool {
	switch f.Type {
	case wire.TypeNearbyLeave:
		var left NearbyLeave
		if json.Unmarshal(f.Data, &left) != nil || left.ID != v.id {
			return false
		}
		for _, user := range left.Users {
			delete(v.Users, user)
		}
		return true
	case wire.TypeNearby, wire.TypeNearbyEnter, wire.TypeNearbyMove:
		var n Nearby
		if json.Unmarshal(f.Data, &n) != nil || n.ID != v.id {
			return false
		}
		if f.Type == wire.TypeNearby {
			v.begin(&n)
		}
		v.add(&n)
		return true
	}
	return false
}

// begin forgets what was in view.
func (v *NearbyView) begin(n *Nearby) {
	clear(v.Users)
	v.Cells = nil
	if n.Cells != nil {
		v.Cells = make(map[[2]float64]Crowd)
	}
}

func (v *NearbyView) add(n *Nearby) {
	for _, user := range n.Users {
		v.Users[user.UserID] = user
	}
	if v.Cells == nil {
		return
	}
	for _, cell := range n.Cells {
		at := [2]float64{cell.Lat, cell.Lon}
		v.Cells[at] = cell
		if cell.Count == 0 {
			delete(v.Cells, at)
		}
	}
}

// Total is how many are in view.
func (v *NearbyView) Total() int {
	total := len(v.Users)
	for _, cell := range v.Cells {
		total += cell.Count
	}
	return total
}

// SetPosition says where the user is. nil means that it has left this process; what the
// server refuses comes to OnError.
func (c *Client) SetPosition(ctx context.Context, p Position) error {
	return c.say(ctx, wire.TypePosition, p)
}

// HidePosition has the server forget where the user is, and returns when it has.
func (c *Client) HidePosition(ctx context.Context) error {
	_, err := c.Ask(ctx, wire.TypePositionHide, struct{}{})
	return err
}

// WatchNearby looks at an area, in place of what was looked at under this ID, and returns
// who is there now. That, and what changes, comes to OnFrame as well, and a [NearbyView]
// adds it up. Watches end with the
// connection: after it was lost look again.
func (c *Client) WatchNearby(ctx context.Context, id string, a Area) (Nearby, error) {
	data := map[string]any{"id": id}
	if a.Box != nil {
		data["bbox"] = a.Box
	} else {
		data["lat"], data["lon"], data["radius"] = a.Lat, a.Lon, a.Radius
	}
	f, err := c.Ask(ctx, wire.TypeNearbyWatch, data)
	if err != nil {
		return Nearby{}, err
	}
	var n Nearby
	if err := json.Unmarshal(f.Data, &n); err != nil {
		return Nearby{}, fmt.Errorf("client: read what the server answered: %w", err)
	}
	return n, nil
}

// UnwatchNearby looks away.
func (c *Client) UnwatchNearby(ctx context.Context, id string) error {
	return c.say(ctx, wire.TypeNearbyUnwatch, map[string]string{"id": id})
}

// say sends a frame that is not answered.
func (c *Client) say(ctx context.Context, t wire.Type, data any) error {
	raw, err := encode(data)
	if err != nil {
		return fmt.Errorf("client: encode the data: %w", err)
	}
	l, err := c.current()
	if err != nil {
		return err
	}
	return l.write(ctx, append(append(appendType(nil, t), raw...), '}'), nil)
}
