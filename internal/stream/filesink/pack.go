package filesink

import (
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// packer compresses one member after the other.
type packer interface {
	io.WriteCloser // Close ends the member
	Reset(io.Writer)
}

// packerFor is the compression that a name asks for, nil for none.
func packerFor(name string, to io.Writer) (*repacker, error) {
	switch {
	case strings.HasSuffix(name, ".gz"):
		return &repacker{packer: gzip.NewWriter(to), to: to}, nil
	case strings.HasSuffix(name, ".zst"):
		// One goroutine: the bytes are then the same on every machine.
		z, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		if err != nil {
			return nil, err
		}
		return &repacker{packer: z, to: to}, nil
	}
	return nil, nil
}

// repacker is a packer that begins anew after each end.
type repacker struct {
	packer
	to io.Writer
}

// members is an output that is compressed.
type members struct{ pack *repacker }

func (m *members) write(lines []byte, end bool) error {
	if _, err := m.pack.Write(lines); err != nil || !end {
		return err
	}
	if err := m.pack.Close(); err != nil {
		return err
	}
	m.pack.Reset(m.pack.to)
	return nil
}
