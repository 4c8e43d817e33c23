package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker for builds that have no Git checkout at hand, such as an image's:
//
//	go build -ldflags "-X main.version=v1.2.3 -X main.commit=0123abc" ./cmd/sluice
//
// Without that they stay empty and the Go tool's own stamps are used. The linker can only set string variables of a
// package; nothing assigns to them.
var (
	version string
	commit  string
)

// versionCmd is "sluice version".
type versionCmd struct{}

// Help shows how it is used.
func (versionCmd) Help() string {
	return `Examples:

    # Which build is this?
    sluice version

    # Only the version:
    sluice version | awk '$1 == "version" {print $2}'`
}

// Run prints the build.
func (versionCmd) Run(p *process) error {
	b := thisBuild()
	_, err := fmt.Fprintf(p.stdout, "version  %s\ncommit   %s\ngo       %s %s/%s\n", b.version, b.commit, b.goVersion, runtime.GOOS, runtime.GOARCH)
	return err
}

// thisBuild describes the running binary.
func thisBuild() build {
	info, _ := debug.ReadBuildInfo()
	return describeBuild(info, version, commit)
}

// build is what is known of how the binary was made.
type build struct {
	version, commit, goVersion string
}

// describeBuild takes the stamps that are set, and what the Go tool recorded (nil if nothing) for the others.
func describeBuild(info *debug.BuildInfo, version, commit string) build {
	b := build{version: version, commit: commit, goVersion: runtime.Version()}
	recorded := make(map[string]string)
	if info != nil {
		for _, setting := range info.Settings {
			recorded[setting.Key] = setting.Value
		}
		if b.version == "" && info.Main.Version != "(devel)" {
			b.version = info.Main.Version
		}
	}
	if b.version == "" {
		b.version = "devel"
	}
	if b.commit == "" {
		b.commit = recorded["vcs.revision"]
		if b.commit != "" && recorded["vcs.modified"] == "true" {
			b.commit += " (modified)"
		}
	}
	if b.commit == "" {
		b.commit = "unknown"
	}
	return b
}
