package config

import "encoding/json"

// Repository is settings that a meta server serves, out of files of one commit.
type Repository struct {
	Commit   string            // names the commit for people
	Settings json.RawMessage   // an object
	Places   map[string]string // where each key came from: "limits.frame" from "switchboard.yaml:3"
}

// CheckRepository says what is wrong.
func CheckRepository(r Repository) Problems { return nil }
