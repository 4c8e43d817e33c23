package testenv

import (
	"fmt"
	"maps"
	"slices"
)

// User is someone who may log in over SASL: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
type User struct {
	Name, Password string // without quotes, commas or brackets: both are written into Kafka's own notations
}

// Option changes how Kafka starts a cluster.
type Option func(*kafkaOptions)

// kafkaOptions is what the options add up to.
type kafkaOptions struct {
	brokers    int
	config     map[string]string
	jvm        []string
	users      []User
	tls        bool
	clientCert bool
	advertised map[int]string
	proxies    bool
}

// WithBrokers sets how many brokers there are: 1 (the default) or 3. Each is also a controller, so of three any one
// may die.
func WithBrokers(n int) Option { return func(o *kafkaOptions) { o.brokers = n } }

// WithConfig sets a broker setting on every broker, over the package's own choice. It may be given many times.
func WithConfig(name, value string) Option {
	return func(o *kafkaOptions) { o.config[name] = value }
}

// WithJVM adds flags to the brokers' java commands, after the package's own (the heap is 384 MiB, and only the quick
// compiler runs). For long runs under load: WithJVM("-Xmx1g", "-XX:TieredStopAtLevel=4").
func WithJVM(flags ...string) Option {
	return func(o *kafkaOptions) { o.jvm = append(o.jvm, flags...) }
}

// WithSASL makes the clients' listener ask for a login by one of the users.
func WithSASL(users ...User) Option {
	return func(o *kafkaOptions) { o.users = append(o.users, users...) }
}

// WithACLs lets those who log in do only what rules allow: see Cluster.Internal and Cluster.Tools.
func WithACLs() Option {
	return func(o *kafkaOptions) {
		o.config["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		o.config["super.users"] = "User:ANONYMOUS"
	}
}

// WithTLS makes the clients' listener speak TLS with a certificate that Cluster.TLS().CAFile has signed, for
// 127.0.0.1 and localhost.
func WithTLS() Option { return func(o *kafkaOptions) { o.tls = true } }

// WithClientCerts is WithTLS, and clients must show a certificate by the same CA: Cluster.TLS().ClientCertFile.
func WithClientCerts() Option { return func(o *kafkaOptions) { o.tls, o.clientCert = true, true } }

// WithAdvertised makes broker i (from 0) tell clients to connect to addr instead of its own listener. Brokers and
// this package's readers go on talking to each other directly.
func WithAdvertised(i int, addr string) Option {
	return func(o *kafkaOptions) { o.advertised[i] = addr }
}

// WithProxies puts a proxy before each broker and advertises it, so that all of the clients' traffic goes through
// Broker(i).Proxy(). Without TLS the proxies see whole Kafka frames, as Proxy's Frames option has it.
func WithProxies() Option { return func(o *kafkaOptions) { o.proxies = true } }

// newKafkaOptions adds the options up and says what doesn't fit together.
func newKafkaOptions(opts []Option) (kafkaOptions, error) {
	o := kafkaOptions{brokers: 1, config: map[string]string{}, advertised: map[int]string{}}
	for _, opt := range opts {
		opt(&o)
	}
	if o.brokers != 1 && o.brokers != 3 {
		return o, fmt.Errorf("WithBrokers(%d): 1 or 3", o.brokers)
	}
	for i := range o.advertised {
		if i < 0 || i >= o.brokers || o.proxies {
			return o, fmt.Errorf("WithAdvertised(%d, …) with %d brokers, proxies %t", i, o.brokers, o.proxies)
		}
	}
	return o, nil
}

// sortedConfig is the settings in an order that doesn't change from run to run.
func sortedConfig(config map[string]string) []string {
	return slices.Sorted(maps.Keys(config))
}
