package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/ingest"
)

// noopMode is the mode in which this command is the server that sluice is compared with.
const noopMode = "noop"

// The limits of `sluice serve` by default.
const (
	noopMaxBody       = ingest.DefaultMaxBodyBytes
	noopMaxRequests   = 10_000
	noopMaxBytes      = ingest.DefaultMaxInFlightBytes
	noopHeaderTimeout = 5 * time.Second
	noopIdleTimeout   = 90 * time.Second
	noopBodyTimeout   = 20 * time.Second
	noopWriteTimeout  = noopBodyTimeout + ingest.DefaultDiscardTimeout + ingest.DefaultRequestTimeout + 5*time.Second
)

// noopAnswer is as long as sluice's answers are.
const noopAnswer = `{"status":"published","event_id":"01K3M8Q4C7V5W9000000000000","event_type":"email_delivered",` +
	`"request_id":"00000000000000000000000000000000"}` + "\n"

// serveNoop is Echo with a handler that reads the body under the same limits and deadlines as sluice, and answers. It
// keeps nothing, checks nothing and counts nothing. It writes its address to out.
func serveNoop(ctx context.Context, out io.Writer) error {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.POST(ingest.Path, new(noop).webhook)
	var config net.ListenConfig
	config.SetMultipathTCP(false) // as sluice
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{
		Handler: e, ReadHeaderTimeout: noopHeaderTimeout, IdleTimeout: noopIdleTimeout, WriteTimeout: noopWriteTimeout,
		MaxHeaderBytes: ingest.DefaultMaxHeaderBytes, DisableGeneralOptionsHandler: true,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintf(out, "noop listens on %s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// noop counts what is in flight, as sluice does.
type noop struct {
	requests, bytes atomic.Int64
}

func (n *noop) webhook(c echo.Context) error {
	defer n.requests.Add(-1)
	if n.requests.Add(1) > noopMaxRequests {
		return echo.ErrServiceUnavailable
	}
	size := c.Request().ContentLength
	if size < 0 || size > noopMaxBody { // the generator sends no chunked bodies
		return echo.ErrStatusRequestEntityTooLarge
	}
	defer n.bytes.Add(-size)
	if n.bytes.Add(size) > noopMaxBytes {
		return echo.ErrServiceUnavailable
	}
	control := http.NewResponseController(c.Response())
	if err := control.SetReadDeadline(time.Now().Add(noopBodyTimeout)); err != nil {
		return err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.Request().Body, body); err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, []byte(noopAnswer))
}
