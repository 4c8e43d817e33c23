package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"sluice/internal/sender"
)

// sendAdvice tells a person what a failure most likely means and what to do, once for each kind of failure. It belongs
// to one goroutine.
type sendAdvice struct {
	url, keyName string // keyName "" = unsigned
	timeout      time.Duration
	given        map[failureKind]bool
}

// failureKind is an HTTP code, or one of the kinds below where there was no answer.
type failureKind int

const (
	kindConnection failureKind = -1 - iota
	kindRefused
	kindNoHost
	kindTimeout
	kindCertificate
	kindNotTLS
)

func kindOf(code int, err error) failureKind {
	if code != 0 {
		return failureKind(code)
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return kindNoHost
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return kindCertificate
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return kindNotTLS
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return kindRefused
	case (sender.Answer{Err: err}).Label() == sender.LabelTimeout:
		return kindTimeout
	}
	return kindConnection
}

// on is the advice for a failed post, "" if it has been given.
func (a *sendAdvice) on(answer sender.Answer) string {
	kind := kindOf(answer.Code, answer.Err)
	if a.given[kind] {
		return ""
	}
	if a.given == nil {
		a.given = make(map[failureKind]bool)
	}
	a.given[kind] = true
	return a.text(kind, answer.Err)
}

func (a *sendAdvice) text(kind failureKind, err error) string {
	switch kind {
	case kindRefused:
		return "nothing listens at " + a.url + ". Is sluice running there? Start it with \"sluice serve\", or say where it is with --url."
	case kindNoHost:
		return "the host in " + a.url + " isn't known. Check --url."
	case kindTimeout:
		return fmt.Sprintf("no answer from %s within %s. Check --url and what stands in between; Sluice itself answers within 2s.", a.url, a.timeout)
	case kindCertificate:
		return fmt.Sprintf("the certificate of %s isn't trusted: %v", a.url, err)
	case kindNotTLS:
		return a.url + " doesn't speak TLS. Use http:// in --url."
	case kindConnection:
		return fmt.Sprintf("no answer: %v", err)
	case http.StatusUnauthorized:
		if a.keyName == "" {
			return "401: the receiver wants signatures and these posts have none. Set SLUICE_SIGNING_KEYS to one of its keys."
		}
		return fmt.Sprintf("401: the receiver doesn't accept signatures made with key %s. Set SLUICE_SIGNING_KEYS to what it has, or choose another key with --sign-with; also compare the clocks.", a.keyName)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Sprintf("%d: no webhooks are received at %s. Sluice's path is /webhook.", kind, a.url)
	case http.StatusRequestEntityTooLarge:
		return "413: a body is larger than the receiver's max-body. It will never be accepted as it is."
	case http.StatusServiceUnavailable:
		return "503: the receiver can't keep events at the moment, likely because of Kafka or Redis. Its log and its admin port's /readyz tell more. Retrying."
	}
	return fmt.Sprintf("%d: not acknowledged. Retrying.", kind)
}

// errHopeless ends a run early.
var errHopeless = errors.New("nothing has been acknowledged; ended when the first event was given up")

// hopeless reports whether a failure is about the receiver rather than the event: the next event would fare no better.
func hopeless(code int, err error) bool {
	switch code {
	case 0:
		return err != nil
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return true
	}
	return false
}
