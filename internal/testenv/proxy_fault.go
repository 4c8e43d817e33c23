package testenv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Fault says which exchanges between client and server lose what. Without Frames an exchange is whatever piece of
// bytes came in one read, and all replies on that connection are lost from the matching piece on.
type Fault struct {
	// Match picks requests by their bytes; with Frames a whole Kafka request with its size. nil picks every one.
	Match func(request []byte) bool
	// Count is how many exchanges are hit; 0 means every one until Clear.
	Count int
	// LoseRequest keeps the request from the server. Otherwise the server gets it, and its reply is lost.
	LoseRequest bool
	// Cut resets the connection at the point of the loss. Otherwise the client is left waiting.
	Cut bool
}

// Inject makes the proxy lose what f says, in place of any fault before. Requests whose reply is already awaited are
// not touched.
func (p *TCPProxy) Inject(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.left = &f, f.Count
	if f.Count == 0 {
		p.left = -1
	}
}

// Clear ends the fault. Replies that it has already claimed stay lost.
func (p *TCPProxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
}

// Lost is how many exchanges faults have hit so far; one whose reply was to be lost counts once the server has
// answered it.
func (p *TCPProxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// Kafka API keys for KafkaRequest (Kafka protocol guide, "API keys").
const (
	APIProduce        = 0
	APIFetch          = 1
	APIMetadata       = 3
	APICreateTopics   = 19
	APIInitProducerID = 22
)

// KafkaRequest matches requests with that API key, for a Fault of a proxy with Frames.
func KafkaRequest(apiKey int16) func([]byte) bool {
	return func(request []byte) bool {
		// size int32, api_key int16, api_version int16, correlation_id int32 (request header)
		return len(request) >= 6 && int16(binary.BigEndian.Uint16(request[4:])) == apiKey
	}
}

// take claims one exchange for the fault if the request matches.
func (p *TCPProxy) take(request []byte) (Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == nil || p.left == 0 || p.fault.Match != nil && !p.fault.Match(request) {
		return Fault{}, false
	}
	if p.left > 0 {
		p.left--
	}
	if p.fault.LoseRequest {
		p.lost++
	}
	return *p.fault, true
}

// countLost counts a reply that was lost.
func (p *TCPProxy) countLost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
}

// request decides about bytes on their way to the server.
func (l *link) request(piece []byte) (forward bool, err error) {
	f, hit := l.proxy.take(piece)
	switch {
	case !hit:
		return true, nil
	case f.LoseRequest && f.Cut:
		return false, errCut
	case f.LoseRequest:
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hangUp = f.Cut
	if l.proxy.opts.frames && len(piece) >= 12 {
		l.lose[correlationID(piece[8:])] = true
	} else {
		l.deaf = true
	}
	return true, nil
}

// reply decides about bytes on their way to the client.
func (l *link) reply(piece []byte) (forward bool, err error) {
	if _, delay, _ := l.proxy.state(); delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.done:
			return false, errCut
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lose := l.deaf
	if l.proxy.opts.frames && len(piece) >= 8 {
		id := correlationID(piece[4:]) // size int32, correlation_id int32 (response header)
		lose = lose || l.lose[id]
		delete(l.lose, id)
	}
	if !lose {
		return true, nil
	}
	l.proxy.countLost()
	if l.hangUp {
		return false, errCut
	}
	return false, nil
}

// correlationID is the number that ties a Kafka response to its request.
func correlationID(raw []byte) int32 {
	return int32(binary.BigEndian.Uint32(raw))
}

// errNotFrames ends a connection that doesn't carry Kafka's plain protocol.
var errNotFrames = errors.New("not a Kafka message (TLS, or another protocol?)")

// maxFrame is more than any broker here accepts (socket.request.max.bytes is 100 MiB).
const maxFrame = 128 << 20

// read reads the next piece: a whole Kafka message with Frames, else what is there.
func (p *TCPProxy) read(in *bufio.Reader) ([]byte, error) {
	if !p.opts.frames {
		if _, err := in.Peek(1); err != nil {
			return nil, fmt.Errorf("reading: %w", err)
		}
		piece := make([]byte, in.Buffered())
		_, err := io.ReadFull(in, piece)
		return piece, err
	}
	size, err := in.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("reading a message's size: %w", err)
	}
	n := binary.BigEndian.Uint32(size)
	if n > maxFrame {
		return nil, errNotFrames
	}
	piece := make([]byte, 4+n)
	if _, err := io.ReadFull(in, piece); err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	return piece, nil
}
