package filesink

import (
	"os"
	"sync"
)

// earlyBytes is how much is written before the disk is given something to do.
const earlyBytes = 16 << 20

// earlySync writes to a file and has it synced in the background, so that the disk is busy from the beginning and a sync
// that is waited for is short.
type earlySync struct {
	file    *os.File
	written int // since the last kick
	kick    chan struct{}
	syncing sync.WaitGroup

	mu  sync.Mutex // held during a sync; guards err
	err error      // the first: the kernel tells of each only once, whoever asks
}

func newEarlySync(file *os.File) *earlySync {
	kick := make(chan struct{}, 1)
	e := &earlySync{file: file, kick: kick}
	e.syncing.Go(func() {
		for range kick {
			_ = e.sync() // it stays
		}
	})
	return e
}

// Write is part of io.Writer.
func (e *earlySync) Write(b []byte) (int, error) {
	n, err := e.file.Write(b)
	if e.written += n; e.written >= earlyBytes {
		select {
		case e.kick <- struct{}{}:
			e.written = 0
		default: // the disk is busy
		}
	}
	return n, err
}

// sync waits until everything written is on the disk.
func (e *earlySync) sync() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = e.file.Sync()
	}
	return e.err
}

// end stops the syncs in the background. It is called once, after the last Write.
func (e *earlySync) end() {
	close(e.kick)
	e.syncing.Wait()
}
