package supervise

import (
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Find returns the path of a program: name itself when it holds a slash, else the first match in PATH.
// The error is of class local.
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fault.New(fault.Local, "", "program %q: %w", name, errors.Unwrap(err)).
			WithHint("install it, or give its full path; PATH is %q", os.Getenv("PATH"))
	}
	return path, nil
}

// Program is what there is to know about a file before it is run under supervision.
type Program struct {
	Path string // without symbolic links

	// Wrapped: a script ("#!"). If it forks instead of ending in exec, what it starts is not killed by the kernel when
	// we are: the parent-death signal is not inherited over fork (man 2 PR_SET_PDEATHSIG).
	Wrapped bool
	// SetID and Caps: set-uid or set-gid, or carrying file capabilities. An exec that changes ids or gains capabilities
	// clears the parent-death signal (same page). If the program then changes its real user as well, an ordinary user
	// cannot end it at all (man 2 kill); its ending is then Stuck.
	SetID bool
	Caps  bool

	// Libavformat is the major version of that library of ffmpeg which the program is linked with; 0: none, or linked
	// into the program itself. Version 58 is ffmpeg 4.
	Libavformat int
}

// Weak says whether any of that weakens the promise that nothing of ours survives our own SIGKILL.
func (p Program) Weak() bool { return p.Wrapped || p.SetID || p.Caps }

// Inspect looks at a program without running it. A file that may be executed and not read is not an error:
// a script needs to be readable by whoever runs it, so it is none. Errors are of class local.
func Inspect(path string) (Program, error) {
	program, err := inspect(path)
	if err != nil {
		return Program{}, fault.New(fault.Local, "", "program %s: %w", path, err)
	}
	return program, nil
}

func inspect(path string) (Program, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Program{}, err
	}
	if resolved, err = filepath.Abs(resolved); err != nil {
		return Program{}, err
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return Program{}, err
	}
	if !info.Mode().IsRegular() {
		return Program{}, errors.New("not a regular file")
	}
	program := Program{Path: resolved, SetID: info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0}
	if program.Wrapped, err = script(resolved); err != nil {
		return Program{}, err
	}
	size, err := unix.Getxattr(resolved, "security.capability", nil)
	switch {
	case err == nil:
		program.Caps = size > 0
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
	default:
		return Program{}, &os.PathError{Op: "getxattr", Path: resolved, Err: err}
	}
	program.Libavformat = libavformat(resolved)
	return program, nil
}

// libavformat reads the version from the name of the library that the file asks for (elf(5), DT_NEEDED).
func libavformat(path string) int {
	file, err := elf.Open(path)
	if err != nil {
		return 0 // not readable, or no such file at all
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil {
		return 0
	}
	for _, library := range libraries {
		if version, ok := strings.CutPrefix(library, "libavformat.so."); ok {
			major, _ := strconv.Atoi(version)
			return major
		}
	}
	return 0
}

func script(path string) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	var start [2]byte
	n, err := io.ReadFull(file, start[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(start[:n]) == "#!", nil
}
