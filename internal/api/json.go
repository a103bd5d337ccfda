package api

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// jsonOptions are those of answers: what is kept as JSON leaves as it came.
func jsonOptions() json.Options { return jsontext.PreserveRawStrings(true) }
