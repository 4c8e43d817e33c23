package dedupe

import (
	"strings"
	"testing"
	"time"
)

func TestOptionsRefuse(t *testing.T) {
	good := Options{URL: "redis://h", Instance: "a"}
	for field, spoil := range map[string]func(*Options){
		"redis URL":    func(o *Options) { o.URL = "" },
		"Instance":     func(o *Options) { o.Instance = "" },
		"Instance ":    func(o *Options) { o.Instance = "a b" },
		"Prefix":       func(o *Options) { o.Prefix = "{slu}:" },
		"Prefix ":      func(o *Options) { o.Prefix = "slu " },
		"Lease":        func(o *Options) { o.Lease = time.Microsecond },
		"TTL":          func(o *Options) { o.TTL = time.Second },
		"Timeout":      func(o *Options) { o.Timeout = -1 },
		"ClaimTimeout": func(o *Options) { o.ClaimTimeout = -1 },
		"LeaseMargin":  func(o *Options) { o.LeaseMargin = 30 * time.Second },
		"LeaseMargin ": func(o *Options) { o.LeaseMargin = -1 },
		"MaxPending":   func(o *Options) { o.MaxPending = -1 },
		"Recent":       func(o *Options) { o.Recent = -1 },
		"WhenDown":     func(o *Options) { o.WhenDown = 7 },
	} {
		t.Run(field, func(t *testing.T) {
			o := good
			spoil(&o)
			d, err := New(o)
			if err == nil {
				_ = d.Close(t.Context())
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), strings.TrimSpace(field)) {
				t.Errorf("error %q doesn't name %s", err, field)
			}
		})
	}
	o, err := good.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if o.Prefix != "slu:" || o.Lease != time.Minute || o.LeaseMargin != 15*time.Second || o.TTL != 192*time.Hour ||
		o.Timeout != 150*time.Millisecond || o.ClaimTimeout != 200*time.Millisecond || o.MaxPending != 100_000 || o.Recent != 100_000 {
		t.Errorf("defaults %+v", o)
	}
}
