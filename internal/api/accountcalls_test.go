package api

import (
	"context"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
)

// signUps are accounts that anybody may make.
type signUps struct {
	someone
	made int
}

func (s *signUps) SignUp(_ context.Context, _, username, _ string) (accounts.Profile, error) {
	s.made++
	return accounts.Profile{Number: 1, Username: username}, nil
}

// Whoever mistypes an API key is not taken for somebody who signs up: he would have one
// account where he may make as many as he likes, and use up what his address may make.
func TestAMistypedKeyIsNoSignUp(t *testing.T) {
	x := newWorld(t)
	people := &signUps{}
	o := x.v1.opts
	o.Rooms.Accounts, o.Metrics = people, prometheus.NewRegistry()
	v1, err := NewV1(o)
	if err != nil {
		t.Fatal(err)
	}
	server := options()
	server.V1 = v1
	x.h = NewPublic(server)
	const path = "/v1/accounts"
	ada := body(`{"username":"ada","password":"correct horse"}`)
	for _, written := range []string{"Bearer s_b", "Bearer sbr_x", "Bearer ", "Basic YTpi", "sb_x_y", "Bearer sb_x_y"} {
		x.refused(http.StatusUnauthorized, CodeKeyInvalid, "POST", path, ada, header("Authorization", written))
	}
	if people.made != 0 {
		t.Errorf("%d have signed up", people.made)
	}
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiJjaGF0In0.c2ln" // of {"alg":"HS256"} and {"aud":"chat"}
	wantStatus(t, x.h, http.StatusCreated, "POST", path, ada)
	wantStatus(t, x.h, http.StatusCreated, "POST", path, ada, with(token)) // of a session: somebody signs up a second time
	if people.made != 2 {
		t.Errorf("%d have signed up", people.made)
	}
}
