package dedupe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/testenv"
)

// cluster is three masters, each with a third of the slots; the first has a replica.
type cluster struct {
	masters []*server
	replica *server
	slots   [][2]int
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	testenv.Need(t, testenv.ServerRedis)
	c := &cluster{slots: [][2]int{{0, 5460}, {5461, 10922}, {10923, 16383}}}
	args := []string{"--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"}
	bus := ""
	for i := range 3 {
		node, busPort := clusterNode(t, args...)
		c.masters = append(c.masters, node)
		if i == 0 {
			bus = busPort
		}
	}
	c.replica, _ = clusterNode(t, args...)
	ctx := t.Context()
	for i, m := range c.masters {
		if err := m.raw.ClusterAddSlotsRange(ctx, c.slots[i][0], c.slots[i][1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	host, port, err := net.SplitHostPort(c.masters[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*server{c.masters[1], c.masters[2], c.replica} {
		if err := s.raw.Do(ctx, "CLUSTER", "MEET", host, port, bus).Err(); err != nil {
			t.Fatal(err)
		}
	}
	first := c.masters[0].raw.ClusterMyID(ctx).Val()
	testenv.Eventually(t, soon, func() error { return c.replica.raw.ClusterReplicate(ctx, first).Err() })
	testenv.Eventually(t, soon, func() error {
		for _, s := range append([]*server{c.replica}, c.masters...) {
			info := s.raw.ClusterInfo(ctx).Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:4") {
				return errors.New(info)
			}
		}
		if !strings.Contains(c.replica.raw.Info(ctx, "replication").Val(), "master_link_status:up") {
			return errors.New("the replica isn't linked")
		}
		nodes := 0
		shards := c.masters[1].raw.ClusterShards(ctx).Val()
		for _, s := range shards {
			nodes += len(s.Nodes)
		}
		if len(shards) != 3 || nodes != 4 {
			return fmt.Errorf("shards %v", shards)
		}
		return nil
	})
	return c
}

// clusterNode starts a node. Its bus port is a free one: Redis' own choice, 10,000 above the other, may be anybody's.
func clusterNode(t *testing.T, args ...string) (node *server, busPort string) {
	t.Helper()
	_, busPort, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return realRedis(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", busPort}, args...)...), busPort
}

// freeAddr is an address on which nobody listens now.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func (c *cluster) url() string {
	return fmt.Sprintf("redis+cluster://%s?addr=%s&addr=%s", c.masters[0].addr, c.masters[1].addr, c.masters[2].addr)
}

// ids returns n IDs that live on the master.
func (c *cluster) ids(t *testing.T, master, n int) []string {
	t.Helper()
	var ids []string
	for i := 0; len(ids) < n; i++ {
		id := fmt.Sprintf("m%d-%d", master, i)
		slot, err := c.masters[1].raw.ClusterKeySlot(t.Context(), Key("slu:", id)).Result()
		if err != nil {
			t.Fatal(err)
		}
		if int(slot) >= c.slots[master][0] && int(slot) <= c.slots[master][1] {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestCluster(t *testing.T) { //nolint:tparallel // its parts share the cluster, one after another
	t.Parallel() // it mostly waits
	c := startCluster(t)
	d := newDeduper(t, Options{URL: c.url(), Timeout: 400 * time.Millisecond, ClaimTimeout: 500 * time.Millisecond})
	other := newDeduper(t, Options{URL: "redis+cluster://" + c.masters[2].addr, Instance: "other", ClaimTimeout: short})
	for _, d := range []*Deduper{d, other} {
		if err := d.Check(t.Context()); err != nil || !d.State().Up {
			t.Fatalf("Check: %v, %+v", err, d.State())
		}
	}

	t.Run("a single URL is refused", func(t *testing.T) {
		single := newDeduper(t, Options{URL: c.masters[0].url(), Prefix: c.foreignPrefix(t)})
		if err := single.Check(t.Context()); !errors.Is(err, ErrMisconfigured) {
			t.Errorf("Check: %v", err)
		}
	})

	t.Run("least permissions", func(t *testing.T) {
		for _, s := range append([]*server{c.replica}, c.masters...) {
			s.acl(t, "", "least", "+set", "+get", "+eval", "+del", "+pexpire", "+cluster|slots")
			s.acl(t, "", "lame", "+set", "+get", "+cluster|slots")
		}
		host := strings.TrimPrefix(c.url(), "redis+cluster://")
		least := newDeduper(t, Options{URL: "redis+cluster://least:pw@" + host})
		if err := least.Check(t.Context()); err != nil {
			t.Errorf("Check: %v", err)
		}
		for i := range 30 {
			claim(t, least, fmt.Sprintf("least-%d", i), Won).Confirm()
		}
		lame := newDeduper(t, Options{URL: "redis+cluster://lame:pw@" + host})
		if err := lame.Check(t.Context()); !errors.Is(err, ErrMisconfigured) {
			t.Errorf("Check without scripts: %v", err)
		}
	})

	t.Run("claims spread over the masters", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 300 {
			all.Go(func() {
				got, err := d.Claim(t.Context(), strconv.Itoa(i))
				if err != nil || got.Verdict() != Won {
					t.Errorf("claiming %d: %v, %v", i, got, err)
					return
				}
				if i%3 == 0 {
					got.Release()
				} else {
					got.Confirm()
				}
			})
		}
		all.Wait()
		if n := len(d.lanes); n != 3 {
			t.Errorf("%d lanes", n)
		}
		for i := range 300 {
			want := Duplicate
			if i%3 == 0 {
				want = Won
			}
			testenv.Eventually(t, soon, func() error {
				got, err := other.Claim(t.Context(), strconv.Itoa(i))
				if err == nil && got.Verdict() != want {
					t.Errorf("claiming %d elsewhere: %v", i, got.Verdict())
				}
				return err // busy until the settling is written
			})
		}
	})

	t.Run("a frozen master stalls nobody else", func(t *testing.T) {
		frozen, fine := c.ids(t, 1, 20), c.ids(t, 2, 20)
		c.masters[1].real.Stop(t)
		start := time.Now()
		for _, id := range frozen {
			claim(t, d, id, Skipped).Confirm()
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("20 claims on a frozen master took %v", took)
		}
		for _, id := range fine {
			claim(t, d, id, Won).Confirm()
		}
		if st := d.State(); st.Up {
			t.Error("a master is away, and the state says up")
		}
		c.masters[1].real.Cont(t)
		waitUp(t, d, true)
		for _, id := range frozen {
			c.masters[1].waitValue(t, id, "done")
		}
	})

	t.Run("a moved slot is followed", func(t *testing.T) {
		id := "moved-" + c.ids(t, 0, 1)[0]
		slot := int(c.masters[1].raw.ClusterKeySlot(t.Context(), Key("slu:", id)).Val())
		to := 0
		for slot >= c.slots[to][0] && slot <= c.slots[to][1] {
			to++
		}
		owner := c.masters[to].raw.ClusterMyID(t.Context()).Val()
		for _, m := range c.masters {
			if err := m.raw.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "NODE", owner).Err(); err != nil {
				t.Fatal(err)
			}
		}
		claim(t, d, id, Won).Confirm()
		c.masters[to].waitValue(t, id, "done")
		if st := d.State(); !st.Up {
			t.Errorf("state %+v", st)
		}
	})

	t.Run("a failover is survived", func(t *testing.T) {
		ids := c.ids(t, 0, 40)[10:]
		c.masters[0].real.Kill(t)
		claim(t, d, ids[0], Skipped).Confirm()
		waitUp(t, d, true)
		c.replica.waitValue(t, ids[0], "done")
		for _, id := range ids[1:] {
			claim(t, d, id, Won).Confirm()
			c.replica.waitValue(t, id, "done")
		}
	})
}

// foreignPrefix makes the probe's key one that the first master doesn't serve.
func (c *cluster) foreignPrefix(t *testing.T) string {
	t.Helper()
	for i := range 100 {
		prefix := fmt.Sprintf("p%d:", i)
		if slot := c.masters[1].raw.ClusterKeySlot(t.Context(), prefix+markProbe).Val(); int(slot) > c.slots[0][1] {
			return prefix
		}
	}
	t.Fatal("no such prefix")
	return ""
}

// startSentinel starts a Sentinel that watches the master under the name mymaster.
func startSentinel(t *testing.T, master *server) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	host, masterPort, _ := net.SplitHostPort(master.addr)
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	lines := []string{
		"bind 127.0.0.1", "port " + port, "dir " + dir,
		"sentinel monitor mymaster " + host + " " + masterPort + " 1",
		"sentinel down-after-milliseconds mymaster 500",
		"sentinel failover-timeout mymaster 2000",
	}
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "redis-server", conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return addr
}

// waitReplica waits until the Sentinel knows a replica that is linked.
func waitReplica(t *testing.T, addr string) {
	t.Helper()
	raw := redis.NewSentinelClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = raw.Close() })
	testenv.Eventually(t, soon, func() error {
		replicas, err := raw.Replicas(t.Context(), "mymaster").Result()
		if err != nil {
			return err
		}
		if len(replicas) != 1 || replicas[0]["master-link-status"] != "ok" {
			return fmt.Errorf("replicas %v", replicas)
		}
		return nil
	})
}

func TestSentinel(t *testing.T) {
	t.Parallel() // it mostly waits
	master := realRedis(t)
	host, port, err := net.SplitHostPort(master.addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := realRedis(t, "--replicaof", host+" "+port)
	addr := startSentinel(t, master)
	waitReplica(t, addr)

	unknown := newDeduper(t, Options{URL: "redis+sentinel://" + addr + "?master_name=nobody"})
	if err := unknown.Check(t.Context()); !errors.Is(err, ErrMisconfigured) {
		t.Errorf("a master that no sentinel knows: %v", err)
	}

	d := newDeduper(t, Options{URL: "redis+sentinel://" + addr + "?master_name=mymaster", Timeout: time.Second})
	if err := d.Check(t.Context()); err != nil || !d.State().Up {
		t.Fatalf("Check: %v, %+v", err, d.State())
	}
	claim(t, d, "a", Won).Confirm()
	replica.waitValue(t, "a", "done")
	master.real.Kill(t)
	claim(t, d, "b", Skipped).Confirm()
	waitUp(t, d, true) // the replica has been promoted
	replica.waitValue(t, "b", "done")
	claim(t, d, "c", Won)
}
