package topicsink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sluice/publisher/idempotent"
	"sluice/publisher/spool"
)

const (
	// journalSegment is the size of the journal's files.
	journalSegment = 64 << 20
	// droppedEntry begins an entry that lists batches which are not in Kafka, and originsEntry one of origins that a former
	// generation held. No batch's payload begins with either.
	droppedEntry = 0
	originsEntry = 255
)

// journal is the journal of one sink: folders named by the number of their generation. It is safe for concurrent use.
type journal struct {
	dir  string
	log  *zap.Logger
	fail func(error) // told that a batch can't be written down

	mu         sync.Mutex // guards what follows
	current    *spool.Log
	generation string
	used       bool       // there is something in it
	former     *spool.Log // until the state that names the current one is saved
	broken     error      // why nothing more can be appended
}

var _ idempotent.Journal = (*journal)(nil)

// generationName is how the folder of a generation is called. Names sort as their numbers do.
func generationName(n uint64) string { return fmt.Sprintf("%08d", n) }

// newJournal begins a journal in place of what may be there.
func newJournal(dir string, log *zap.Logger) (*journal, error) {
	if err := vacate(dir); err != nil {
		return nil, err
	}
	j := &journal{dir: dir, log: log}
	return j, j.begin(generationName(1))
}

// vacate removes a journal that no process has.
func vacate(dir string) error {
	names, err := spool.Instances(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		l, err := spool.Open(spool.Options{Dir: dir, Instance: name, Alone: true})
		if err == nil {
			err = l.Close()
		}
		if errors.Is(err, spool.ErrLocked) {
			return fmt.Errorf("%w: it is being written to", err)
		}
	}
	return os.RemoveAll(dir)
}

// openJournal reads the journal from a generation on. Batches are what isn't settled in it.
func openJournal(dir, generation string, log *zap.Logger) (j *journal, batches []*idempotent.Restored, past origins, err error) {
	if _, err := os.Stat(filepath.Join(dir, generation)); err != nil {
		return nil, nil, nil, fmt.Errorf("the journal beside the checkpoint is gone, so that nobody can tell which records were sent since: %w", err)
	}
	names, err := spool.Instances(dir)
	if err != nil {
		return nil, nil, nil, err
	}
	j = &journal{dir: dir, log: log}
	if err := j.begin(generation); err != nil {
		return nil, nil, nil, err
	}
	for _, name := range names {
		if err := clearAway(dir, name, generation); err != nil {
			return nil, nil, nil, errors.Join(err, j.close())
		}
	}
	sent := make(map[uint64][]origin)
	past = make(origins)
	var broken error
	err = j.current.Entries(func(e spool.Entry) {
		j.used = true
		b, err := readEntry(e, sent, past)
		broken = errors.Join(broken, err)
		if b != nil && !e.Settled {
			batches = append(batches, b)
		}
	})
	if err = errors.Join(err, broken); err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("reading the journal: %w", err), j.close())
	}
	for _, list := range sent {
		past.add(list)
	}
	past.join()
	return j, batches, past, nil
}

// readEntry takes over one entry: a batch, which it returns, or what is to be known of batches.
func readEntry(e spool.Entry, sent map[uint64][]origin, past origins) (*idempotent.Restored, error) {
	switch e.Payload[0] {
	case droppedEntry:
		for rest := e.Payload[1:]; len(rest) > 0; {
			number, n := binary.Uvarint(rest)
			if n <= 0 {
				return nil, fmt.Errorf("%w: a mark that isn't whole", idempotent.ErrPayload)
			}
			delete(sent, number)
			rest = rest[n:]
		}
		return nil, nil
	case originsEntry:
		return nil, past.decode(e.Payload)
	}
	b, err := idempotent.ParseEntry(e.Number, slices.Clone(e.Payload))
	if err != nil {
		return nil, err
	}
	for _, r := range b.Records {
		o, ok := parseOrigin(r.Tag)
		if !ok {
			return nil, fmt.Errorf("%w: a record without its origin", idempotent.ErrPayload)
		}
		sent[e.Number] = append(sent[e.Number], o)
	}
	return b, nil
}

