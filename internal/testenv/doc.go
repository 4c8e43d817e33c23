// Package testenv starts the servers that Sluice's tests talk to: real Kafka, real Redis, kfake, miniredis,
// TCP proxies that lose replies, and the sluice binary itself as a process of its own.
//
// What belongs to a test ends with it, in the test's cleanup. On Linux every process also carries a parent-death
// signal, so that a test binary that panics, times out or is killed leaves no server behind.
//
// Plain `go test ./...` works with nothing but Go: a test that needs a missing server is skipped and names what is
// missing. With SLUICE_TEST_REQUIRE_SERVERS=1, as in CI, missing is a failure.
//
// The readers here share no code with Sluice's writer: records come back through kcat (librdkafka) from real brokers
// and through franz-go from kfake.
//
// The package does not configure or import any part of Sluice, does not install servers (`.ci/run` and `make test-real`
// do), and does not promise anything to users outside this module.
package testenv
