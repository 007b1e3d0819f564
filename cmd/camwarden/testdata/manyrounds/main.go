// Command manyrounds makes round after round in one process and says how much that process holds after some of them.
//
// usage: manyrounds CONFIG STATE-DIR PICTURES-DIR SOURCE ROUNDS...
// for example: manyrounds cameras.yaml /tmp/state /tmp/pictures rtsp 20 200
//
// It stands on pkg/round, not on the command line: cobra remembers every flag of every command tree that was ever built.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// holding is what grows when something is forgotten. Sizes are in bytes.
type holding struct {
	Round, Pictures, Failures          int // pictures and failures of all rounds so far
	Goroutines, Threads, FDs, Children int
	Files                              int   // of the ledger
	Heap, Resident                     int64 // after a garbage collection
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]); err != nil {
		fmt.Fprintln(os.Stderr, "manyrounds:", err)
		os.Exit(1)
	}
}

func run(path, stateDir, pictures, source string, after []string) error {
	settings, err := config.Load(path, os.Getenv)
	if err != nil {
		return err
	}
	selection, err := settings.Inventory.Select([]string{"all"}, lookup)
	if err != nil {
		return err
	}
	for i, c := range selection.Cameras { // on a busy host a picture takes long; what never comes need not
		selection.Cameras[i].Timeout = time.Minute
		if c.ID == "hung" {
			selection.Cameras[i].Timeout = time.Second
		}
	}
	plan := round.Plan{
		Schema: round.RoundSchema, Selection: selection, Exclusive: true, Keeper: round.Folder{Dir: pictures},
		Jobs: 8, Deadline: 5 * time.Minute, IfBusy: round.Fail,
	}
	var so holding
	for _, text := range after {
		goal, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		for ; so.Round < goal; so.Round++ {
			report, err := once(plan, stateDir, source, so.Round)
			if err != nil {
				return fmt.Errorf("round %d: %w", so.Round, err)
			}
			if report.Verdict != round.Clean {
				return fmt.Errorf("round %d: %s: %+v", so.Round, report.Verdict, report.Leftovers)
			}
			so.Pictures += report.Summary.OK
			so.Failures += report.Summary.Failed + report.Summary.Skipped // a busy host may not come to dial within a second
		}
		if err := so.look(stateDir); err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(so); err != nil {
			return err
		}
	}
	return nil
}

// once makes a round as the command does: a ledger, a supervisor and a source of its own.
func once(plan round.Plan, stateDir, name string, i int) (round.Report, error) {
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(stateDir, "run"), State: filepath.Join(stateDir, "state")}, proc.Default(), "run-"+strconv.Itoa(i))
	if err != nil {
		return round.Report{}, err
	}
	children, err := supervise.New(proc.Default())
	if err != nil {
		return round.Report{}, err
	}
	defer children.Close()
	slots := slot.Table{Ledger: book, FS: proc.Default()}
	var source capture.Source = capture.NewFFmpeg("ffmpeg", ffmpeg.Picturing{}, children, slots)
	if name == "rtsp" {
		source = capture.NewRTSP("ffmpeg", ffmpeg.Picturing{}, children, slots)
	}
	return round.Run(context.Background(), plan, round.Deps{
		Ledger: book, FS: proc.Default(), Run: book.Run(), Sources: []capture.Source{source}, Lookup: lookup,
	}, nil)
}

// lookup is not needed: the simulated cameras are named by address.
var lookup camera.Lookup = func(host string) (netip.Addr, error) { return netip.ParseAddr(host) }

func (h *holding) look(stateDir string) error {
	for range 3 { // finalizers, and what they free, each take one
		runtime.GC()
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	fds, err := os.ReadDir("/proc/self/fd")
	threads, err2 := os.ReadDir("/proc/self/task")
	statm, err3 := os.ReadFile("/proc/self/statm")
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	var pages, resident int64
	if _, err := fmt.Sscan(string(statm), &pages, &resident); err != nil {
		return err
	}
	h.Goroutines, h.Threads, h.FDs = runtime.NumGoroutine(), len(threads), len(fds)-1 // without the one that reads the folder
	h.Heap, h.Resident = int64(memory.HeapAlloc), resident*int64(os.Getpagesize())
	h.Children, h.Files = 0, 0
	for _, thread := range threads {
		children, err := os.ReadFile(filepath.Join("/proc/self/task", thread.Name(), "children"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		h.Children += len(strings.Fields(string(children)))
	}
	return filepath.WalkDir(stateDir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			h.Files++
		}
		return err
	})
}
