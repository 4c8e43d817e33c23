package publisher

import kafka "github.com/segmentio/kafka-go"

// murmur is kafka-go's port of the Java client's default partitioner for
// records with a key, so that consumers and other producers agree with us.
//
//nolint:gochecknoglobals // has no state
var murmur = kafka.Murmur2Balancer{Consistent: true}

// numbers returns 0 … n-1, from a shared list where it is long enough.
func numbers(n int) []int {
	if n <= len(small) {
		return small[:n]
	}
	return count(n)
}

//nolint:gochecknoglobals // never written to after the start
var small = count(128)

func count(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}
