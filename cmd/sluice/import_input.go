package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

const (
	// importHead is how much of a file's beginning says whether it is the same file.
	importHead = 1 << 20
	// importLine is the longest line: a body of the largest size, every byte of it escaped.
	importLine = 128 << 20
)

// importInput is a file or standard input, unpacked.
type importInput struct {
	lines *bufio.Reader
	read  atomic.Int64 // bytes of the file, as it is on disk
	size  int64        // of the file; 0: nobody knows
	close []func() error
}

// openInput opens a file, or stdin for "-". Whether it is compressed is told by its first bytes.
func openInput(path string, stdin io.Reader) (in *importInput, err error) {
	in = &importInput{}
	raw := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		in.close = append(in.close, file.Close)
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
		}
		raw = file
	}
	packed := bufio.NewReaderSize(countingReader{raw, &in.read}, 256<<10)
	magic, err := packed.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, in.end())
	}
	plain := io.Reader(packed)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, errors.Join(err, in.end())
		}
		plain = z
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, errors.Join(err, in.end())
		}
		in.close = append(in.close, func() error { z.Close(); return nil })
		plain = z
	}
	in.lines = bufio.NewReaderSize(plain, 256<<10)
	return in, nil
}

func (in *importInput) end() (err error) {
	for _, c := range in.close {
		err = errors.Join(err, c())
	}
	return err
}

// errLongLine is about a line that is longer than any that Sluice writes.
var errLongLine = errors.New("the line is too long")

// next is the next line without its end, in memory of its own. The last line needn't have one.
func (in *importInput) next() (line []byte, err error) {
	for {
		part, err := in.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(line) > importLine:
			return nil, errLongLine
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
			return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
		}
		return nil, err
	}
}

type countingReader struct {
	in io.Reader
	n  *atomic.Int64
}

// Read is part of [io.Reader].
func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// importFile is what a file is known by.
type importFile struct {
	Size int64  `json:"size"`
	Head string `json:"sha256_of_the_first_mib"`
}

func fileOf(path string) (f importFile, err error) {
	file, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer file.Close() //nolint:errcheck // nothing is written
	info, err := file.Stat()
	if err != nil {
		return f, err
	}
	if !info.Mode().IsRegular() {
		return f, fmt.Errorf("%s is no regular file: give it to standard input", path)
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, file, importHead); err != nil && !errors.Is(err, io.EOF) {
		return f, err
	}
	return importFile{info.Size(), hex.EncodeToString(sum.Sum(nil))}, nil
}
