package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerWait bounds the wait for a broker to start, to stop or to be found by the others: 2 to 4 s on an idle
// machine, many times that when several test binaries share two cores.
const brokerWait = 90 * time.Second

// Broker is one Kafka process, both broker and controller. Its methods are for one goroutine at a time.
type Broker struct {
	cluster                      *Cluster
	id                           int32
	dir                          string
	client, internal, controller *port
	advertised                   string
	proxy                        *TCPProxy // nil without WithProxies
	child                        *child    // nil before the first start
	stopped                      bool      // by SIGSTOP
}

// ID is the broker's node id.
func (b *Broker) ID() int32 { return b.id }

// Addr is the broker's own clients' listener, behind any proxy.
func (b *Broker) Addr() string { return b.client.addr() }

// Proxy is the proxy before the broker; only with WithProxies.
func (b *Broker) Proxy() *TCPProxy { return b.proxy }

// Pid is the broker's process id; of the last process when it doesn't run.
func (b *Broker) Pid() int { return b.child.cmd.Process.Pid }

// Running tells whether the process runs and isn't frozen.
func (b *Broker) Running() bool { return b.child != nil && !b.child.exited() && !b.stopped }

// Kill ends the broker as kill -9 does and waits until the process is gone.
func (b *Broker) Kill(t testing.TB) {
	t.Helper()
	if err := b.kill(); err != nil {
		t.Fatalf("killing broker %d: %v", b.id, err)
	}
}

// Terminate shuts the broker down in good order (SIGTERM): it hands its partitions over and writes its logs out.
func (b *Broker) Terminate(t testing.TB) {
	t.Helper()
	if err := b.child.end(syscall.SIGTERM, brokerWait); err != nil {
		t.Fatalf("terminating broker %d: %v", b.id, err)
	}
}

// Stop freezes the process (SIGSTOP): its connections stay open, and nothing answers.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	if err := b.child.signal(sigStop); err != nil {
		t.Fatalf("stopping broker %d: %v", b.id, err)
	}
	b.stopped = true
}

// Cont lets a frozen process go on and waits until it answers as a part of the cluster.
func (b *Broker) Cont(t testing.TB) {
	t.Helper()
	if err := b.child.signal(sigCont); err != nil {
		t.Fatalf("continuing broker %d: %v", b.id, err)
	}
	b.stopped = false
	if err := b.waitReady(t.Context()); err != nil {
		t.Fatalf("continuing broker %d: %v", b.id, err)
	}
}

// Restart starts the broker again on its old ports and data, after killing it if it runs, and waits until it answers
// as a part of the cluster.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // the process outlives the test's own context, not its cleanup
	err := b.kill()
	if err == nil {
		err = b.start(ctx)
	}
	if err == nil {
		err = b.waitReady(ctx)
	}
	if err != nil {
		t.Fatalf("restarting broker %d: %v", b.id, err)
	}
}

func (b *Broker) settings() string { return filepath.Join(b.dir, "server.properties") }
func (b *Broker) logFile() string  { return filepath.Join(b.dir, "broker.log") }

// kill ends the process if there is one.
func (b *Broker) kill() error {
	b.stopped = false
	if b.child == nil {
		return nil
	}
	return b.child.end(os.Kill, killWait)
}

// start starts the process and doesn't wait for it.
func (b *Broker) start(ctx context.Context) error {
	log, err := os.OpenFile(b.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening a broker's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	args := append([]string{"-Xmx384m"}, b.cluster.javaArgs()...)
	args = append(args, b.cluster.opts.jvm...)
	args = append(args, "kafka.Kafka", b.settings())
	cmd := exec.CommandContext(ctx, b.cluster.home.java, args...)
	cmd.Dir = b.dir // where Java leaves its crash reports
	cmd.Stdout, cmd.Stderr = log, log
	if b.child, err = startChild(cmd); err != nil {
		return err
	}
	return nil
}

var (
	errBrokerDied = errors.New("the broker's process ended")
	errNotJoined  = errors.New("not yet a part of the cluster")
)

// waitReady waits until every broker that runs names this one among the cluster's live brokers, and this one names
// them and a controller: from then on clients find it wherever they ask.
func (b *Broker) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, brokerWait, fmt.Errorf("no answer within %s", brokerWait))
	defer cancel()
	died := make(chan struct{})
	go func() {
		defer close(died)
		select {
		case <-b.child.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-died }()
	err := poll(ctx, func(ctx context.Context) error {
		for _, asked := range b.cluster.brokers {
			if !asked.Running() {
				continue
			}
			live, err := asked.liveBrokers(ctx)
			if err != nil {
				return err
			}
			if !live[b.id] || asked == b && !b.sees(live) {
				return fmt.Errorf("broker %d says that %v live: %w", asked.id, live, errNotJoined)
			}
		}
		return nil
	})
	if err != nil && b.child.exited() {
		return fmt.Errorf("broker %d: %w, exit code %d; its log ends:\n%s", b.id, errBrokerDied, b.child.exitCode(), b.logTail())
	}
	if err != nil {
		return fmt.Errorf("waiting for broker %d: %w", b.id, err)
	}
	return nil
}

// sees tells whether all brokers that run are live.
func (b *Broker) sees(live map[int32]bool) bool {
	for _, other := range b.cluster.brokers {
		if other.Running() && !live[other.id] {
			return false
		}
	}
	return true
}

// liveBrokers asks this very broker which ones are in the cluster. No controller is an error.
func (b *Broker) liveBrokers(ctx context.Context) (map[int32]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cl, err := client{bootstrap: []string{b.internal.addr()}}.open(kgo.DialTimeout(time.Second))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none: we ask about the brokers
	answer, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("asking broker %d: %w", b.id, err)
	}
	resp, ok := answer.(*kmsg.MetadataResponse)
	if !ok || resp.ControllerID < 0 {
		return nil, fmt.Errorf("broker %d knows no controller: %w", b.id, errNotJoined)
	}
	live := map[int32]bool{}
	for _, found := range resp.Brokers {
		live[found.NodeID] = true
	}
	return live, nil
}

// logTail is the end of the broker's log.
func (b *Broker) logTail() string {
	raw, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	return lastLines(string(raw), 40)
}
