package ledger

import (
	"errors"
	"io/fs"
	"os"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Peek opens a ledger to be read only: it makes no folder, and Read tidies nothing away. Where there is no ledger yet the
// error matches fs.ErrNotExist; folders that are not safely ours are an error as in Open.
func Peek(dirs Dirs, table proc.FS) (*Ledger, error) {
	self, err := table.Self()
	if err != nil {
		return nil, fault.New(fault.Local, "", "cannot tell who this process is: %w", err).
			WithHint("is /proc mounted? (mount -t proc proc /proc)")
	}
	l := newLedger(dirs, table, "", self)
	l.peeks = true
	for _, dir := range []string{l.leases, l.streams} {
		if err := safe(dir, os.Geteuid(), 0o077); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	_, leases := os.Lstat(l.leases)
	_, streams := os.Lstat(l.streams)
	if errors.Is(leases, fs.ErrNotExist) && errors.Is(streams, fs.ErrNotExist) {
		return nil, trouble("read the leases in", l.leases, leases)
	}
	return l, nil
}
