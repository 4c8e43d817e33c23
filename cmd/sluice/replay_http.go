package main

import (
	"context"
	"net/http"

	"sluice/internal/stream"
	"sluice/internal/stream/httpsink"
)

// replayAhead is the most records of a partition that are posted before the first of them is accepted. See [stream.Flow].
const replayAhead = 100_000

// httpTarget posts to a webhook handler.
type httpTarget struct {
	*httpsink.Sink
	stop func() bool // forgets the context
}

// Close is part of [stream.Sink].
func (t httpTarget) Close() error {
	t.stop()
	return t.Sink.Close()
}

// openHTTP posts. An event that is given up ends the replay, which can be gone on with.
func (r *replay) openHTTP(ctx context.Context) (stream.Sink, error) {
	o := r.c.Posts.options(r.c.ToHTTP, noticesTo(lineWriter(r.show.say)))
	var err error
	if _, o.SigningKey, err = signingKey(&r.c.Config, r.c.Posts.SignWith); err != nil {
		return nil, err
	}
	o.Headers = func(_ *stream.Record, h http.Header) { h.Set(replayIDHeader, r.state.ID) }
	sink, err := httpsink.New(o)
	if err != nil {
		return nil, err
	}
	return httpTarget{sink, context.AfterFunc(ctx, sink.Drain)}, nil
}
