//go:build !linux

package ingest

import (
	"errors"
	"net"
)

// refuseHandshakes isn't possible here: connections that are made in the
// instant in which the socket is closed are reset.
func refuseHandshakes(net.Listener) error { return errors.ErrUnsupported }
