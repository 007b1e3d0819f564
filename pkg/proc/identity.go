package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Identity names one process for as long as anybody may remember it. A pid alone is a number that is used again;
// together with the boot, the pid namespace in which the number counts, and the start time it is one process and no other.
type Identity struct {
	BootID string `json:"boot_id"`
	PIDNS  uint64 `json:"pidns"` // the namespace of whoever looked: where PID means this process
	PID    int    `json:"pid"`
	Start  uint64 `json:"start"` // clock ticks (1/100 s) since boot
}

// IsZero says that the identity names no process (yet).
func (id Identity) IsZero() bool { return id == Identity{} }

// String is for messages: the pid and the start time.
func (id Identity) String() string { return fmt.Sprintf("pid %d (start %d)", id.PID, id.Start) }

// Presence is what a look at an identity found.
type Presence string

// What Look can find; beside these Gone and Zombie.
const (
	Running Presence = "running" // alive, in whatever state: stopped and uninterruptible ones too
	Unknown Presence = "unknown" // could not look: hidden from this user, or in another pid namespace
)

// Gone and Zombie are words of both Presence and Outcome, hence without a type.
const (
	Gone   = "gone"   // no such process any more
	Zombie = "zombie" // dead, but its parent has not taken note: nothing is left that could be killed
)

// Self returns the identity of the calling process.
func (f FS) Self() (Identity, error) {
	link, err := os.Readlink(filepath.Join(f.root(), "self"))
	if err != nil {
		return Identity{}, fmt.Errorf("own process: %w", err)
	}
	pid, err := strconv.Atoi(link)
	if err != nil {
		return Identity{}, fmt.Errorf("own process: %s/self points to %q", f.root(), link)
	}
	return f.Identify(pid)
}

// Identify returns the identity of the process that has the pid now. When there is none the error matches fs.ErrNotExist.
func (f FS) Identify(pid int) (Identity, error) {
	id, err := f.here()
	if err != nil {
		return Identity{}, err
	}
	stat, err := f.Stat(pid)
	if err != nil {
		return Identity{}, err
	}
	id.PID, id.Start = pid, stat.Start
	return id, nil
}

// here is the part of an identity that all processes seen from here have in common.
func (f FS) here() (Identity, error) {
	if f.learnt == nil {
		return f.whereabouts()
	}
	if seen := f.learnt.place.Load(); seen != nil {
		return *seen, nil
	}
	id, err := f.whereabouts()
	if err == nil {
		f.learnt.place.Store(&id)
	}
	return id, err
}

func (f FS) whereabouts() (Identity, error) {
	boot, err := f.BootID()
	if err != nil {
		return Identity{}, err
	}
	// Not the target's own namespace: that link is closed to other users, and a pid counts in the namespace of the reader.
	link, err := os.Readlink(filepath.Join(f.root(), "self/ns/pid"))
	if err != nil {
		return Identity{}, fmt.Errorf("pid namespace: %w", err)
	}
	space, err := parseNamespace(link, "pid")
	if err != nil {
		return Identity{}, err
	}
	if err := f.ours(); err != nil {
		return Identity{}, err
	}
	return Identity{BootID: boot, PIDNS: space}, nil
}

// ours refuses a /proc that was mounted for an outer pid namespace (unshare --pid without --mount-proc): system calls
// and files would speak of different processes under the same number. NSpid lists our pid from the namespace of the
// mount down to our own, so it holds one number exactly when they are the same (man 5 proc_pid_status).
func (f FS) ours() error {
	if !f.real() {
		return nil
	}
	status, err := os.ReadFile(filepath.Join(f.root(), "self/status"))
	if err != nil {
		return fmt.Errorf("pid namespace: %w", err)
	}
	if pids := statusFields(status, "NSpid:"); len(pids) > 1 {
		return fault.New(fault.Local, "", "%s belongs to an outer pid namespace: we are process %s there and %s here",
			f.root(), pids[0], pids[len(pids)-1]).WithHint("mount a /proc for this pid namespace (unshare --mount-proc)")
	}
	return nil
}

// Namespace returns the number of a process's namespace; kind is a name in /proc/PID/ns such as "pid" or "net".
// For another user's process the error matches fs.ErrPermission (man 7 namespaces).
func (f FS) Namespace(pid int, kind string) (uint64, error) {
	link, err := os.Readlink(f.path(pid, "ns", kind))
	if err != nil {
		return 0, vanished(pid, err)
	}
	return parseNamespace(link, kind)
}

func parseNamespace(link, kind string) (uint64, error) {
	inner, ok := strings.CutPrefix(link, kind+":[")
	if ok {
		inner, ok = strings.CutSuffix(inner, "]")
	}
	number, err := strconv.ParseUint(inner, 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("%s namespace: unexpected link %q", kind, link)
	}
	return number, nil
}

// Look says what has become of a process. Unknown comes with an error that says why.
// A pid that now belongs to another process, and an identity of an earlier boot, are Gone.
func (f FS) Look(id Identity) (Presence, error) {
	if id.PID <= 0 || id.BootID == "" {
		return Unknown, fmt.Errorf("%v is not an identity", id)
	}
	here, err := f.here()
	if err != nil {
		return Unknown, err
	}
	if id.BootID != here.BootID {
		return Gone, nil
	}
	if id.PIDNS != here.PIDNS {
		return Unknown, fmt.Errorf("%v belongs to pid namespace %d, this is %d", id, id.PIDNS, here.PIDNS)
	}
	stat, err := f.Stat(id.PID)
	if errors.Is(err, fs.ErrNotExist) {
		stat, err = f.second(id.PID)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Gone, nil
	case err != nil:
		return Unknown, err
	case stat.Start != id.Start:
		return Gone, nil
	case stat.Dead():
		return Zombie, nil
	}
	return Running, nil
}

// second asks the kernel about a process that the table does not show: with hidepid=2 the processes of others are
// simply absent there, and pidfd_open, which needs no permission, knows about them. Only ESRCH proves that there is none.
func (f FS) second(pid int) (Stat, error) {
	if !f.real() {
		return Stat{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		defer unix.Close(fd)
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		// EINVAL, in later kernels ENOENT: the number now belongs to a thread, which is not a process.
		return Stat{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	case errors.Is(err, unix.ENOSYS):
		// A kernel before 5.3. Its table is all there is to ask.
		return Stat{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	default:
		return Stat{}, fmt.Errorf("process %d: not in the process table, and pidfd_open: %w", pid, err)
	}
	stat, err := f.Stat(pid) // it may have been born between the two questions
	if !errors.Is(err, fs.ErrNotExist) {
		return stat, err
	}
	if dead, err := readable(fd); err == nil && dead {
		return Stat{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	return Stat{}, fmt.Errorf("process %d is alive but hidden from this user (hidepid)", pid)
}
