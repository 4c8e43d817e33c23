//go:build !nodemo

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/demo"
	"sluice/internal/testenv"
)

// TestDemo runs the demo, posts what it offers, and reads its verdict.
func TestDemo(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl isn't here")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, out := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"demo", "--rate=200", "--duplicates=0.5"}, &process{stdout: out, stderr: &stderr})
		out.Close()
	}()
	var shown strings.Builder
	lines := bufio.NewScanner(io.TeeReader(in, &shown))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if command := strings.TrimSpace(lines.Text()); strings.HasPrefix(command, "curl ") {
			for _, want := range []string{"published", "duplicate"} {
				var got string
				testenv.Eventually(t, 20*time.Second, func() error {
					out, err := exec.CommandContext(t.Context(), "bash", "-c", command).Output()
					if got = string(out); err != nil {
						return err
					}
					if strings.Contains(got, "refused") {
						return errUnavailable
					}
					return nil
				})
				if !strings.Contains(got, `"status":"`+want+`"`) {
					t.Errorf("the offered command prints %s, want %s", got, want)
				}
			}
		}
		if strings.Contains(lines.Text(), "records on the topics") {
			cancel()
		}
	}
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d: %s", c, stderr.String())
	}
	for _, want := range []string{"1 others", "Balanced: ", "customerio_push_bounced", "(no event)"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("no %q in:\n%s", want, shown.String())
		}
	}
}

// TestDemoFindsDifferences changes one record on its way into Kafka.
func TestDemoFindsDifferences(t *testing.T) {
	for name, tt := range map[string]struct {
		old, new, want string
	}{
		"a byte":    {`"object_type":"email"`, `"object_type":"emall"`, "changed: "},
		"the event": {want: "lost: "}, // its id becomes another, in the body and in the headers
	} {
		t.Run(name, func(t *testing.T) {
			var tampered atomic.Pointer[string]
			tamper := func(batch []byte) bool {
				id := emailIn(batch)
				if id == "" {
					return false
				}
				from, to := tt.old, tt.new
				if to == "" {
					from, to = id, strings.Repeat("0", len(id))
				}
				at := bytes.Index(batch, []byte(from))
				for ; at >= 0; at = bytes.Index(batch, []byte(from)) {
					copy(batch[at:], to)
				}
				binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
				tampered.Store(&id)
				return true
			}
			var stdout bytes.Buffer
			c := demoCmd{Rate: 100, Send: true, Output: "lines", Duration: 2 * time.Second}
			err := c.run(t.Context(), &process{stdout: &stdout, stderr: io.Discard}, func(s *demo.Servers) {
				s.Kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
					s.Kafka.KeepControl()
					for _, topic := range req.(*kmsg.ProduceRequest).Topics {
						for _, p := range topic.Partitions {
							if tampered.Load() == nil && tamper(p.Records) {
								break
							}
						}
					}
					return nil, nil, false
				})
			})
			if err == nil || !strings.Contains(err.Error(), "not balanced") {
				t.Fatalf("ended with %v:\n%s", err, stdout.String())
			}
			if want := tt.want + *tampered.Load(); !strings.Contains(stdout.String(), want) {
				t.Errorf("no %q in:\n%s", want, stdout.String())
			}
		})
	}
}

// emailIn is the event_id of a record in a batch whose object_type is email and follows it. A batch may have others before
// that.
func emailIn(batch []byte) string {
	before, _, found := bytes.Cut(batch, []byte(`","object_type":"email"`))
	_, id, _ := bytes.Cut(before[max(0, bytes.LastIndex(before, []byte(`"event_id":"`))):], []byte(`"event_id":"`))
	if !found || bytes.ContainsAny(id, `"`) {
		return ""
	}
	return string(id)
}

func TestDemoTakesFreePorts(t *testing.T) {
	var stdout bytes.Buffer
	for _, usual := range []string{demoListen, demoAdminListen, demoKafka} {
		// Whether the listen succeeds or another program has the port: it is taken.
		if l, err := net.Listen("tcp", usual); err == nil {
			defer l.Close()
		}
	}
	c := demoCmd{Rate: 100, Send: true, Output: "lines", Duration: time.Second}
	if err := c.run(t.Context(), &process{stdout: &stdout, stderr: io.Discard}, func(*demo.Servers) {}); err != nil {
		t.Fatal(err)
	}
	for _, usual := range []string{demoListen, demoAdminListen, demoKafka} {
		if !strings.Contains(stdout.String(), usual) {
			t.Errorf("doesn't say that %s is taken:\n%s", usual, stdout.String())
		}
	}
}

func TestDemoNamesAnAddressThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"demo", "--listen=" + l.Addr().String()}, &process{stdout: io.Discard, stderr: &stderr})
	if code != exitFailure || !strings.Contains(stderr.String(), l.Addr().String()) || !strings.Contains(stderr.String(), "--listen") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}
