package publisher

import (
	"slices"

	"sluice/publisher/idempotent"
	"sluice/publisher/spool"
)

// SpoolEntry is what an unsettled entry of a spool stands for.
type SpoolEntry struct {
	Topic string
	// MayBeInKafka: the entry is a batch, which may have been sent. Otherwise it is one event that was kept instead of
	// being sent; only where the spool was full could it be sent all the same before its batch had been written down.
	MayBeInKafka bool
	// Partition is that of a batch, else -1.
	Partition int32
	// Stamp is that of a batch that will be sent under the same again; see [idempotent.Restored.Stamp].
	Stamp   string
	Records []SpoolRecord
}

// SpoolRecord is the record that an event will be.
type SpoolRecord struct {
	Key, Value []byte // a nil Key is none
	Headers    []idempotent.Header
}

// ReadSpoolEntry reads an entry of a spool. Topics and key are the settings of the instance that will send it; they matter
// for events that were kept. The error says that the entry is of no kind that this version knows.
func ReadSpoolEntry(e spool.Entry, topics TopicOptions, key KeyMode) (*SpoolEntry, error) {
	if len(e.Payload) > 0 && e.Payload[0] == kindMessage {
		m, err := parseMessage(slices.Clone(e.Payload))
		if err != nil {
			return nil, err
		}
		p := &Publisher{opts: Options{Topics: topics, Key: key}}
		r := p.recordAt(m, e.Time)
		return &SpoolEntry{Topic: p.topicOf(m), Partition: -1, Records: []SpoolRecord{{r.Key, r.Value, r.Headers}}}, nil
	}
	b, err := idempotent.ParseEntry(e.Number, slices.Clone(e.Payload))
	if err != nil {
		return nil, err
	}
	s := &SpoolEntry{Topic: b.Topic, MayBeInKafka: true, Partition: b.Partition, Stamp: b.Stamp()}
	for _, r := range b.Records {
		s.Records = append(s.Records, SpoolRecord{r.Key, r.Value, r.Headers})
	}
	return s, nil
}

// Left is how many entries of the spool, batches and events, Kafka isn't known to have.
func (p *Publisher) Left() int {
	if p.spool == nil {
		return 0
	}
	_, unsettled := p.spool.Size()
	return unsettled
}
