package commands

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signals is where signals come from: the kernel, or a test.
type Signals func(chan<- os.Signal, ...os.Signal) (stop func())

// kernelSignals asks the Go runtime for signals. One that the caller had ignored (nohup, a job in the background)
// stays ignored, because Notify would switch it on again.
func kernelSignals(c chan<- os.Signal, wanted ...os.Signal) func() {
	for _, s := range wanted {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return func() { signal.Stop(c) }
}

// survivor returns a stream like f on which writing to a closed pipe is an error (EPIPE) instead of the end of this process:
// a round whose reader went away still has children to end. The Go runtime ends a process for that on descriptors 1 and 2 alone
// (os/signal, "SIGPIPE"), so the stream is a copy under another number. Receiving the signal by Notify would do as well, and
// start two threads; ignoring it would pass on to the children. A copy that cannot be made leaves f as it is.
func survivor(f *os.File) *os.File {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return f
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// signalled is the cause of a context that a signal cancelled.
type signalled struct{ signal os.Signal }

func (s signalled) Error() string { return "ended by " + signalName(s.signal) }

// interrupts is what signals do to a command that dials: the first cancels the work, the second ends its children
// at once instead of leaving them their grace. Neither ends the cleaning-up.
type interrupts struct {
	ctx   context.Context
	hurry chan struct{} // closed by the second signal
	over  chan struct{} // closed by stop
	stop  func()

	mu    sync.Mutex
	first os.Signal
}

// watch begins to listen. Call stop when the work and the cleaning-up are over.
func watch(ctx context.Context, signals Signals, say func(string)) *interrupts {
	ctx, cancel := context.WithCancelCause(ctx)
	i := &interrupts{ctx: ctx, hurry: make(chan struct{}), over: make(chan struct{})}
	arrived := make(chan os.Signal, 4)
	ignore := signals(arrived, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		hurried := false
		for {
			select {
			case <-i.over:
				return
			case s := <-arrived:
				switch {
				case i.remember(s):
					cancel(signalled{s})
					say(fmt.Sprintf("%s: ending the visits and cleaning up; once more ends the children at once", signalName(s)))
				case !hurried:
					hurried = true
					close(i.hurry)
					say(fmt.Sprintf("%s again: ending the children at once", signalName(s)))
				}
			}
		}
	}()
	i.stop = func() { ignore(); close(i.over); cancel(nil) }
	return i
}

func (i *interrupts) remember(s os.Signal) (isFirst bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.first != nil {
		return false
	}
	i.first = s
	return true
}

// signal returns the first signal that came, or nil.
func (i *interrupts) signal() os.Signal {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.first
}

func signalName(s os.Signal) string {
	if number, ok := s.(syscall.Signal); ok {
		return unix.SignalName(number)
	}
	return s.String()
}
