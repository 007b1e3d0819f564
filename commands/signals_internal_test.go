package commands

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/round"
)

// press returns signals that come when the test sends them.
func press(t *testing.T) (Signals, chan<- os.Signal) {
	t.Helper()
	keys := make(chan os.Signal)
	return func(to chan<- os.Signal, _ ...os.Signal) func() {
		over := make(chan struct{})
		go func() {
			for {
				select {
				case s := <-keys:
					to <- s
				case <-over:
					return
				}
			}
		}()
		return func() { close(over) }
	}, keys
}

func TestTheFirstSignalCancelsAndTheSecondHurries(t *testing.T) {
	t.Parallel()
	signals, keys := press(t)
	said := make(chan string, 4)
	w := watch(context.Background(), signals, func(text string) { said <- text })
	defer w.stop()

	keys <- syscall.SIGTERM
	<-w.ctx.Done()
	var cause signalled
	if !errors.As(context.Cause(w.ctx), &cause) || cause.signal != syscall.SIGTERM {
		t.Errorf("the work was cancelled because of %v", context.Cause(w.ctx))
	}
	select {
	case <-w.hurry:
		t.Error("the first signal left the children no grace")
	case <-time.After(20 * time.Millisecond):
	}
	keys <- syscall.SIGINT
	<-w.hurry
	keys <- syscall.SIGINT // a third must not close the channel again
	if w.signal() != syscall.SIGTERM {
		t.Errorf("the exit code is that of the first signal, but %v is remembered", w.signal())
	}
	if len(said) == 0 {
		t.Error("nobody was told that a second signal hurries")
	}
}

func TestExitCode_leftBeforeSignalBeforeCamera(t *testing.T) {
	t.Parallel()
	tests := []struct {
		verdict round.Verdict
		failed  int
		skipped int
		signal  os.Signal
		want    ExitCode
	}{
		{round.Clean, 0, 0, nil, 0},
		{round.Clean, 1, 0, nil, 1},
		{round.Clean, 0, 1, nil, 1},
		{round.Clean, 1, 0, syscall.SIGINT, 130},
		{round.Clean, 0, 0, syscall.SIGTERM, 143},
		{round.Clean, 0, 0, syscall.SIGHUP, 129},
		{round.Left, 0, 0, nil, 3},
		{round.Left, 1, 0, syscall.SIGINT, 3},
		{round.Unverified, 0, 0, syscall.SIGTERM, 3},
	}
	for _, tt := range tests {
		report := round.Report{Verdict: tt.verdict, Summary: round.Summary{Failed: tt.failed, Skipped: tt.skipped}}
		if got := codeOfReport(report, tt.signal); got != tt.want {
			t.Errorf("%s, %d failed, %d skipped, signal %v: exit code %d, want %d", tt.verdict, tt.failed, tt.skipped, tt.signal, got, tt.want)
		}
	}
}
