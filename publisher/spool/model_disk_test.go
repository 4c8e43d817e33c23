package spool

import (
	"errors"
	"os"
	"strings"
)

// modelDisk makes files whose writes and syncs fail on demand.
type modelDisk struct {
	opens, writes, syncs bool // fail
	arrive               int  // bytes of a write that fails
	root                 string
	files                map[string]*modelFile // by path below root
	failed               func()                // is called when a write or a sync has failed
}

func (d *modelDisk) faulty() bool { return d.opens || d.writes || d.syncs }

func (d *modelDisk) open(name string) (file, error) {
	if d.opens {
		return nil, errDisk
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	m := &modelFile{File: f, disk: d}
	d.files[strings.TrimPrefix(name, d.root)] = m
	return m, nil
}

// modelFile knows how much of it a power cut leaves for certain.
type modelFile struct {
	*os.File
	disk            *modelDisk
	written, synced int64
	rotten          bool
}

func (f *modelFile) Write(b []byte) (int, error) {
	var failed error
	if f.disk.writes {
		b, failed = b[:min(f.disk.arrive, len(b))], errDisk
	}
	n, err := f.File.Write(b)
	f.written += int64(n)
	if err = errors.Join(err, failed); err != nil {
		f.disk.failed()
	}
	return n, err
}

// Sync fails once. What a kernel answers after that means nothing: it has forgotten what it couldn't write.
func (f *modelFile) Sync() error {
	if f.disk.syncs {
		f.rotten = true
		f.disk.failed()
		return errDisk
	}
	if !f.rotten {
		f.synced = f.written
	}
	return nil
}
