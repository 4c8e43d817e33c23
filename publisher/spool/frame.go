package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"time"
)

// A segment is a header and frames. All numbers are big-endian.
//
//	header: "sluice-spool" and the format's version, 4 bytes
//	frame:  length of the body, 4 bytes; CRC-32C of the body, 4 bytes; body
//	body:   kind, 1 byte; then
//	        entry:   number, 8 bytes; time in Unix nanoseconds, 8 bytes; how many entries it stands for from now on, and
//	                 their numbers, each a uvarint; payload
//	        settled: numbers, each a uvarint
const (
	magic         = "sluice-spool"
	formatVersion = 1
	headerSize    = len(magic) + 4
	frameHead     = 8
	entryHead     = 17

	kindEntry   = 1
	kindSettled = 2

	// maxFrame is more than any entry has: a batch is at most a request of 16 MiB.
	maxFrame = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

var (
	// errTorn: the segment ends within a frame, as after a kill in the midst of a write.
	errTorn = errors.New("torn frame")
	// errCorrupt: a frame isn't what was written.
	errCorrupt = errors.New("corrupt frame")
)

func header() []byte {
	return binary.BigEndian.AppendUint32([]byte(magic), formatVersion)
}

// appendFrame appends a frame whose body fill appends.
func appendFrame(b []byte, fill func([]byte) []byte) []byte {
	start := len(b)
	b = fill(append(b, make([]byte, frameHead)...))
	body := b[start+frameHead:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(body, castagnoli))
	return b
}

func appendEntry(b []byte, number uint64, at time.Time, a Addition) []byte {
	return appendFrame(b, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint64(append(b, kindEntry), number)
		b = binary.BigEndian.AppendUint64(b, uint64(at.UnixNano()))
		b = binary.AppendUvarint(b, uint64(len(a.Supersedes)))
		for _, n := range a.Supersedes {
			b = binary.AppendUvarint(b, n)
		}
		return append(append(b, a.Payload...), a.Rest...)
	})
}

// parseEntry reads the body of an entry's frame.
func parseEntry(body []byte) (e Entry, supersedes []uint64, err error) {
	if len(body) < entryHead || body[0] != kindEntry {
		return e, nil, errCorrupt
	}
	e.Number = binary.BigEndian.Uint64(body[1:])
	e.Time = time.Unix(0, int64(binary.BigEndian.Uint64(body[9:])))
	rest := body[entryHead:]
	number := func() (n uint64) {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			err = errCorrupt
			return 0
		}
		rest = rest[size:]
		return n
	}
	count := number()
	if count > uint64(len(body)) {
		return e, nil, errCorrupt
	}
	for range count {
		supersedes = append(supersedes, number())
	}
	e.Payload = rest
	return e, supersedes, err
}

func appendSettled(b []byte, numbers []uint64) []byte {
	return appendFrame(b, func(b []byte) []byte {
		b = append(b, kindSettled)
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return b
	})
}

// readFrame returns the next body and its length on disk. io.EOF is the segment's regular end.
func readFrame(r io.Reader) (body []byte, err error) {
	var head [frameHead]byte
	switch _, err := io.ReadFull(r, head[:]); {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errTorn
	case err != nil:
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxFrame {
		return nil, errCorrupt // a length of 0 is what an unwritten block reads as
	}
	body = make([]byte, size)
	switch _, err := io.ReadFull(r, body); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errTorn
	case err != nil:
		return nil, err
	}
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, errCorrupt
	}
	return body, nil
}

// parseSettled calls each for the numbers in a settled frame.
func parseSettled(body []byte, each func(uint64)) error {
	for b := body[1:]; len(b) > 0; {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return errCorrupt
		}
		each(n)
		b = b[size:]
	}
	return nil
}
