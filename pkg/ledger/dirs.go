package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Dirs are the two places of a ledger. Runtime holds what is void after a reboot (leases of processes and connections, locks)
// and is best on a tmpfs; State holds what must outlive one (leases of streams in a remote server, small records).
type Dirs struct{ Runtime, State string }

// DirsFor chooses the places: stateDir when it is not empty (with the folders run and state in it), else
// $RUNTIME_DIRECTORY and $STATE_DIRECTORY as systemd sets them (systemd.exec(5); the first of a colon-separated list), else
// /run/camwarden and /var/lib/camwarden for root, else the XDG folders, else folders of the user in /tmp and /var/tmp,
// which is what cron leaves: it sets no XDG_RUNTIME_DIR.
// A folder in /tmp that exists and is not safely ours is an error, because others can write there. Nothing is created.
func DirsFor(stateDir string, env func(string) string, uid int) (Dirs, error) {
	if stateDir != "" {
		abs, err := filepath.Abs(stateDir)
		if err != nil {
			return Dirs{}, trouble("find", stateDir, err)
		}
		return Dirs{Runtime: filepath.Join(abs, "run"), State: filepath.Join(abs, "state")}, nil
	}
	dirs := Dirs{Runtime: first(env("RUNTIME_DIRECTORY")), State: first(env("STATE_DIRECTORY"))}
	if dirs.Runtime == "" {
		runtime, err := runtimeOf(env, uid)
		if err != nil {
			return Dirs{}, err
		}
		dirs.Runtime = runtime
	}
	if dirs.State == "" {
		state, err := stateOf(env, uid)
		if err != nil {
			return Dirs{}, err
		}
		dirs.State = state
	}
	return dirs, nil
}

func runtimeOf(env func(string) string, uid int) (string, error) {
	if uid == 0 {
		return "/run/camwarden", nil
	}
	// su and sudo may hand on the folder of another user, or of a session that is over: then it is as good as not set.
	if xdg := env("XDG_RUNTIME_DIR"); filepath.IsAbs(xdg) && safe(xdg, uid, 0o077) == nil {
		return filepath.Join(xdg, "camwarden"), nil
	}
	return shared("/tmp", uid)
}

func stateOf(env func(string) string, uid int) (string, error) {
	if uid == 0 {
		return "/var/lib/camwarden", nil
	}
	if xdg := env("XDG_STATE_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "camwarden"), nil
	}
	if home := env("HOME"); filepath.IsAbs(home) && home != "/" {
		return filepath.Join(home, ".local", "state", "camwarden"), nil
	}
	return shared("/var/tmp", uid)
}

// shared is the user's own folder in a folder that everybody may write to.
func shared(parent string, uid int) (string, error) {
	dir := filepath.Join(parent, fmt.Sprintf("camwarden-%d", uid))
	if err := safe(dir, uid, 0o077); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return dir, nil
}

func first(list string) string {
	dir, _, _ := strings.Cut(list, ":")
	return dir
}

// own makes dir, with its parents, if it is missing, and refuses one that others could have prepared or may tamper with:
// not a folder, a symlink, another owner, or any permission of the mask for group and others.
func own(dir string, uid int, mask fs.FileMode) error {
	if err := safe(dir, uid, mask); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return trouble("make the folder", dir, err)
	}
	return safe(dir, uid, mask)
}

// safe checks a folder as own does. The error matches fs.ErrNotExist when there is none.
func safe(dir string, uid int, mask fs.FileMode) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return trouble("look at", dir, err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fault.New(fault.Local, "", "%s is a symlink: not used for leases and locks, because whoever made it may turn it elsewhere", dir).
			WithHint("remove it, or choose another place with --state-dir")
	case !info.IsDir():
		return fault.New(fault.Local, "", "%s is in the way: it is not a folder", dir).
			WithHint("move it away (mv %s %s.old), or choose another place with --state-dir", dir, dir)
	}
	if stat, known := info.Sys().(*syscall.Stat_t); known && int(stat.Uid) != uid {
		owner := stat.Uid
		return fault.New(fault.Local, "", "%s belongs to user %d, and this is user %d: not used for leases and locks", dir, owner, uid).
			WithHint("run as user %d, or choose another place with --state-dir", owner)
	}
	if open := info.Mode().Perm() & mask; open != 0 {
		return fault.New(fault.Local, "", "%s can be used by other users (mode %04o): not used for leases and locks", dir, info.Mode().Perm()).
			WithHint("chmod 700 %s", dir)
	}
	return nil
}

// local refuses a file system whose locks are kept by a server: they may hang, or be lost when it restarts (flock(2), NFS details).
func local(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return trouble("look at the file system of", dir, err)
	}
	if name := remote(st.Type); name != "" {
		return fault.New(fault.Local, "", "%s is on %s: locks there may hang or get lost", dir, name).
			WithHint("choose a place on a local file system with --state-dir, best on a tmpfs such as /run")
	}
	return nil
}

// remote names a network file system by its magic number (statfs(2)); empty for all others. The field has 32 bits on arm
// and 386, where a magic number above 1<<31 is negative.
func remote[T int32 | int64](magic T) string {
	switch uint32(magic) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "SMB"
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph"
	case unix.AFS_SUPER_MAGIC:
		return "AFS"
	}
	return ""
}
