package dedupe_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"

	"sluice/dedupe"
)

// One delivery, and the sender's retry of it.
func ExampleDeduper_Claim() {
	server, err := miniredis.Run()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	ctx := context.Background()
	d, err := dedupe.New(dedupe.Options{URL: "redis://" + server.Addr(), Instance: "sluice-0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := d.Check(ctx); err != nil {
		fmt.Println("not starting:", err)
		return
	}
	id := dedupe.Identify(dedupe.EventID, "01J8Z3W0V5M9Q2T7R4N6P1K8XB", "", nil)
	for range 2 {
		c, err := d.Claim(ctx, id)
		if err != nil {
			fmt.Println("503:", err)
			return
		}
		switch c.Verdict() {
		case dedupe.Won, dedupe.Skipped:
			fmt.Println("publish")
			c.Confirm() // once Kafka has acknowledged; else c.Release() or c.Leave()
		case dedupe.Duplicate, dedupe.DuplicateDeadLetter:
			fmt.Println("kept already")
		}
	}
	if err := d.Close(ctx); err != nil {
		fmt.Println(err)
	}
	value, err := server.Get(dedupe.Key("slu:", id))
	fmt.Println(value, err)
	// Output:
	// publish
	// kept already
	// done <nil>
}
