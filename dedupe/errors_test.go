package dedupe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Faults of the connection; those that Redis replies with are in TestReplies.
func TestClassify(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	slow := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	for _, tt := range []struct {
		err  error
		want fault
		lost bool // worth another connection
	}{
		{nil, faultNone, false},
		{refused, faultDial, false},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, faultDial, false},
		{&net.DNSError{Err: "no such host"}, faultDial, false},
		{slow, faultTimeout, false},
		{context.DeadlineExceeded, faultTimeout, false},
		{redis.ErrPoolTimeout, faultTimeout, false},
		{io.EOF, faultConnection, true},
		{io.ErrUnexpectedEOF, faultConnection, true},
		{reset, faultConnection, true},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, faultConnection, true},
		{net.ErrClosed, faultConnection, true},
		{errAway, faultConnection, false},
		{redis.ErrClosed, faultConnection, false},
		{errNoMaster, faultRefused, false},
		{errors.Join(refused, errNoMaster), faultRefused, false},
	} {
		t.Run(fmt.Sprint(tt.err), func(t *testing.T) {
			err := tt.err
			if err != nil {
				err = notSent{fmt.Errorf("wrapped: %w", err)}
			}
			if got := classify(err); got != tt.want {
				t.Errorf("fault %q, want %q", got, tt.want)
			}
			if got := lostConnection(err); got != tt.lost {
				t.Errorf("lost connection: %v", got)
			}
		})
	}
}
