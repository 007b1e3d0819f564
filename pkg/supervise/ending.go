package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Kind is why a child ended.
type Kind string

// The ways in which a call of Run can end.
const (
	Exited     Kind = "exited"     // by itself: by exit or by a signal that was not ours
	Refused    Kind = "refused"    // it could not be started; Err is of class local
	Expired    Kind = "expired"    // its limit, or the deadline of the context, had passed
	Cancelled  Kind = "cancelled"  // the context was cancelled, or Hurry was called; PID is 0 when it had not started
	Overflowed Kind = "overflowed" // it wrote more to stdout than it may
	Stuck      Kind = "stuck"      // it, or something it left behind, could not be seen gone; its lease is kept
)

// Ending is what became of a child.
type Ending struct {
	Kind   Kind
	Code   int      // exit status; -1 when a signal ended it, or when it is not known
	Signal string   // the signal that ended it, "KILL" for SIGKILL; "" for none
	Sent   []string // the signals that we sent it, in order

	Stdout    []byte // at most MaxStdout
	Stderr    []byte // at most MaxStderr, redacted; whole lines only unless the child exited by itself and wrote no more than that
	StderrCut bool   // stderr was longer

	Duration   time.Duration // from the call of Run to the end being seen, settling not included
	PID        int           // 0: never started
	Stragglers int           // members of its group and escapees that outlived it and died of our SIGKILL

	// Err is what went wrong on our side. It may accompany any Kind and does not change what Kind says;
	// it is never nil for Refused and Stuck. An exit status is not an error.
	Err error
}

// How is for messages: "exited 1", "expired, ended by TERM".
func (e Ending) How() string {
	switch {
	case e.Signal != "":
		return fmt.Sprintf("%s, ended by %s", e.Kind, e.Signal)
	case e.Kind == Exited:
		return fmt.Sprintf("exited %d", e.Code)
	}
	return string(e.Kind)
}

func refused(path string, err error) Ending {
	problem := fault.New(fault.Local, "", "cannot start %s: %w", path, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem.WithHint("install it, or name the right file; a script needs its interpreter too")
	case errors.Is(err, fs.ErrPermission):
		problem.WithHint("make it executable for this user: chmod a+x %s", path)
	case fault.OutOfFiles(err):
		problem.WithHint("%s, or use fewer jobs (-j)", fault.HintMoreFiles)
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM):
		problem.WithHint("allow more processes (ulimit -u) or more memory, or use fewer jobs (-j)")
	}
	return Ending{Kind: Refused, Code: -1, Err: problem}
}

// status reads how the kernel says that the child ended. A nil state was never learnt.
func (e *Ending) status(state *os.ProcessState) {
	e.Code = -1
	if state == nil {
		return
	}
	e.Code = state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = signalName(status.Signal())
	}
}

func signalName(signal syscall.Signal) string {
	if name := unix.SignalName(signal); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return fmt.Sprintf("signal %d", int(signal))
}
