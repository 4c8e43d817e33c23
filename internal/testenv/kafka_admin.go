package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Admin is an administrator's client, past proxies and logins. It is good until the set of brokers that run changes.
func (c *Cluster) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	cl, err := c.direct().open(kgo.MetadataMinAge(10 * time.Millisecond)) // by default what it says may be seconds old
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// Configure changes a setting of the broker from its next start on.
func (b *Broker) Configure(t testing.TB, name, value string) {
	t.Helper()
	settings, err := os.OpenFile(b.settings(), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintf(settings, "%s=%s\n", name, value) // the last one holds
	}
	if err == nil {
		err = settings.Close()
	}
	if err != nil {
		t.Fatalf("changing %s of broker %d: %v", name, b.id, err)
	}
}

// Wipe ends all brokers, deletes everything that they hold, and starts a new cluster on the same ports.
func (c *Cluster) Wipe(t testing.TB) {
	t.Helper()
	for _, b := range c.brokers {
		b.Kill(t)
		if err := os.RemoveAll(filepath.Join(b.dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("starting a new cluster: %v", err)
	}
}

// AutoCreate asks for a topic as a careless client does: brokers with auto.create.topics.enable create it by that.
func (c *Cluster) AutoCreate(t testing.TB, topic string) {
	t.Helper()
	cl, err := c.direct().open()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = new(topic)
	req.Topics = append(req.Topics, wanted)
	Eventually(t, brokerWait, func() error {
		res, err := req.RequestWith(t.Context(), cl)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].ErrorCode)
	})
}
