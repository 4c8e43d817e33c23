//go:build nodemo

package main

// demoCommand is empty here: see demo.go.
type demoCommand struct{}
