package dedupe

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/testenv"
)

// redisVar names a Redis for the benchmarks, as SLUICE_REDIS_URL would; without it they run on a miniredis in another
// process, which measures the client only. Its database is written to and flushed.
const redisVar = "SLUICE_TEST_REDIS"

func benchURL(b *testing.B) string {
	b.Helper()
	if url := os.Getenv(redisVar); url != "" {
		return url
	}
	_, url := testenv.Apart(b)
	return url
}

// way is one way to bring a claim and its confirm to Redis. claim must have its answer when it returns; confirm need
// not.
type way struct {
	name  string
	start func(b *testing.B, url string) (claimAndConfirm func(ctx context.Context, id string) error, end func())
}

// ways are the candidates that the flusher of this package was chosen from.
func ways() []way {
	return []way{
		{"deduper", func(b *testing.B, url string) (func(context.Context, string) error, func()) {
			b.Helper()
			d, err := New(Options{URL: url, Instance: "bench", Timeout: 5 * time.Second, ClaimTimeout: 5 * time.Second})
			if err != nil {
				b.Fatal(err)
			}
			do := func(ctx context.Context, id string) error {
				c, err := d.Claim(ctx, id)
				if err != nil {
					return err
				}
				if c.Verdict() != Won {
					return fmt.Errorf("verdict %v", c.Verdict())
				}
				c.Confirm()
				return nil
			}
			return do, func() {
				if err := d.Close(context.Background()); err != nil {
					b.Error(err)
				}
			}
		}},
		{"flusher", func(b *testing.B, url string) (func(context.Context, string) error, func()) {
			b.Helper()
			d, err := New(Options{URL: url, Instance: "bench", Timeout: 5 * time.Second})
			if err != nil {
				b.Fatal(err)
			}
			do := func(_ context.Context, id string) error {
				c := &Claim{d: d, key: id, token: d.tokens.next()}
				c.ask.claim, c.settle.claim = c, c
				c.ask.kind, c.settle.kind, c.settle.until = askClaim, tellKept, d.epoch.Add(time.Hour)
				<-d.mainLane.submit(&c.ask).done
				d.tell(&c.settle)
				return c.ask.err
			}
			return do, func() {
				if err := d.Close(context.Background()); err != nil {
					b.Error(err)
				}
			}
		}},
		{"autopipeline", func(b *testing.B, url string) (func(context.Context, string) error, func()) {
			b.Helper()
			client := benchClient(b, url)
			ap, err := client.AsyncAutoPipeline()
			if err != nil {
				b.Fatal(err)
			}
			do := func(ctx context.Context, id string) error {
				set := redis.NewStatusCmd(ctx, "set", id, "pending:bench.0011223344556677."+id, "px", 60_000, "nx")
				if err := ap.Submit(ctx, set).WaitContext(ctx); err != nil {
					return err
				}
				ap.Submit(ctx, redis.NewStatusCmd(ctx, "set", id, "done", "px", 691_200_000))
				return nil
			}
			return do, func() {
				if err := ap.Close(); err != nil {
					b.Error(err)
				}
				if err := client.Close(); err != nil {
					b.Error(err)
				}
			}
		}},
		{"autopipeline-blocking", func(b *testing.B, url string) (func(context.Context, string) error, func()) {
			b.Helper()
			client := benchClient(b, url)
			ap, err := client.AutoPipeline()
			if err != nil {
				b.Fatal(err)
			}
			do := func(ctx context.Context, id string) error {
				if err := ap.SetNX(ctx, id, "pending:bench.0011223344556677."+id, time.Minute).Err(); err != nil {
					return err
				}
				return ap.Set(ctx, id, "done", 192*time.Hour).Err()
			}
			return do, func() {
				if err := ap.Close(); err != nil {
					b.Error(err)
				}
				if err := client.Close(); err != nil {
					b.Error(err)
				}
			}
		}},
		{"unpipelined", func(b *testing.B, url string) (func(context.Context, string) error, func()) {
			b.Helper()
			client := benchClient(b, url)
			do := func(ctx context.Context, id string) error {
				if err := client.SetNX(ctx, id, "pending:bench.0011223344556677."+id, time.Minute).Err(); err != nil {
					return err
				}
				return client.Set(ctx, id, "done", 192*time.Hour).Err()
			}
			return do, func() {
				if err := client.Close(); err != nil {
					b.Error(err)
				}
			}
		}},
	}
}

func benchClient(b *testing.B, url string) redis.UniversalClient {
	b.Helper()
	client, err := newClient(Options{URL: url, Timeout: 5 * time.Second}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return client
}

// BenchmarkClaimConfirm measures one claim and its confirm under concurrent callers: time, and the CPU time of this
// process and of Redis.
//
//	SLUICE_TEST_REDIS=redis://127.0.0.1:6379/9 go test -run '^$' -bench ClaimConfirm ./dedupe
func BenchmarkClaimConfirm(b *testing.B) {
	url := benchURL(b)
	for _, callers := range []int{1, 64, 256} {
		for _, w := range ways() {
			b.Run(fmt.Sprintf("%s/%d", w.name, callers), func(b *testing.B) {
				admin := benchClient(b, url)
				defer func() { _ = admin.Close() }()
				if err := admin.FlushDB(b.Context()).Err(); err != nil {
					b.Fatal(err)
				}
				do, end := w.start(b, url)
				var n atomic.Uint64
				b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
				if callers == 1 {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
				}
				b.ReportAllocs()
				ours, theirs := cpuTime(), redisCPU(b, admin)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						// A ULID's shape: 26 characters.
						id := fmt.Sprintf("01J8%022d", n.Add(1))
						if err := do(context.Background(), id); err != nil {
							b.Error(err)
							return
						}
					}
				})
				end() // the confirms have been written
				b.StopTimer()
				ours, theirs = cpuTime()-ours, redisCPU(b, admin)-theirs
				b.ReportMetric(float64(ours.Nanoseconds())/1e3/float64(b.N), "client-cpu-µs/op")
				b.ReportMetric(float64(theirs.Nanoseconds())/1e3/float64(b.N), "redis-cpu-µs/op")
			})
		}
	}
}

// redisCPU is the CPU time that Redis has used; 0 where it doesn't say (miniredis).
func redisCPU(b *testing.B, client redis.UniversalClient) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		sum += time.Duration(infoNumber(b, client, "cpu", name) * float64(time.Second))
	}
	return sum
}

// infoNumber reads one number of INFO, 0 if it isn't there.
func infoNumber(b *testing.B, client redis.UniversalClient, section, name string) float64 {
	b.Helper()
	info, err := client.Info(b.Context(), section).Result()
	if err != nil {
		return 0
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				b.Fatal(err)
			}
			return f
		}
	}
	return 0
}
