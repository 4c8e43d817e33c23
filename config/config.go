// Package config turns command-line flags, SLUICE_* environment variables and a YAML file into one checked [Config].
//
// The fields of Config and their struct tags are the only place where a setting is declared. The flag, the environment
// variable, the YAML key, the default, the bounds, the help text and the table in docs/configuration.md all follow from
// them: a new setting is one new field.
//
// A value is taken from the first of these that has it: flag, environment variable, file named by a _FILE variable
// (settings that hold secrets only), YAML file, default. Kong parses the command line and prints the help and does
// nothing more: its own order would let a configuration file win over the environment, and it stops at the first error.
//
// The package opens no connection and reads no file but the YAML file and those of the _FILE variables: whether a broker
// answers, a certificate loads or a Redis URL suits the server is found out by the packages that use them. It starts
// nothing, logs nothing, and doesn't watch its sources: a change takes effect at the next start.
package config

import "time"

// Config holds every setting of Sluice. A command embeds it by value, which gives that command all the flags; [Load]
// then fills it. Until Load has returned without an error the fields mean nothing.
//
// Tags: name is the flag, and with dashes as underscores the YAML key and the end of the environment variable; default
// is the text that is parsed when no source has the setting; min, max, oneof and why bound the value and say the reason;
// shown replaces an empty default in help texts; group is the heading.
type Config struct {
	File string `name:"config" placeholder:"PATH" shown:"none" help:"YAML file to read settings from."`

	HTTP      `group:"HTTP"`
	Limits    `group:"Limits"`
	Signature `group:"Signature"`
	Kafka     `group:"Kafka"`
	Topics    `group:"Topics"`
	Dedupe    `group:"Dedupe"`
	Spool     `group:"Spool"`
	Log       `group:"Log"`
}

// HTTP holds the two listeners and how long their connections may take.
type HTTP struct {
	Listen            string        `name:"listen" default:":8080" placeholder:"HOST:PORT" help:"Address that receives webhooks, at POST /webhook."`
	AdminListen       string        `name:"admin-listen" default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Address of health checks, metrics and the status page. It has no authentication: keep it private."`
	ReadHeaderTimeout time.Duration `name:"read-header-timeout" default:"5s" min:"100ms" help:"Longest time for a request's headers to arrive."`
	ReadTimeout       time.Duration `name:"read-timeout" default:"20s" min:"100ms" help:"Longest time for a whole request, headers and body, to arrive."`
	IdleTimeout       time.Duration `name:"idle-timeout" default:"90s" min:"75s" why:"proxies in front keep idle connections for about 60s, and one that Sluice closes first loses the request just sent on it" help:"How long a connection without a request is kept open."`
	ShutdownDelay     time.Duration `name:"shutdown-delay" default:"0" help:"How long to go on as usual after /readyz has begun to say that a shutdown is near, for a load balancer to notice. What it still sends afterwards is refused a connection, and then the sender waits an hour."`
	ShutdownTimeout   time.Duration `name:"shutdown-timeout" default:"25s" min:"1s" help:"Longest time after shutdown-delay for a shutdown to answer what has been received and to let connections go. Keep it below the time after which the supervisor kills."`
}

// Limits bounds what one process holds at a time.
type Limits struct {
	MaxBody          Size          `name:"max-body" default:"8MiB" min:"1KiB" max:"15MiB" why:"body and headers have to fit into one Kafka request of at most 16MiB" help:"Largest request body. A larger one is answered 413."`
	MaxInFlight      int           `name:"max-in-flight" default:"10000" min:"1" help:"Requests handled at a time. Further ones are answered 503."`
	MaxInFlightBytes Size          `name:"max-in-flight-bytes" default:"256MiB" min:"1KiB" help:"Bytes of request bodies held at a time. Requests beyond are answered 503."`
	RequestTimeout   time.Duration `name:"request-timeout" default:"1.5s" min:"200ms" max:"3.5s" why:"the sender waits 4s, and reading the body comes on top" help:"Longest time from the body's last byte to the answer, whatever Redis and Kafka do."`
}

