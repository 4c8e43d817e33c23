package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	kafka "github.com/segmentio/kafka-go"
)

// answerBytes is a Fetch response of version 11 with one partition.
func answerBytes(code int16, raw string) []byte {
	be := binary.BigEndian
	b := bytes.Repeat([]byte{0}, 8)               // correlation id, throttle time
	b = be.AppendUint16(b, 0)                     // error of the whole
	b = be.AppendUint32(b, 0)                     // session
	b = be.AppendUint32(b, 1)                     // topics
	b = append(be.AppendUint16(b, 1), 't')        // name
	b = be.AppendUint32(b, 1)                     // partitions
	b = be.AppendUint32(b, 7)                     // number
	b = be.AppendUint16(b, uint16(code))          // its error
	b = append(b, make([]byte, 24)...)            // three offsets
	b = be.AppendUint32(b, 1)                     // aborted transactions
	b = be.AppendUint64(be.AppendUint64(b, 5), 6) // producer, first offset
	b = be.AppendUint32(b, ^uint32(0))            // preferred replica
	return append(be.AppendUint32(b, uint32(len(raw))), raw...)
}

func TestReadFetch(t *testing.T) {
	b := answerBytes(int16(kafka.OffsetOutOfRange), "raw")
	res, err := readFetch(bytes.NewReader(b), int64(len(b)), 11)
	if err != nil || res.err != nil || len(res.partitions) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	p := res.partitions[0]
	if p.id != (partitionID{"t", 7}) || !errors.Is(p.err, kafka.OffsetOutOfRange) || string(p.raw) != "raw" ||
		len(p.aborted) != 1 || p.aborted[0] != (aborted{producerID: 5, first: 6}) {
		t.Errorf("%+v", p)
	}
	for cutAt := range b {
		if _, err := readFetch(bytes.NewReader(b[:cutAt]), int64(len(b)), 11); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off at %d: %v", cutAt, err)
		}
	}
	long := answerBytes(0, strings.Repeat("x", 10))
	binary.BigEndian.PutUint32(long[len(long)-14:], 1<<30)
	if _, err := readFetch(bytes.NewReader(long), int64(len(long)), 11); !errors.Is(err, errAnswer) {
		t.Errorf("an impossible length: %v", err)
	}
}
