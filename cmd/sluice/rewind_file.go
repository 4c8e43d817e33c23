package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// savedRewind is the content of the file with the offsets of before.
type savedRewind struct {
	Group   string        `json:"group"`
	Cluster string        `json:"cluster_id"`
	Saved   time.Time     `json:"saved"`
	Offsets []savedOffset `json:"offsets"`
}

type savedOffset struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    *int64 `json:"offset"` // null: none was committed
	Epoch     int32  `json:"leader_epoch"`
	Metadata  string `json:"metadata,omitempty"`
}

// saved is what is there before the plan is executed, of all partitions that it changes.
func (p *rewindPlan) saved(now time.Time) *savedRewind {
	s := &savedRewind{Group: p.Group, Cluster: p.Cluster, Saved: now.UTC().Truncate(time.Second), Offsets: []savedOffset{}}
	for i := range p.Partitions {
		row := &p.Partitions[i]
		if row.changes() {
			o, committed := p.before[row.at()]
			if !committed {
				o.Epoch = -1
			}
			s.Offsets = append(s.Offsets, savedOffset{row.Topic, row.Partition, row.From, o.Epoch, o.Metadata})
		}
	}
	return s
}

func (s *savedRewind) topics() (names []string) {
	for _, o := range s.Offsets {
		names = append(names, o.Topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// write makes a file that outlives a power cut. One that is there is left alone.
func (s *savedRewind) write(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("saving the offsets of before: %w", err)
		}
	}()
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // the user's own name; nothing in it is secret
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a new name in a folder outlive a power cut, where the system can.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrInvalid) {
		err = nil // as on Windows, and on some network disks
	}
	return errors.Join(err, folder.Close())
}

// readRewind reads what write has written.
func readRewind(path string) (*savedRewind, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--restore: %w", err)
	}
	s := &savedRewind{}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	err = in.Decode(s)
	if _, more := in.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows its end")
	}
	if err == nil && (s.Group == "" || s.Saved.IsZero() || len(s.Offsets) == 0) {
		err = errors.New("it has no group, time or offsets")
	}
	if err != nil {
		return nil, fmt.Errorf("--restore: %s isn't a file of sluice rewind: %w", path, err)
	}
	return s, nil
}
