// Command jpegstills takes still after still of a camera that sends JPEG, and says what each cost of the processors.
//
// usage: jpegstills ADDRESS STATE-DIR STILLS
// for example: jpegstills 127.1.2.3:8554 /dev/shm/state 50
//
// Its source has no supervisor, without which it cannot start a child.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
)

// still is one of them: user + system time, and what came of it.
type still struct {
	CPU                  time.Duration
	Bytes, Width, Height int
}

func main() {
	stills, err := run(os.Args[1], os.Args[2], os.Args[3])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(stills)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "jpegstills:", err)
		os.Exit(1)
	}
}

func run(address, dir, many string) ([]still, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(many)
	if err != nil {
		return nil, err
	}
	table := proc.Default()
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, table, "bench")
	if err != nil {
		return nil, err
	}
	source := capture.NewRTSP("ffmpeg", ffmpeg.Picturing{}, nil, slot.Table{Ledger: book, FS: table})
	visit := capture.Visit{Timeout: 10 * time.Second, Camera: camera.Camera{
		ID: "gate", Host: at.Addr().String(), Port: at.Port(), Address: at, Scheme: "rtsp", Path: "/stream1",
		Transport: camera.TCP, MaxConnections: 1, SessionTimeout: time.Second,
	}}
	var stills []still
	for range count {
		began, err := cpu()
		if err != nil {
			return nil, err
		}
		picture, report := source.Capture(context.Background(), visit)
		if report.Err != nil {
			return nil, report.Err
		}
		ended, err := cpu()
		if err != nil {
			return nil, err
		}
		stills = append(stills, still{ended - began, len(picture.JPEG), picture.Width, picture.Height})
	}
	return stills, nil
}

// cpu returns what this process has used so far.
func cpu() (time.Duration, error) {
	var usage unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}
