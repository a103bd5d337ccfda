package api

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// jsonOptions are those of answers: what is kept as JSON leaves as it came, and the same
// answer is written in the same way each time.
func jsonOptions() json.Options {
	return json.JoinOptions(jsontext.PreserveRawStrings(true), json.Deterministic(true))
}