// Signature says which requests are believed.
type Signature struct {
	SigningKeys         SigningKeys   `name:"signing-keys" placeholder:"[NAME=]KEY,..." shown:"none" help:"Webhook signing keys, separated by commas or line breaks, each KEY or NAME=KEY. A request signed with any of them is accepted."`
	InsecureNoSignature bool          `name:"insecure-no-signature" default:"false" help:"Accept every request, signed or not. For trials only: whoever reaches the port can write to the topics."`
	SignatureTolerance  time.Duration `name:"signature-tolerance" default:"0" help:"How far a request's X-CIO-Timestamp may be from now. 0: as long as dedupe-ttl."`
}

// Kafka says how to reach the cluster.
type Kafka struct {
	KafkaBrokers               []string `name:"kafka-brokers" default:"127.0.0.1:9092" placeholder:"HOST:PORT,..." help:"Brokers to ask for the cluster's layout first, separated by commas."`
	KafkaClientID              string   `name:"kafka-client-id" default:"sluice" placeholder:"TEXT" help:"Client id in requests, shown in the brokers' logs, metrics and quotas."`
	KafkaTLS                   bool     `name:"kafka-tls" default:"false" help:"Talk TLS to the brokers."`
	KafkaTLSCA                 string   `name:"kafka-tls-ca" placeholder:"PATH" shown:"the system's" help:"PEM file of the authorities that may sign the brokers' certificates."`
	KafkaTLSCert               string   `name:"kafka-tls-cert" placeholder:"PATH" shown:"none" help:"PEM file of the client certificate. Needs kafka-tls-key."`
	KafkaTLSKey                string   `name:"kafka-tls-key" placeholder:"PATH" shown:"none" help:"PEM file of the client certificate's key."`
	KafkaTLSServerName         string   `name:"kafka-tls-server-name" placeholder:"HOST" shown:"the broker's host" help:"Name that the brokers' certificates have to bear."`
	KafkaTLSInsecureSkipVerify bool     `name:"kafka-tls-insecure-skip-verify" default:"false" help:"Don't check the brokers' certificates. For trials only."`
	KafkaSASLMechanism         string   `name:"kafka-sasl-mechanism" oneof:",plain,scram-sha-256,scram-sha-512" shown:"none" help:"How to log in at the brokers."`
	KafkaSASLUsername          string   `name:"kafka-sasl-username" placeholder:"TEXT" shown:"none" help:"User name to log in with."`
	KafkaSASLPassword          Secret   `name:"kafka-sasl-password" placeholder:"SECRET" shown:"none" help:"Password to log in with."`
}

// Topics says where records go and how missing topics are created.
type Topics struct {
	Topic           string         `name:"topic" default:"customerio_{event_type}" placeholder:"TEMPLATE" help:"Topic of an event; {event_type} stands for its type. Without the placeholder everything goes to this one topic."`
	Key             string         `name:"key" default:"customer" oneof:"customer,event_type" help:"What becomes the record key, and so decides the partition: the customer's id, or the event type."`
	DeadLetterTopic string         `name:"dead-letter-topic" default:"customerio_dead_letter" placeholder:"TOPIC" help:"Topic for signed bodies that can't be routed."`
	OverflowTopic   string         `name:"overflow-topic" default:"customerio_other" placeholder:"TOPIC" help:"Topic for the events of further types once max-topics is reached."`
	MaxTopics       int            `name:"max-topics" default:"200" min:"1" help:"Most topics made from the template, counting those that the cluster has already."`
	Partitions      int            `name:"partitions" default:"-1" help:"Partitions of a topic that Sluice creates. -1: the broker's default."`
	Replication     int            `name:"replication" default:"-1" help:"Replicas of a topic that Sluice creates. -1: the broker's default. Production wants 3, with min.insync.replicas=2."`
	Retention       Retention      `name:"retention" default:"720h" placeholder:"DURATION" help:"How long a topic that Sluice creates keeps records. unlimited (or -1): for ever."`
	CreateTopics    bool           `name:"create-topics" default:"true" negatable:"" help:"Create missing topics. Switch it off for clusters that forbid it, and create them beforehand."`
	TopicOverrides  TopicOverrides `name:"topic-overrides" placeholder:"TYPE:NAME=VALUE,...;..." shown:"none" help:"Other partitions, replication or retention for the topics of single event types, as email_sent:partitions=12,retention=168h;push_sent:retention=48h."`
}

