package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sluice/config"
	"sluice/dedupe"
	"sluice/event"
	"sluice/ingest"
	"sluice/ingest/signature"
	"sluice/publisher"
	"sluice/publisher/balance"
	"sluice/publisher/connect"
)

// headerRoom is what a record's headers and key may take beyond its value, at
// most: 16 KiB of received headers and Sluice's own.
const headerRoom = 64 << 10

func newDeduper(c *config.Config, log *zap.Logger, reg prometheus.Registerer) (*dedupe.Deduper, error) {
	whenDown, err := dedupe.ParseWhenDown(c.DedupeWhenDown)
	if err != nil {
		return nil, err
	}
	return dedupe.New(dedupe.Options{
		URL: c.RedisURL.Reveal(), Password: c.RedisPassword.Reveal(), Instance: c.Instance, Prefix: c.RedisPrefix,
		Lease: c.DedupeLease, TTL: c.DedupeTTL, Timeout: c.RedisTimeout, ClaimTimeout: c.ClaimTimeout,
		BusyTimeout: c.RequestTimeout / 2, // until whoever has the event has kept it, on disk if Kafka is away
		WhenDown:    whenDown, Succeeds: c.SpoolDir != "", Log: log, Registerer: reg,
	})
}

// connection says how to reach Kafka.
func connection(c *config.Config) connect.Options {
	o := connect.Options{ClientID: c.KafkaClientID}
	if c.KafkaTLS {
		o.TLS = &connect.TLS{
			CAFile: c.KafkaTLSCA, CertFile: c.KafkaTLSCert, KeyFile: c.KafkaTLSKey,
			ServerName: c.KafkaTLSServerName, InsecureSkipVerify: c.KafkaTLSInsecureSkipVerify,
		}
	}
	if c.KafkaSASLMechanism != "" {
		o.SASL = &connect.SASL{
			Mechanism: c.KafkaSASLMechanism, Username: c.KafkaSASLUsername, Password: c.KafkaSASLPassword.Reveal(),
		}
	}
	return o
}

// topicOptions says which topics there are.
func topicOptions(c *config.Config) publisher.TopicOptions {
	types := event.Described()
	names := make([]string, 0, len(types))
	for _, t := range types {
		names = append(names, t.Name)
	}
	overrides := make(map[string]publisher.TopicOverride, len(c.TopicOverrides))
	for name, o := range c.TopicOverrides {
		overrides[name] = publisher.TopicOverride{
			Partitions: o.Partitions, Replication: o.Replication, Retention: time.Duration(o.Retention),
		}
	}
	return publisher.TopicOptions{
		Template: c.Topic, DeadLetter: c.DeadLetterTopic, Overflow: c.OverflowTopic,
		Types: names, Max: c.MaxTopics, Create: c.CreateTopics,
		Partitions: c.Partitions, Replication: c.Replication, Retention: time.Duration(c.Retention),
		MaxMessageBytes: int(c.MaxBody) + headerRoom, Overrides: overrides, DedupeTTL: c.DedupeTTL,
	}
}

// spoolOptions says where batches are written down, if anywhere.
func spoolOptions(c *config.Config) *publisher.SpoolOptions {
	if c.SpoolDir == "" {
		return nil
	}
	return &publisher.SpoolOptions{Dir: c.SpoolDir, Instance: c.Instance, MaxBytes: int64(c.SpoolMaxBytes), After: c.SpoolAfter}
}

func publisherOptions(c *config.Config, kept func(publisher.Kept), book *balance.Book, log *zap.Logger, reg prometheus.Registerer) publisher.Options {
	return publisher.Options{
		Brokers: c.KafkaBrokers, Connect: connection(c), Key: publisher.KeyMode(c.Key),
		Topics: topicOptions(c), Spool: spoolOptions(c), Kept: kept, Book: book,
		Log: log, Registry: reg,
	}
}

func newPublisher(c *config.Config, kept func(publisher.Kept), book *balance.Book, log *zap.Logger, reg prometheus.Registerer) (*publisher.Publisher, error) {
	p, err := publisher.New(publisherOptions(c, kept, book, log, reg))
	return p, explainSpool(err, c)
}

func newHandler(c *config.Config, d ingest.Deduper, p ingest.Publisher, log *zap.Logger, reg prometheus.Registerer) (*ingest.Handler, error) {
	var verifier *signature.Verifier
	if !c.InsecureNoSignature {
		var err error
		if verifier, err = signature.New(signingKeys(c), c.EffectiveTolerance()); err != nil {
			return nil, err
		}
	}
	return ingest.New(ingest.Options{
		Verifier: verifier, Deduper: d, Publisher: p, Log: log, Registerer: reg,
		MaxBodyBytes: int64(c.MaxBody), MaxInFlightRequests: int64(c.MaxInFlight), MaxInFlightBytes: int64(c.MaxInFlightBytes),
		BodyTimeout: c.ReadTimeout, RequestTimeout: c.RequestTimeout,
	})
}

// signingKeys are the configured keys as package signature takes them.
func signingKeys(c *config.Config) []signature.Key {
	keys := make([]signature.Key, 0, len(c.SigningKeys))
	for _, k := range c.SigningKeys {
		keys = append(keys, signature.Key{Name: k.Name, Secret: k.Key.Reveal()})
	}
	return keys
}
