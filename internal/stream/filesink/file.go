package filesink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"sluice/internal/stream"
)

// memberBytes is how many bytes of lines a gzip member or zstd frame has at least: it ends with the line that reaches it.
// What an interrupted run has written since the last end is written again.
const memberBytes = 8 << 20

// ErrChanged is wrapped by [Open]'s error when the file isn't the one that the state is of.
var ErrChanged = errors.New("the file isn't as the earlier run left it")

// state is what [File.State] returns.
type state struct {
	Bytes int64 `json:"bytes"`
}

// File is a [stream.Resumable] sink.
type File struct {
	lines
	path   string
	file   *os.File
	member int64 // bytes of lines in the member that is open; without compression always 0
	size   int64 // of the file at the last sync
	packed bool
	early  *earlySync
}

// Create makes a new file, readable by its owner only, and fails if there is one (os.ErrExist).
func Create(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncFolder(path); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return newFile(path, file, 0)
}

// Open goes on with a file behind what the state counts; what follows is cut off. The error wraps [ErrChanged] if the
// file is shorter, and os.ErrNotExist if it isn't there.
func Open(path string, saved json.RawMessage) (*File, error) {
	var s state
	if err := json.Unmarshal(saved, &s); err != nil || s.Bytes < 0 {
		return nil, fmt.Errorf("going on with %s: not a file's state: %s", path, saved)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := cut(file, s.Bytes); err != nil {
		return nil, errors.Join(fmt.Errorf("going on with %s: %w", path, err), file.Close())
	}
	return newFile(path, file, s.Bytes)
}

// cut leaves the first n bytes and goes to their end.
func cut(file *os.File, n int64) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: it is no regular file", ErrChanged)
	case info.Size() < n:
		return fmt.Errorf("%w: it has %d bytes and should have %d at least", ErrChanged, info.Size(), n)
	}
	if err := file.Truncate(n); err != nil {
		return err
	}
	_, err = file.Seek(n, io.SeekStart)
	return err
}

func newFile(path string, file *os.File, size int64) (*File, error) {
	f := &File{path: path, file: file, size: size}
	pack, err := packerFor(path, file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f.packed = pack != nil
	f.early = newEarlySync(file)
	var to output = plain{f.early}
	if f.packed {
		pack.to = f.early
		pack.Reset(f.early)
		to = &members{pack: pack}
	}
	f.begin(to)
	return f, nil
}

// Write is part of [stream.Sink]. The ticket is given back at once: what a resumed run goes by is the state.
func (f *File) Write(ctx context.Context, r *stream.Record, t stream.Ticket) error {
	n, err := f.add(ctx, r)
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	t.Kept()
	if !f.packed {
		return nil
	}
	if f.member += int64(n); f.member >= memberBytes {
		f.member = 0
		if err := f.hand(ctx, true); err != nil {
			return fmt.Errorf("writing %s: %w", f.path, err)
		}
	}
	return nil
}

// Settle is part of [stream.Sink]. Within a member it does nothing: what is compressed can't be kept before its end, for
// which [File.State] has to be waited, or Close.
func (f *File) Settle(ctx context.Context) error {
	if f.member > 0 {
		return nil
	}
	if err := f.sync(ctx); err != nil {
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	return nil
}

// sync writes out what there is and waits for the disk.
func (f *File) sync(ctx context.Context) error {
	if err := f.flush(ctx); err != nil {
		return err
	}
	at, err := f.file.Seek(0, io.SeekCurrent)
	if err != nil || at == f.size {
		return err
	}
	if err := f.early.sync(); err != nil {
		return err
	}
	f.size = at
	return nil
}

// State is part of [stream.Resumable]. It is ok between members; without compression always.
func (f *File) State() (json.RawMessage, bool, error) {
	if f.member > 0 {
		return nil, false, nil
	}
	text, err := json.Marshal(state{Bytes: f.size})
	return text, true, err
}

// Close is part of [stream.Sink]. It ends the last member, and returns when the whole file is on the disk; with an error
// it may not be.
func (f *File) Close() error {
	err := f.finish()
	if err == nil {
		err = f.early.sync()
	}
	if err = errors.Join(err, f.file.Close()); err == nil {
		err = syncFolder(f.path)
	}
	if err != nil {
		return fmt.Errorf("finishing %s: %w", f.path, err)
	}
	return nil
}

// finish ends the last member, also an empty one if it is the only one: nothing is no gzip file.
func (f *File) finish() error {
	ctx := context.Background() // the disk is waited for
	err := f.flush(ctx)
	if err == nil && f.packed {
		at, failed := f.file.Seek(0, io.SeekCurrent)
		if err = failed; err == nil && (f.member > 0 || at == 0) {
			err = f.hand(ctx, true)
		}
	}
	err = errors.Join(err, f.end())
	f.early.end()
	return err
}

// syncFolder keeps a file's name beyond the end of the machine.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // where folders can't be synced
		return nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
