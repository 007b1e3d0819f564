// How many processors there are is asked once: a run of seconds has no use for a goroutine that asks again each second
// (package runtime, "GOMAXPROCS").

//go:debug updatemaxprocs=0

// Command camwarden takes stills from IP cameras, and leaves nothing behind.
package main

import (
	"os"

	"github.com/camwarden/camwarden/commands"
)

func main() { os.Exit(commands.Main(commands.System(), os.Args[1:])) }
