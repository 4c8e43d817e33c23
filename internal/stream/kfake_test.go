package stream

import "github.com/twmb/franz-go/pkg/kfake"

func threeBrokers() []kfake.Opt { return []kfake.Opt{kfake.NumBrokers(3)} }
