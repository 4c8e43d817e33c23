package dedupe

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// BenchmarkKeyMemory measures what a remembered delivery costs Redis: one million keys as Confirm leaves them, for
// event IDs that are ULIDs and for other shapes. It flushes the database of the URL.
//
//	SLUICE_TEST_REDIS=redis://127.0.0.1:6379/9 go test -run '^$' -bench KeyMemory -benchtime 1x ./dedupe
func BenchmarkKeyMemory(b *testing.B) {
	url := os.Getenv(redisVar)
	if url == "" {
		b.Skipf("needs a real Redis: set %s to its URL, with a database number that may be flushed", redisVar)
	}
	for _, shape := range []struct {
		name string
		id   func(i int) string
	}{
		{"ulid", func(i int) string { return fmt.Sprintf("01J8Z3W0V5%016d", i) }},
		{"hex20", func(i int) string { return fmt.Sprintf("%020x", i) }},
		{"hash", func(i int) string { return Identify(EventID, "", "", []byte(strconv.Itoa(i))) }},
		{"longest", func(i int) string { return fmt.Sprintf("%s%064d", markDelivery, i) }},
	} {
		b.Run(shape.name, func(b *testing.B) {
			client := benchClient(b, url)
			defer func() { _ = client.Close() }()
			d := &Deduper{ttlMillis: int64(192 * 3600 * 1000)}
			const keys, flight = 1_000_000, 10_000
			for b.Loop() {
				if err := client.FlushDB(b.Context()).Err(); err != nil {
					b.Fatal(err)
				}
				before := infoNumber(b, client, "memory", "used_memory")
				for i := 0; i < keys; i += flight {
					var cmds []redis.Cmder
					for j := i; j < i+flight; j++ {
						c := command{kind: tellKept, claim: &Claim{key: Key("slu:", shape.id(j))}}
						cmds = append(cmds, c.build(b.Context(), d))
					}
					run(b.Context(), client, cmds)
					for _, cmd := range cmds {
						if err := cmd.Err(); err != nil {
							b.Fatal(err)
						}
					}
				}
				after := infoNumber(b, client, "memory", "used_memory")
				b.ReportMetric((after-before)/keys, "bytes/key")
				one, err := client.MemoryUsage(b.Context(), Key("slu:", shape.id(1))).Result()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(one), "MEMORY-USAGE-bytes")
			}
			if err := client.FlushDB(b.Context()).Err(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