// Dedupe says how an event that comes again is recognised.
type Dedupe struct {
	RedisURL         URL           `name:"redis-url" default:"redis://127.0.0.1:6379/0" placeholder:"URL" help:"Redis or Valkey: redis://, rediss:// (TLS) or unix://, and redis+cluster://, redis+sentinel:// or their rediss+ forms."`
	RedisPassword    Secret        `name:"redis-password" placeholder:"SECRET" shown:"none" help:"Password for Redis, in place of one in redis-url."`
	RedisPrefix      string        `name:"redis-prefix" default:"slu:" placeholder:"TEXT" help:"What all keys in Redis begin with. Installations that share a Redis need different ones."`
	RedisTimeout     time.Duration `name:"redis-timeout" default:"150ms" min:"10ms" max:"2s" help:"Longest time to connect to Redis, and for one read or write."`
	ClaimTimeout     time.Duration `name:"claim-timeout" default:"200ms" min:"10ms" help:"Part of request-timeout that asking Redis may take."`
	DedupeTTL        time.Duration `name:"dedupe-ttl" default:"192h" min:"1m" help:"How long an event is remembered. Keep it above the 168h for which the sender retries."`
	DedupeID         string        `name:"dedupe-id" default:"event_id" oneof:"event_id,delivery_id" help:"What makes two requests the same: the event_id of the body, or the X-CIO-Delivery-ID header. The header is outside the signature and may recur on different events."`
	DedupeLease      time.Duration `name:"dedupe-lease" default:"60s" min:"10s" max:"1h" why:"it has to outlast a request, and a crashed instance's events wait for it" help:"How long an event being published is reserved for the instance that publishes it."`
	DedupeWhenDown   string        `name:"dedupe-when-down" default:"open" oneof:"open,closed" help:"While Redis is away, publish without asking (open; a retry may be stored twice) or answer 503 (closed)."`
	DedupeRepair     bool          `name:"dedupe-repair" default:"true" negatable:"" help:"When Redis has lost its data, or is new, mark again in the background what the topics hold. It needs the right to read them."`
	DedupeRepairRate int           `name:"dedupe-repair-rate" default:"5000" min:"1" help:"Most marks a second of a repair."`
	Instance         string        `name:"instance" placeholder:"NAME" shown:"the host's name" help:"Name of this instance, different for each. One that restarts under its old name recognises its own reservations."`
}

// Spool says where batches are written down before they are sent.
type Spool struct {
	SpoolDir      string        `name:"spool-dir" placeholder:"PATH" shown:"none" help:"Folder in which events are kept while Kafka doesn't take them, and in which batches are written down before they are sent, so that a process that is killed and started again loses and doubles nothing. Instances on one host may share it; each has a subfolder, named after instance."`
	SpoolAfter    time.Duration `name:"spool-after" default:"500ms" min:"50ms" help:"How long Kafka may take for an event before it is kept in the spool instead, and answered 200."`
	SpoolMaxBytes Size          `name:"spool-max-bytes" default:"1GiB" min:"64MiB" why:"it holds at least the last ten seconds" help:"Largest size of an instance's part of the spool. When it is full, events that Kafka doesn't take are answered 503."`
}

// Log says what is logged and how.
type Log struct {
	LogLevel  string `name:"log-level" default:"info" oneof:"debug,info,warn,error" help:"Least severe level to log."`
	LogFormat string `name:"log-format" oneof:",json,console" shown:"console on a terminal, else json" help:"Format of log lines."`
}

// EffectiveTolerance is the signature tolerance with its 0 resolved: how far a request's timestamp may be from now.
// As long as it is at most DedupeTTL, whatever is still accepted is also still remembered.
func (c *Config) EffectiveTolerance() time.Duration {
	if c.SignatureTolerance == 0 {
		return c.DedupeTTL
	}
	return c.SignatureTolerance
}
