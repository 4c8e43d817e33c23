package sender

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"time"
)

// Entry is one line of a ledger: an event that is done.
type Entry struct {
	EventID    string `json:"event_id"`
	DeliveryID string `json:"delivery_id"`
	// EventType is the type expected, "" for a dead letter.
	EventType string `json:"event_type"`
	SHA256    string `json:"sha256"` // of the body, in hex
	Bytes     int    `json:"bytes"`  // of the body
	// Acknowledged says that some post got a 2xx. Without it the event may be kept all the same: answers get lost.
	Acknowledged bool `json:"acknowledged"`
	// Answer is the label and Code the HTTP code of the answer that decided.
	Answer     string    `json:"answer"`
	Code       int       `json:"code"`
	Posts      int       `json:"posts"`
	FirstSent  time.Time `json:"first_sent"`
	LastAnswer time.Time `json:"last_answer"`
}

// NewEntry is the line for a result.
func NewEntry(r *Result) Entry {
	sum := sha256.Sum256(r.Event.Body)
	return Entry{
		EventID: r.Event.ID, DeliveryID: r.Event.DeliveryID, EventType: r.Event.Type,
		SHA256: hex.EncodeToString(sum[:]), Bytes: len(r.Event.Body),
		Acknowledged: r.Acknowledged, Answer: r.Label(), Code: r.Code, Posts: r.Posts,
		FirstSent: r.First.UTC(), LastAnswer: r.Last.UTC(),
	}
}

// Ledger writes down events as they are done, in NDJSON. It is safe for concurrent use.
type Ledger struct {
	mu   sync.Mutex
	file *os.File
}

// ErrTornLedger says that a ledger to be continued ends within a line: its writer was killed. Whatever came behind would
// be unreadable.
var ErrTornLedger = errors.New("it ends within a line, as a killed writer leaves it; name another file")

// OpenLedger creates the file, or continues one, and returns [ErrTornLedger] for one that can't be continued. Only its
// owner may read it: it names people's events.
func OpenLedger(path string) (*Ledger, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	if err := whole(file); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ledger %s: %w", path, err), file.Close())
	}
	return &Ledger{file: file}, nil
}

// whole checks that the file ends with a line break. What isn't a regular file has no end to look at.
func whole(file *os.File) error {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := file.ReadAt(last[:], info.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		return ErrTornLedger
	}
	return nil
}

// Write appends the line for a result with a single call of the system, so that a killed process tears at most the last.
func (l *Ledger) Write(r *Result) error {
	line, err := json.Marshal(NewEntry(r))
	if err != nil {
		return fmt.Errorf("encoding a line of the ledger: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.file.Close() }

// ReadLedger reads a ledger line by line. A last line that lacks its line break and isn't whole is passed over; any other
// line that can't be read is an error, the last thing yielded.
func ReadLedger(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		lines := bufio.NewReader(r)
		for number := 1; ; number++ {
			line, end := lines.ReadBytes('\n')
			if end != nil && !errors.Is(end, io.EOF) {
				yield(Entry{}, fmt.Errorf("reading the ledger: line %d: %w", number, end))
				return
			}
			torn := end != nil
			if torn && len(bytes.TrimSpace(line)) == 0 {
				return
			}
			var e Entry
			if err := json.Unmarshal(line, &e); err != nil {
				if !torn {
					yield(Entry{}, fmt.Errorf("reading the ledger: line %d: %w", number, err))
				}
				return
			}
			if !yield(e, nil) || torn {
				return
			}
		}
	}
}
