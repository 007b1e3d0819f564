package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// trouble is a failure of the file system in the user's words: what we wanted, where, why not, and what to do about it.
func trouble(want, path string, err error) *fault.Error {
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	return fault.New(fault.Local, "", "cannot %s %s: %w", want, path, bare(err)).WithHint("%s", remedy(path, err))
}

// bare takes off the wrapping that repeats the operation and the (temporary) path.
func bare(err error) error {
	var inPath *fs.PathError
	var inLink *os.LinkError
	var inCall *os.SyscallError
	switch {
	case errors.As(err, &inPath):
		return inPath.Err
	case errors.As(err, &inLink):
		return inLink.Err
	case errors.As(err, &inCall):
		return inCall.Err
	}
	return err
}

func remedy(path string, err error) string {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "free space there (df " + dir + "; df -i " + dir + "), or choose another place with --state-dir"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return "choose a folder that you may write to with --state-dir, or run as the user it belongs to"
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, fs.ErrExist), errors.Is(err, unix.EISDIR):
		return "something on this path is not what it should be (ls -ld " + path + " " + dir + "): move it away, or choose another place with --state-dir"
	case fault.OutOfFiles(err):
		return fault.HintMoreFiles + ", or use fewer jobs (-j)"
	}
	return "choose another place with --state-dir"
}
