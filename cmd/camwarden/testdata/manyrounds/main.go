// Command manyrounds makes round after round in one process and says how much that process holds after some of them.
//
// usage: manyrounds STATE-DIR ROUNDS-TO-LOOK-AFTER ARGUMENTS-OF-CAMWARDEN...
// for example: manyrounds /tmp/state 20,200 round office -c cameras.yaml
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/commands"
)

// holding is what grows when something is forgotten. Sizes are in bytes.
type holding struct {
	Round, Code                        int
	Goroutines, Threads, FDs, Children int
	Files                              int   // of the ledger
	Heap, Resident                     int64 // after a garbage collection
}

func main() {
	if err := run(os.Args[1], strings.Split(os.Args[2], ","), os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "manyrounds:", err)
		os.Exit(1)
	}
}

func run(stateDir string, after, args []string) error {
	world := commands.System()
	world.Stdout = io.Discard
	args = append(args, "--state-dir", stateDir)
	round := 0
	for _, text := range after {
		goal, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		code := 0
		for ; round < goal; round++ {
			if code = commands.Main(world, args); code > 1 {
				return fmt.Errorf("round %d ended with %d", round, code)
			}
		}
		held, err := look(stateDir)
		if err != nil {
			return err
		}
		held.Round, held.Code = round, code
		if err := json.NewEncoder(os.Stdout).Encode(held); err != nil {
			return err
		}
	}
	return nil
}

func look(stateDir string) (holding, error) {
	for range 3 { // finalizers, and what they free, each take one
		runtime.GC()
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	held := holding{Goroutines: runtime.NumGoroutine(), Heap: int64(memory.HeapAlloc)}
	fds, err := os.ReadDir("/proc/self/fd")
	threads, err2 := os.ReadDir("/proc/self/task")
	statm, err3 := os.ReadFile("/proc/self/statm")
	if err := errors.Join(err, err2, err3); err != nil {
		return held, err
	}
	held.FDs, held.Threads = len(fds)-1, len(threads) // without the one that reads the folder
	var pages, resident int64
	if _, err := fmt.Sscan(string(statm), &pages, &resident); err != nil {
		return held, err
	}
	held.Resident = resident * int64(os.Getpagesize())
	for _, thread := range threads {
		children, err := os.ReadFile(filepath.Join("/proc/self/task", thread.Name(), "children"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return held, err
		}
		held.Children += len(strings.Fields(string(children)))
	}
	return held, filepath.WalkDir(stateDir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			held.Files++
		}
		return err
	})
}
