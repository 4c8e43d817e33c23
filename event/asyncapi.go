package event

import (
	_ "embed"
	"slices"
)

//go:embed asyncapi.yaml
var asyncAPI []byte

// AsyncAPI returns the AsyncAPI 3.0 document, in YAML, of the webhook channel
// and the Kafka topics behind it. The caller may change the slice.
func AsyncAPI() []byte { return slices.Clone(asyncAPI) }
