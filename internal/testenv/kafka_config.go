package testenv

import (
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
)

// saslMechanisms is what a listener with SASL offers: those that Sluice can speak.
const saslMechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"

// properties is the server.properties of one broker.
//
// Three listeners: CLIENT is what tests give to Sluice, with TLS, SASL and proxies as asked for; INTERNAL is plain,
// for the other brokers and this package's readers; CONTROLLER is KRaft's.
func (c *Cluster) properties(b *Broker) string {
	n := len(c.brokers)
	replication := strconv.Itoa(n)
	minISR := strconv.Itoa((n + 1) / 2) // 1 of 1, 2 of 3: what DESIGN.md recommends
	var voters []string
	for _, other := range c.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", other.id, other.controller.addr()))
	}
	config := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(int(b.id)),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "INTERNAL",
		"listeners":                      fmt.Sprintf("CLIENT://%s,INTERNAL://%s,CONTROLLER://%s", b.client.addr(), b.internal.addr(), b.controller.addr()),
		"advertised.listeners":           fmt.Sprintf("CLIENT://%s,INTERNAL://%s", b.advertised, b.internal.addr()),
		"listener.security.protocol.map": "CLIENT:" + c.security() + ",INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       filepath.Join(b.dir, "data"),

		// As on a well-kept production cluster, and as kfake has it: clients create their topics themselves.
		"auto.create.topics.enable":  "false",
		"num.partitions":             "1",
		"default.replication.factor": replication,
		"min.insync.replicas":        minISR,

		// Small and quick.
		"offsets.topic.num.partitions":                     "1",
		"offsets.topic.replication.factor":                 replication,
		"transaction.state.log.num.partitions":             "1",
		"transaction.state.log.replication.factor":         replication,
		"transaction.state.log.min.isr":                    minISR,
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": replication,
		"share.coordinator.state.topic.min.isr":            minISR,
		"group.initial.rebalance.delay.ms":                 "0",
		"num.network.threads":                              "2",
		"num.io.threads":                                   "4",
		"background.threads":                               "2",
		"log.cleaner.dedupe.buffer.size":                   "4194304", // by default 128 MiB of a heap of 384
		// A broker that was killed can register again, and another takes over its partitions, once its session has
		// ended: after 9 s by default.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",
	}
	maps.Copy(config, c.clientListener())
	maps.Copy(config, c.opts.config)
	var out strings.Builder
	for _, name := range sortedConfig(config) {
		// A backslash is the format's escape.
		fmt.Fprintf(&out, "%s=%s\n", name, strings.ReplaceAll(config[name], `\`, `\\`))
	}
	return out.String()
}

// security is the security protocol of the clients' listener.
func (c *Cluster) security() string {
	switch {
	case c.opts.tls && len(c.opts.users) > 0:
		return "SASL_SSL"
	case c.opts.tls:
		return "SSL"
	case len(c.opts.users) > 0:
		return "SASL_PLAINTEXT"
	default:
		return "PLAINTEXT"
	}
}

// clientListener is the settings for TLS and SASL on the clients' listener.
func (c *Cluster) clientListener() map[string]string {
	const prefix = "listener.name.client."
	config := map[string]string{}
	if c.opts.tls {
		config[prefix+"ssl.keystore.type"] = "PEM"
		config[prefix+"ssl.keystore.location"] = c.tls.serverFile
		config[prefix+"ssl.truststore.type"] = "PEM"
		config[prefix+"ssl.truststore.location"] = c.tls.CAFile
		config[prefix+"ssl.client.auth"] = "none"
		if c.opts.clientCert {
			config[prefix+"ssl.client.auth"] = "required"
		}
	}
	if len(c.opts.users) > 0 {
		logins := []string{"org.apache.kafka.common.security.plain.PlainLoginModule required"}
		for _, u := range c.opts.users {
			logins = append(logins, fmt.Sprintf(`user_%s="%s"`, u.Name, u.Password))
		}
		const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		config["sasl.enabled.mechanisms"] = saslMechanisms
		config[prefix+"plain.sasl.jaas.config"] = strings.Join(logins, " ") + ";"
		config[prefix+"scram-sha-256.sasl.jaas.config"] = scram
		config[prefix+"scram-sha-512.sasl.jaas.config"] = scram
	}
	return config
}

// scramArgs is what StorageTool needs to know the users by, since SCRAM's are kept in the cluster's metadata.
func (c *Cluster) scramArgs() []string {
	var args []string
	for _, u := range c.opts.users {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, u.Name, u.Password))
		}
	}
	return args
}
