package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Outcome is how an attempt to end a process came out.
type Outcome string

// What Kill can report; beside these Gone (it was there no more, nothing was sent) and Zombie (nothing was sent).
const (
	Ended        Outcome = "ended"         // we signalled it and the kernel has reported its end
	NotSame      Outcome = "not-same"      // the pid belongs to another process now; nothing was sent
	NotPermitted Outcome = "not-permitted" // it belongs to another user; asking again will not help
	Stuck        Outcome = "stuck"         // it outlived SIGKILL for as long as we wait: Result.State says in which state
)

// Result is what Kill did and saw.
type Result struct {
	Outcome Outcome
	Signal  unix.Signal // the last one sent; 0: none
	Took    time.Duration
	State   byte // of Stat, last seen; 0 when the process was not seen at all
}

// Kill ends one process: SIGTERM, up to grace, SIGKILL, up to bound. A grace of 0 or less sends SIGKILL at once;
// a bound of 0 or less looks once. Ended is reported when the kernel says so (the pidfd is readable, man 2 pidfd_open),
// never because a signal could be sent.
//
// The process is pinned by a pidfd and then compared with the identity, so that no other can be hit.
// Where the kernel offers no pidfd there is no such proof: the error says so and nothing is sent.
// When ctx ends before the first signal nothing is sent; when it ends during the grace SIGKILL follows at once.
// The bound is waited in any case. An error means that it was not settled, and comes with what was sent so far.
func (f FS) Kill(ctx context.Context, id Identity, grace, bound time.Duration) (Result, error) {
	began := time.Now()
	result, err := f.kill(ctx, id, grace, bound)
	result.Took = time.Since(began)
	var failure *fault.Error
	switch {
	case errors.As(err, &failure):
		failure.Message = fmt.Sprintf("end %v: %s", id, failure.Message)
	case err != nil:
		err = fmt.Errorf("end %v: %w", id, err)
	}
	return result, err
}

func (f FS) kill(ctx context.Context, id Identity, grace, bound time.Duration) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if !f.real() {
		return Result{}, f.picture()
	}
	if id.PID <= 1 || id.PID == os.Getpid() {
		return Result{}, fault.New(fault.Local, "", "refused: neither the init process nor ourselves")
	}
	here, err := f.here()
	if err != nil {
		return Result{}, err
	}
	if id.BootID != here.BootID {
		if id.BootID == "" {
			return Result{}, fault.New(fault.Local, "", "an identity without a boot id proves nothing")
		}
		return Result{Outcome: Gone}, nil
	}
	if id.PIDNS != here.PIDNS {
		return Result{}, fault.New(fault.Local, "", "it belongs to pid namespace %d, this is %d", id.PIDNS, here.PIDNS).
			WithHint("run this where that process was started, in its container for example")
	}
	target, outcome, err := open(id.PID)
	if target == nil {
		return Result{Outcome: outcome}, err
	}
	defer target.file.Close()

	result, err := f.prove(target, id)
	if err != nil || result.Outcome != "" {
		return result, err
	}
	if grace > 0 {
		if done, err := f.send(ctx, target, unix.SIGTERM, grace, &result); done || err != nil {
			return result, err
		}
	}
	// The wait that follows SIGKILL is cleaning up: the context that cancelled the work does not shorten it.
	if done, err := f.send(context.WithoutCancel(ctx), target, unix.SIGKILL, bound, &result); done || err != nil {
		return result, err
	}
	result.Outcome = Stuck
	if stat, err := f.Stat(id.PID); err == nil {
		result.State = stat.State
	}
	return result, nil
}

// MayEnd reports whether this user may end a process, without sending it anything: the kernel is asked for a signal of number 0
// (man 2 kill). A process that is gone, or not the one, may be ended: there is nothing to do.
func (f FS) MayEnd(id Identity) (bool, error) {
	if !f.real() {
		return false, f.picture()
	}
	target, outcome, err := open(id.PID)
	if target == nil {
		return outcome == Gone, err
	}
	defer target.file.Close()
	result, err := f.prove(target, id)
	if err != nil || result.Outcome != "" {
		return result.Outcome != NotPermitted, err
	}
	switch err := unix.PidfdSendSignal(target.fd, 0, nil, 0); {
	case err == nil, errors.Is(err, unix.ESRCH):
		return true, nil
	case errors.Is(err, unix.EPERM):
		return false, nil
	default:
		return false, noPidfd("pidfd_send_signal", err)
	}
}

func (f FS) picture() error {
	return fault.New(fault.Local, "", "%s is a picture of a process table, nothing in it can be signalled", f.root())
}

// prove compares what the pidfd holds with the identity. From the moment the pidfd is open, the pid cannot change
// hands unnoticed: it is this process, or a dead one. An empty outcome means: it is the one, and it is alive.
func (f FS) prove(target *pinned, id Identity) (Result, error) {
	stat, err := f.Stat(id.PID)
	if errors.Is(err, fs.ErrNotExist) {
		dead, err := readable(target.fd)
		if err != nil || dead {
			return Result{Outcome: Gone}, err
		}
		return Result{Outcome: NotPermitted}, nil // alive and hidden: another user's (hidepid)
	}
	if err != nil {
		return Result{}, err
	}
	result := Result{State: stat.State}
	switch {
	case stat.Start != id.Start:
		result.Outcome = NotSame
	case stat.Dead():
		result.Outcome = Zombie
	}
	return result, nil
}

// send sends one signal and waits for the end of the process. It reports whether the matter is settled.
func (f FS) send(ctx context.Context, target *pinned, signal unix.Signal, limit time.Duration, result *Result) (bool, error) {
	err := unix.PidfdSendSignal(target.fd, signal, nil, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		result.Outcome = Gone
		if result.Signal != 0 {
			result.Outcome = Ended
		}
		return true, nil
	case errors.Is(err, unix.EPERM):
		result.Outcome = NotPermitted
		return true, nil
	case err != nil:
		return false, noPidfd("pidfd_send_signal", err)
	}
	result.Signal = signal
	ended, err := target.wait(ctx, limit)
	if err != nil {
		return false, err
	}
	if ended {
		result.Outcome = Ended
	}
	return ended, nil
}

func noPidfd(call string, err error) error {
	return fault.New(fault.Local, "", "%s: %w; without it a process cannot be told from another with the same pid, so none is signalled", call, err).
		WithHint("needs Linux 5.3 or later and a seccomp profile that allows pidfd_open and pidfd_send_signal")
}
