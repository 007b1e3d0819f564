package commands

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/round"
)

// ExitCode is the number this program ends with; scripts depend on it.
type ExitCode int

// The exit codes. exitTable says what they mean, for help and man page alike.
const (
	Done         ExitCode = 0
	CameraFailed ExitCode = 1
	Wrong        ExitCode = 2
	LeftBehind   ExitCode = 3
	NoSource     ExitCode = 4
	Busy         ExitCode = 75  // EX_TEMPFAIL of sysexits.h: try again later
	BySignal     ExitCode = 128 // plus the number of the signal, as shells count
)

// exitRow is one line of the table of exit codes. A row without commands holds for all of them; one that is detail stands
// on the pages of its commands alone, not on that of the program.
type exitRow struct {
	code     string
	meaning  string
	commands []string
	detail   bool
}

// exitTable is the one place that says what an exit code means.
func exitTable() []exitRow {
	dialling, others := []string{"round", "snapshot"}, []string{"config", "schema", "completion", "version"}
	streams := []string{"streams"}
	ending := slices.Concat(dialling, []string{"reap"})
	return []exitRow{
		{code: "0", meaning: "done and verified", commands: ending},
		{code: "0", meaning: "done", commands: others, detail: true},
		{code: "0", meaning: "done; every stream that is left is to be kept", commands: streams, detail: true},
		{code: "0", meaning: "looked, and no finding reaches --fail-on", commands: []string{"doctor"}, detail: true},
		{code: "1", meaning: "done, but a camera failed or was skipped, the pictures could not be kept, or the report could not be written", commands: dialling},
		{code: "0", meaning: "looked", commands: []string{"discover"}, detail: true},
		{code: "1", meaning: "looked, but something could not be looked at, a still of --verify failed, or the report could not be written", commands: []string{"discover"}, detail: true},
		{code: "1", meaning: "a finding of doctor reaches --fail-on (critical), it was interrupted, or the report could not be written", commands: []string{"doctor"}},
		{code: "1", meaning: "go2rtc did not answer, a stream could not be added, a named one was kept, or the report could not be written", commands: streams, detail: true},
		{code: "0", meaning: "all that may go is gone", commands: []string{"prune"}, detail: true},
		{code: "1", meaning: "something could not be removed, or the report could not be written", commands: []string{"prune"}, detail: true},
		{code: "1", meaning: "done, but the report could not be written", commands: slices.Concat(others, []string{"reap"}), detail: true},
		{code: "2", meaning: "the command line or the configuration is wrong; nothing was touched"},
		{code: "3", meaning: "something of ours (reap: anything it should have ended) is left, or could not be verified; wins over 1 and over 128+n", commands: ending},
		{code: "3", meaning: "a stream of ours that nobody watches, or a picture that hangs, is left", commands: streams, detail: true},
		{code: "4", meaning: "no listed source can work here (--source ffmpeg without an ffmpeg, say); nothing was dialled", commands: dialling},
		{code: "75", meaning: "another run holds the lock, or the cool-down has not passed (--if-busy fail)", commands: []string{"round"}},
		{code: "75", meaning: "another run uses the stream", commands: streams, detail: true},
		{code: "128+n", meaning: "ended by signal n, after cleaning up (130 for Ctrl-C, 143 for TERM)", commands: slices.Concat(ending, streams)},
	}
}

// exitRowsFor returns the rows that hold for a command, "" being the program as a whole.
func exitRowsFor(command string) []exitRow {
	var rows []exitRow
	for _, row := range exitTable() {
		if row.commands == nil || slices.Contains(row.commands, command) || command == "" && !row.detail {
			rows = append(rows, row)
		}
	}
	return rows
}

// ended is the error of a command that has said everything already: only its number is left to say.
type ended ExitCode

func (e ended) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// cutShort is the error of a command that a signal ended before it had a report.
type cutShort struct {
	why  *fault.Error
	code ExitCode
}

func (e cutShort) Error() string { return e.why.Message }
func (e cutShort) Unwrap() error { return e.why }

// endedBy says that a signal, not what the command was waiting for, is why there is no report.
func endedBy(signal os.Signal, waiting error) error {
	return cutShort{
		fault.New(fault.Cancelled, "", "ended by %s before anything was done: %w", signalName(signal), waiting),
		codeOfSignal(signal),
	}
}

// codeOf turns the error of a command into its exit code.
func codeOf(err error) ExitCode {
	if err == nil {
		return Done
	}
	var said ended
	if errors.As(err, &said) {
		return ExitCode(said)
	}
	var cut cutShort
	if errors.As(err, &cut) {
		return cut.code
	}
	switch fault.ClassOf(err) {
	case fault.NoSource:
		return NoSource
	case fault.Busy, fault.Cooling:
		return Busy
	default:
		// Whatever else ends a command before it has a report ended it before anything was touched.
		return Wrong
	}
}

// codeOfReport reads the exit code from what a round says of itself: what is left weighs most, then the signal, then the cameras.
func codeOfReport(report round.Report, signal os.Signal) ExitCode {
	switch {
	case report.Verdict != round.Clean:
		return LeftBehind
	case signal != nil:
		return codeOfSignal(signal)
	case report.Summary.Failed+report.Summary.Skipped > 0, report.NotKept != "":
		return CameraFailed
	default:
		return Done
	}
}

func codeOfSignal(signal os.Signal) ExitCode {
	if number, ok := signal.(syscall.Signal); ok {
		return BySignal + ExitCode(number)
	}
	return BySignal
}
