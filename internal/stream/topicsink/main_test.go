package topicsink

import (
	"testing"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
