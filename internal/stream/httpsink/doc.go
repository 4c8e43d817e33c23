// Package httpsink posts records to a webhook handler: a [stream.Sink].
//
// Each record is a POST of its value, byte for byte, signed as Customer.io signs, with a timestamp and signature of its
// own for every attempt, so that a handler made for Customer.io works unchanged. Records of one topic and key are
// posted one after the other, in the order written; a record is followed by the next of its key once the handler has
// answered 2xx, or once it was given up. Records of different keys, and those without a key, go side by side.
//
// Everything but a 2xx is repeated, with pauses that grow and are drawn at random: timeouts, refused connections, 3xx
// (redirects aren't followed), 4xx and 5xx alike. A handler that answers 400 or 410 while it is being replaced must not
// cost an event. Retry-After is honoured.
//
// A key whose record is being repeated takes no place among the posts under way; it only takes its share of what may be
// held, and until that is full the others go on.
//
// The package doesn't remember anything beyond its process: whatever isn't kept when it is closed has to be read again,
// and what was under way then may arrive twice. It doesn't write to Kafka; what happens to a record that is given up is
// its caller's.
package httpsink
