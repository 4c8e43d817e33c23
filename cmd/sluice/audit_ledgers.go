package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sluice/internal/audit"
	"sluice/internal/sender"
)

// auditLedgers reads ledgers as one set.
type auditLedgers struct {
	stdin    io.Reader
	take     func(audit.Sent)
	progress *auditProgress

	types map[string]bool // seen; "" for dead letters
	first time.Time       // the first post of all
}

var (
	errNoEvents = errors.New("the ledgers name no events")
	errEntry    = errors.New("not a line of a ledger")
)

// read takes in all events of the files, of which "-" is standard input.
func (l *auditLedgers) read(ctx context.Context, names []string) error {
	l.types = make(map[string]bool)
	for _, name := range names {
		if err := l.file(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(l.types) == 0 {
		return errNoEvents
	}
	return nil
}

func (l *auditLedgers) file(ctx context.Context, name string) error {
	if name == "-" {
		return l.entries(ctx, l.stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(l.entries(ctx, file), file.Close())
}

func (l *auditLedgers) entries(ctx context.Context, r io.Reader) error {
	line := 0
	for e, err := range sender.ReadLedger(r) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		line++
		sent := audit.Sent{
			ID: e.EventID, DeliveryID: e.DeliveryID, Type: e.EventType, Acknowledged: e.Acknowledged,
			Duplicate: e.Acknowledged && e.Answer == string(sender.StatusDuplicate),
			Spooled:   e.Acknowledged && e.Answer == string(sender.StatusSpooled),
		}
		if n, err := hex.Decode(sent.Body[:], []byte(e.SHA256[:min(len(e.SHA256), 2*len(sent.Body))])); err != nil || n != len(sent.Body) || len(e.SHA256) != 2*n {
			return fmt.Errorf("line %d: %w: sha256 is %.80q", line, errEntry, e.SHA256)
		}
		if e.FirstSent.IsZero() {
			return fmt.Errorf("line %d: %w: it has no first_sent", line, errEntry)
		}
		if l.first.IsZero() || e.FirstSent.Before(l.first) {
			l.first = e.FirstSent
		}
		l.types[e.EventType] = true
		l.take(sent)
		l.progress.lines.Add(1)
	}
	return nil
}
