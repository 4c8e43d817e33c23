// Command hello is what the tests of testenv.Binary build: it prints one line and exits with code 3.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("hello from a built binary")
	os.Exit(3)
}
