// Command camwarden takes stills from IP cameras, and leaves nothing behind.
package main

import (
	"os"

	"github.com/camwarden/camwarden/commands"
)

func main() { os.Exit(commands.Main(commands.System(), os.Args[1:])) }
