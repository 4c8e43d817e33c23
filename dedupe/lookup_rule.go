package dedupe

import "strings"

// Source tells what an ID was made of.
type Source string

// The sources, as they are shown to operators.
const (
	SourceEventID         Source = "event_id"
	SourceEventIDHash     Source = "hash of event_id"
	SourceDelivery        Source = "delivery header"
	SourceDeliveryHash    Source = "hash of the delivery header"
	SourceBodyHash        Source = "hash of the body"
	SourceDeliveryAndBody Source = "hash of the delivery header and the body"
)

// SourceOf reads an ID that [Identify] returned.
func SourceOf(id string) Source {
	for mark, source := range map[string]Source{
		markEventHash: SourceEventIDHash, markDelivery: SourceDelivery, markDeliveryHash: SourceDeliveryHash,
		markBodyHash: SourceBodyHash, markBothHash: SourceDeliveryAndBody,
	} {
		if strings.HasPrefix(id, mark) {
			return source
		}
	}
	return SourceEventID
}
