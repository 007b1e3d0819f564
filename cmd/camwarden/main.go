// Command camwarden takes stills from IP cameras, and leaves nothing behind.
package main

import (
	"os"
	"runtime/debug"

	"github.com/camwarden/camwarden/commands"
)

// collectAt is how much the heap may grow, in percent of what is in use, before it is collected. A run lasts seconds and
// uses a few MiB: to collect at every 4 MiB, as is usual, costs doctor a twentieth of its time.
const collectAt = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	os.Exit(commands.Main(commands.System(), os.Args[1:]))
}
