// Package connect turns connection settings into what kafka-go connects with.
//
// It opens no connection itself and knows nothing of topics and records.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Options say how to reach brokers.
type Options struct {
	ClientID string
	TLS      *TLS  // nil = plaintext
	SASL     *SASL // nil = no login
}

// TLS names the files of a TLS connection; all are optional.
type TLS struct {
	CAFile             string // PEM; default: the system's
	CertFile, KeyFile  string // PEM; client certificate
	ServerName         string // default: the broker's host name
	InsecureSkipVerify bool
}

// SASL is a login. Mechanism is plain, scram-sha-256 or scram-sha-512.
type SASL struct {
	Mechanism, Username, Password string
}

// Transport is a connection pool for requests. It is safe for concurrent use.
type Transport struct {
	*kafka.Transport
	opened atomic.Int64
}

// Opened is the number of connections that have been opened so far, counted before the first byte goes over one.
func (t *Transport) Opened() int64 { return t.opened.Load() }

// NewTransport returns a connection pool for requests. Connections last until ctx ends. The errors name the file or
// setting that is wrong.
func NewTransport(ctx context.Context, o Options) (*Transport, error) {
	t := &Transport{}
	dialer := newDialer()
	t.Transport = &kafka.Transport{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				t.opened.Add(1)
			}
			return c, err
		},
		DialTimeout: dialTimeout,
		IdleTimeout: 4 * time.Minute, // below the brokers' connections.max.idle.ms of ten
		// The pool asks for the brokers' addresses only, not for the
		// metadata of every topic in the cluster; whoever needs topics
		// asks for those.
		MetadataTTL:    time.Second,
		MetadataTopics: []string{},
		ClientID:       o.ClientID,
		Context:        ctx,
	}
	var err error
	t.TLS, t.SASL, err = o.secure()
	return t, err
}

// NewDialer returns what a kafka.Reader connects with.
func NewDialer(o Options) (*kafka.Dialer, error) {
	d := &kafka.Dialer{DialFunc: newDialer().DialContext, Timeout: dialTimeout, ClientID: o.ClientID}
	var err error
	d.TLS, d.SASLMechanism, err = o.secure()
	return d, err
}

// dialTimeout bounds a connection with TLS and SASL.
const dialTimeout = 3 * time.Second

func newDialer() *net.Dialer { return &net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second} }

// secure reads the files; what isn't asked for is nil.
func (o Options) secure() (secured *tls.Config, login sasl.Mechanism, err error) {
	if o.TLS != nil {
		if secured, err = newTLS(*o.TLS); err != nil {
			return nil, nil, fmt.Errorf("Kafka over TLS: %w", err)
		}
	}
	if o.SASL != nil {
		if login, err = newSASL(*o.SASL); err != nil {
			return nil, nil, fmt.Errorf("Kafka login: %w", err)
		}
	}
	return secured, login, nil
}

// newTLS reads the files.
func newTLS(o TLS) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         o.ServerName,
		InsecureSkipVerify: o.InsecureSkipVerify, //nolint:gosec // the operator's explicit choice
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the CA file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no PEM certificate in the CA file %s", o.CAFile)
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("a client certificate needs both a certificate and a key file")
	}
	if o.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("loading the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

func newSASL(o SASL) (sasl.Mechanism, error) {
	switch o.Mechanism {
	case "plain":
		return plain.Mechanism{Username: o.Username, Password: o.Password}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, o.Username, o.Password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, o.Username, o.Password)
	}
	return nil, fmt.Errorf("SASL mechanism %q: want plain, scram-sha-256 or scram-sha-512", o.Mechanism)
}
