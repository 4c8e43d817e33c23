package publisher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// ConnectOptions say how to reach brokers.
type ConnectOptions struct {
	ClientID string
	TLS      *TLSOptions  // nil = plaintext
	SASL     *SASLOptions // nil = no login
}

// TLSOptions name the files of a TLS connection; all are optional.
type TLSOptions struct {
	CAFile             string // PEM; default: the system's
	CertFile, KeyFile  string // PEM; client certificate
	ServerName         string // default: the broker's host name
	InsecureSkipVerify bool
}

// SASLOptions are a login. Mechanism is plain, scram-sha-256 or scram-sha-512.
type SASLOptions struct {
	Mechanism, Username, Password string
}

// newTransport returns the connection pool. Connections last until ctx ends.
func newTransport(ctx context.Context, o ConnectOptions) (*kafka.Transport, error) {
	t := &kafka.Transport{
		Dial:        (&net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}).DialContext,
		DialTimeout: 3 * time.Second, // with TLS and SASL
		IdleTimeout: 4 * time.Minute, // below the brokers' connections.max.idle.ms of ten
		// The pool asks for the brokers' addresses only, not for the
		// metadata of every topic in the cluster; package idempotent asks
		// for the topics that it needs.
		MetadataTTL:    time.Second,
		MetadataTopics: []string{},
		ClientID:       o.ClientID,
		Context:        ctx,
	}
	var err error
	if o.TLS != nil {
		if t.TLS, err = newTLS(*o.TLS); err != nil {
			return nil, fmt.Errorf("Kafka over TLS: %w", err)
		}
	}
	if o.SASL != nil {
		if t.SASL, err = newSASL(*o.SASL); err != nil {
			return nil, fmt.Errorf("Kafka login: %w", err)
		}
	}
	return t, nil
}

// newTLS reads the files.
func newTLS(o TLSOptions) (*tls.Config, error) {
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

func newSASL(o SASLOptions) (sasl.Mechanism, error) {
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
