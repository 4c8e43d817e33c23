package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeCheckpoint replaces a checkpoint in one step: whoever reads it, whenever the machine stops, finds the old or the
// new one.
func writeCheckpoint(path string, content any) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the checkpoint: %w", err)
		}
	}()
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// loadCheckpoint reads what writeCheckpoint has written for a command. whole says what a content lacks that can't be
// its own.
func loadCheckpoint(path, command string, content any, whole func() error) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	err = in.Decode(content)
	if _, more := in.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows its end")
	}
	if err == nil {
		err = whole()
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s isn't one of %s: %w", path, command, err)
	}
	return nil
}

// removeCheckpoint removes what is no longer needed.
func removeCheckpoint(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the checkpoint: %w", err)
	}
	return nil
}

// checkpointThere fails if a new checkpoint would take an old one's place.
func checkpointThere(path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("checkpoint %s is there already: go on with --resume, or delete it to begin anew", path)
	}
	return nil
}

// checkpointSetting is a setting that a checkpoint belongs to.
type checkpointSetting struct {
	name string
	same bool
}

// checkSettings names the first setting that isn't the one that the checkpoint was made with.
func checkSettings(path string, settings ...checkpointSetting) error {
	for _, s := range settings {
		if !s.same {
			return fmt.Errorf("checkpoint %s was made with another %s: run with the same, or begin anew without --resume", path, s.name)
		}
	}
	return nil
}
