package stream

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"sluice/publisher/wire"
)

const (
	// maxWait is how long a broker holds a fetch back when there is nothing to give out.
	maxWait = 500 * time.Millisecond
	// requestTimeout is for what a broker answers at once.
	requestTimeout = 3 * time.Second
	// fetchBytes bounds a fetch response. Only the first batch in it may be larger than any bound.
	fetchBytes = 8 << 20
	// maxResponse is more than any broker can mean.
	maxResponse = 1 << 30

	readCommitted = 1
)

// errAnswer says that what came isn't a fetch response.
var errAnswer = errors.New("malformed fetch response")

// fetchRequest is Kafka's Fetch request to one broker, whatever kafka-go believes about leaders. It reads the response
// itself, for the batches as they are.
type fetchRequest struct {
	fetch.Request
	broker   int32
	clientID string
	version  int16
}

// Broker is part of kafka-go's message interface.
func (r *fetchRequest) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}

// Required is part of kafka-go's message interface.
func (r *fetchRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Fetch]
	return true
}

// RawExchange is part of kafka-go's message interface.
func (r *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const correlation = 1 // one request at a time on a connection
	if r.version < 4 {
		return nil, fmt.Errorf("%w: the broker is older than Kafka 0.11", errOldFormat)
	}
	if err := protocol.WriteRequest(rw, r.version, correlation, r.clientID, &r.Request); err != nil {
		return nil, err
	}
	// Read exactly what belongs to the response: nothing may be left behind in a buffer.
	var head [4]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size > maxResponse {
		return nil, fmt.Errorf("%w: %d bytes long", errAnswer, size)
	}
	in := bufio.NewReaderSize(io.LimitReader(rw, size), 4<<10)
	return readFetch(in, size, r.version)
}

// fetchResponse is a Fetch response of versions 4 to 11.
type fetchResponse struct {
	err        error // of the whole request
	partitions []fetched
}

// ApiKey is part of kafka-go's message interface.
func (r *fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// fetched is one partition of it.
type fetched struct {
	id      partitionID
	err     error // a kafka.Error
	high    int64 // what is committed ends here
	aborted []aborted
	raw     []byte
}

// partitionID names a partition.
type partitionID struct {
	topic     string
	partition int32
}

func (id partitionID) String() string { return fmt.Sprintf("%s/%d", id.topic, id.partition) }

// responseReader reads the fixed-width fields of Kafka's formats. After an error all that it returns is zero.
type responseReader struct {
	in   io.Reader
	size int64 // of the whole response: nothing in it has more parts
	err  error
}

func (r *responseReader) next(n int) []byte {
	if r.err != nil {
		return make([]byte, min(n, 8))
	}
	b := make([]byte, n)
	_, r.err = io.ReadFull(r.in, b)
	return b
}

func (r *responseReader) int16() int16 { return int16(binary.BigEndian.Uint16(r.next(2))) }
func (r *responseReader) int32() int32 { return int32(binary.BigEndian.Uint32(r.next(4))) }
func (r *responseReader) int64() int64 { return int64(binary.BigEndian.Uint64(r.next(8))) }

// count is the length of an array; null is 0.
func (r *responseReader) count() int {
	n := int(r.int32())
	if r.err == nil && int64(n) > r.size {
		r.err = errAnswer
	}
	if r.err != nil {
		return 0
	}
	return max(n, 0)
}

func readFetch(in io.Reader, size int64, version int16) (*fetchResponse, error) {
	r := responseReader{in: in, size: size}
	out := &fetchResponse{}
	r.int32() // correlation id
	r.int32() // throttle time
	if version >= 7 {
		if code := r.int16(); code != 0 {
			out.err = kafka.Error(code)
		}
		r.int32() // session
	}
	for topics := r.count(); topics > 0 && r.err == nil; topics-- {
		topic := string(r.next(int(max(r.int16(), 0))))
		for n := r.count(); n > 0 && r.err == nil; n-- {
			out.partitions = append(out.partitions, r.partition(topic, version))
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("reading a fetch response: %w", r.err)
	}
	return out, nil
}

func (r *responseReader) partition(topic string, version int16) fetched {
	f := fetched{id: partitionID{topic, r.int32()}}
	if code := r.int16(); code != 0 {
		f.err = kafka.Error(code)
	}
	r.int64()          // high watermark
	f.high = r.int64() // the last stable offset
	if version >= 5 {
		r.int64() // log start offset
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		f.aborted = append(f.aborted, aborted{producerID: r.int64(), first: r.int64()})
	}
	if version >= 11 {
		r.int32() // preferred replica: only for clients that name their rack
	}
	f.raw = r.next(r.count())
	return f
}

// wanted is a partition to fetch from an offset on.
type wanted struct {
	id   partitionID
	from int64
}

// fetch asks a broker for records. It waits up to maxWait for the first.
func (c *cluster) fetch(ctx context.Context, broker int32, want []wanted, perPartition int32) (*fetchResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait+2*requestTimeout)
	defer cancel()
	req := &fetchRequest{broker: broker, clientID: c.clientID}
	req.ReplicaID, req.SessionEpoch = -1, -1 // a consumer, without a session
	req.MaxWaitTime, req.MinBytes, req.MaxBytes = int32(maxWait.Milliseconds()), 1, fetchBytes
	req.IsolationLevel = readCommitted
	for _, w := range want { // brokers fill the response in this order
		req.Topics = append(req.Topics, fetch.RequestTopic{Topic: w.id.topic, Partitions: []fetch.RequestPartition{{
			Partition: w.id.partition, CurrentLeaderEpoch: -1, FetchOffset: w.from, LogStartOffset: -1, PartitionMaxBytes: perPartition,
		}}})
	}
	res, err := wire.Call[*fetchResponse](ctx, c.transport, c.addr, req)
	if err != nil {
		return nil, fmt.Errorf("fetching records: %w", err)
	}
	if res.err != nil {
		return nil, fmt.Errorf("fetching records: %w", res.err)
	}
	return res, nil
}
