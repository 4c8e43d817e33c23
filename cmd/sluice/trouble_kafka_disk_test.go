package main

import (
	"errors"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// TestKafkaDiskFull: a broker that can't write ends itself. Once there is room and it is started again, all goes on.
func TestKafkaDiskFull(t *testing.T) {
	testenv.Need(t, testenv.ServerTmpfs)
	kafka := testenv.Kafka(t)
	broker := kafka.Broker(0)
	broker.SmallDisk(t)
	x := troubled(t, kafka)
	x.during(t, func(l *posts) {
		free := broker.FillDisk(t)
		testenv.Eventually(t, time.Minute, func() error {
			if broker.Running() {
				return errors.New("the broker runs on")
			}
			return nil
		})
		l.await(t, "spooled", 100)
		free()
		broker.Restart(t)
	}).check(t, true, nil)
	x.ended(t)
}
