package commands

import (
	"io"
	"os"
	"runtime/debug"

	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"
)

// World is what a command line stands in: its streams, its environment, its terminal, its signals, its build.
// System returns the real one; a test builds another.
type World struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(name string) (value string, set bool)
	Terminal       Terminal
	Signals        Signals
	Build          Build
}

// Terminal says which streams a person looks at, and how large the screen is (columns and lines; 0 when unknown).
type Terminal struct {
	Stdout, Stderr bool
	Width, Height  int
}

// System returns the world of this process.
func System() World {
	return World{
		Stdin: os.Stdin, Stdout: survivor(os.Stdout), Stderr: survivor(os.Stderr),
		Getenv:   os.LookupEnv,
		Terminal: terminalOf(os.Stdout, os.Stderr),
		Signals:  kernelSignals,
		Build:    readBuild(debug.ReadBuildInfo()),
	}
}

func terminalOf(stdout, stderr *os.File) Terminal {
	t := Terminal{Stdout: isatty.IsTerminal(stdout.Fd()), Stderr: isatty.IsTerminal(stderr.Fd())}
	if size, err := unix.IoctlGetWinsize(int(stdout.Fd()), unix.TIOCGWINSZ); err == nil {
		t.Width, t.Height = int(size.Col), int(size.Row)
	}
	return t
}
