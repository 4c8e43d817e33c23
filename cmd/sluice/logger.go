package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sluice/config"
)

// newLogger writes to w. Of lines with the same level and message, ten a
// second and then every hundredth are kept, so that trouble that hits every
// request doesn't fill the disk; the metrics count all of it.
func newLogger(c config.Log, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	var encoder zapcore.Encoder
	if c.LogFormat == "console" || (c.LogFormat == "" && isTerminal(w)) {
		conf := zap.NewDevelopmentEncoderConfig()
		conf.EncodeLevel = zapcore.CapitalLevelEncoder
		conf.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(conf)
	} else {
		conf := zap.NewProductionEncoderConfig()
		conf.TimeKey, conf.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
		conf.EncodeDuration = zapcore.StringDurationEncoder
		encoder = zapcore.NewJSONEncoder(conf)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Second, 10, 100)), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
