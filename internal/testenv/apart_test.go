package testenv

import (
	"strings"
	"testing"
)

func TestApart(t *testing.T) {
	brokers, url := Apart(t)
	if err := pingRedis(t.Context(), strings.TrimPrefix(url, "redis://")); err != nil {
		t.Error(err)
	}
	kafka := client{bootstrap: brokers}
	if err := kafka.createTopic(t.Context(), "apart", 1, -1, nil); err != nil {
		t.Fatal(err)
	}
	if found, err := kafka.topics(t.Context(), ""); err != nil || found["apart"] != 1 {
		t.Errorf("topics %v, %v", found, err)
	}
}
