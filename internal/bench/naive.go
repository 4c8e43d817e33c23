package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"
	kafka "github.com/segmentio/kafka-go"

	"sluice/event"
	"sluice/ingest"
	"sluice/ingest/signature"
)

// naiveMode is the mode in which this command is the service that one writes in an afternoon: Echo, SETNX, kafka-go's
// Writer. What it promises is less: a failed write after SETNX loses the event, a retried one doubles it.
const naiveMode = "naive"

// naiveOptions are its flags.
type naiveOptions struct {
	brokers, redis, prefix string
	tuned                  bool
}

func (o *naiveOptions) flags(set *flag.FlagSet) {
	set.StringVar(&o.brokers, "brokers", "", "host:port, separated by commas")
	set.StringVar(&o.redis, "redis", "", "URL")
	set.StringVar(&o.prefix, "prefix", "", "of the topics")
	set.BoolVar(&o.tuned, "tuned", false, "with a writer set up for many small synchronous writes")
}

// naiveWriter is a Writer with kafka-go's defaults, but for acks: without all, a 200 would mean nothing. tuned waits
// for 5 ms instead of a second to fill a batch.
func naiveWriter(brokers string, tuned bool) *kafka.Writer {
	w := &kafka.Writer{Addr: kafka.TCP(strings.Split(brokers, ",")...), Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll}
	if tuned {
		w.BatchTimeout, w.BatchSize = 5*time.Millisecond, 1000
	}
	return w
}

// serveNaive writes its address to out and serves until ctx ends.
func serveNaive(ctx context.Context, o naiveOptions, out io.Writer) (err error) {
	verifier, err := signature.New([]signature.Key{{Name: "bench", Secret: signingKey}}, time.Hour)
	if err != nil {
		return fmt.Errorf("verifier: %w", err)
	}
	at, err := redis.ParseURL(o.redis)
	if err != nil {
		return fmt.Errorf("-redis: %w", err)
	}
	client := redis.NewClient(at)
	writer := naiveWriter(o.brokers, o.tuned)
	defer func() { err = errors.Join(err, writer.Close(), client.Close()) }()

	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.POST(ingest.Path, func(c echo.Context) error {
		r := c.Request()
		body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, noopMaxBody))
		if err != nil {
			return err
		}
		if _, err := verifier.Verify(r.Header.Get("X-CIO-Timestamp"), r.Header.Get("X-CIO-Signature"), body, time.Now()); err != nil {
			return echo.NewHTTPError(http.StatusUnauthorized)
		}
		parsed, err := event.Parse(body)
		if err != nil {
			return echo.NewHTTPError(http.StatusBadRequest)
		}
		fresh, err := client.SetNX(r.Context(), "naive:"+o.prefix+":"+parsed.ID, 1, time.Hour).Result()
		if err != nil {
			return err
		}
		if fresh {
			record := kafka.Message{Topic: o.prefix + "_" + parsed.Type, Key: []byte(parsed.Key), Value: body}
			if err := writer.WriteMessages(r.Context(), record); err != nil {
				return err
			}
		}
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, []byte(noopAnswer))
	})
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: noopHeaderTimeout, IdleTimeout: noopIdleTimeout}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintf(out, "naive listens on %s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}