// clearAway removes a generation that another one has taken the place of, or that was begun and never named.
func clearAway(dir, name, named string) error {
	if name == named {
		return nil
	}
	if name > named {
		l, err := spool.Open(spool.Options{Dir: dir, Instance: name, Alone: true})
		if err != nil {
			return fmt.Errorf("the journal: %w", err)
		}
		written := false
		err = errors.Join(l.Entries(func(e spool.Entry) { written = written || e.Payload[0] != originsEntry }), l.Close())
		switch {
		case err != nil:
			return fmt.Errorf("the journal: %w", err)
		case written:
			return errors.New("the checkpoint is older than the journal beside it, as when it was restored from a copy or the power failed: which records were sent since can't be told")
		}
	}
	return os.RemoveAll(filepath.Join(dir, name))
}

// begin opens a generation, which exists from then on.
func (j *journal) begin(generation string) error {
	l, err := spool.Open(spool.Options{
		Dir: j.dir, Instance: generation, SegmentBytes: journalSegment, Log: j.log,
		MaxBytes: math.MaxInt64,              // it ends with the disk's room, and then the flow ends
		Keep:     100 * 365 * 24 * time.Hour, // settled entries too: which records were sent is what it is asked for
		Alone:    true,
	})
	if err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	j.current, j.generation, j.used = l, generation, false
	return nil
}

// next is the generation that the next state names: a new one, if the present one has been used, which takes along what of
// the past the source hasn't given again. Everything that was appended has to be settled.
func (j *journal) next(past origins) (generation string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.used {
		return j.generation, nil
	}
	if err := j.forget(); err != nil {
		return "", err
	}
	var n uint64
	if _, err := fmt.Sscanf(j.generation, "%d", &n); err != nil {
		return "", fmt.Errorf("generation %q of the journal: %w", j.generation, err)
	}
	former := j.current
	if err := j.begin(generationName(n + 1)); err != nil {
		return "", err
	}
	j.former = former
	if len(past) > 0 {
		if _, err := j.append(time.Now(), spool.Addition{Payload: past.encode()}); err != nil {
			return "", err
		}
		j.used = false // as long as nothing else is in it, a state that couldn't be saved is named again
	}
	return j.generation, nil
}

// named notes that the state with the present generation was saved: the former one isn't needed any more.
func (j *journal) named() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.forget()
}

func (j *journal) forget() error {
	if j.former == nil {
		return nil
	}
	former := j.former
	j.former = nil
	if err := former.Close(); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	names, err := spool.Instances(j.dir)
	for _, name := range names {
		if name < j.generation {
			err = errors.Join(err, os.RemoveAll(filepath.Join(j.dir, name)))
		}
	}
	return err
}

// Append is part of [idempotent.Journal].
func (j *journal) Append(at time.Time, additions ...spool.Addition) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.append(at, additions...)
}

// append has its first failure end everything: what a journal with a gap says can't be relied on.
func (j *journal) append(at time.Time, additions ...spool.Addition) (first uint64, err error) {
	if j.broken != nil {
		return 0, j.broken
	}
	if first, err = j.current.Append(at, additions...); err != nil {
		j.broken = fmt.Errorf("the journal can't be written, so nothing more is sent: %w", err)
		j.fail(j.broken)
		return 0, err
	}
	j.used = true
	return first, nil
}

// Settle is part of [idempotent.Journal].
func (j *journal) Settle(numbers ...uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.current.Settle(numbers...)
}

// Drop is part of [idempotent.Journal]. The batches weren't sent, or won't count: settled alone, they would read as if
// Kafka had them.
func (j *journal) Drop(numbers ...uint64) error {
	mark := []byte{droppedEntry}
	for _, n := range numbers {
		mark = binary.AppendUvarint(mark, n)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.append(time.Now(), spool.Addition{Payload: mark, Supersedes: numbers})
	return err
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.current.Close()
	if j.former != nil {
		err = errors.Join(err, j.former.Close())
		j.former = nil
	}
	return err
}
