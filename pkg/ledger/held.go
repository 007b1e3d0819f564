package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/proc"
)

// ErrStruck is in the error of changing a lease that is no longer in the ledger: we struck it, or somebody took us for wedged
// and did. What it stood for must not be used any more.
var ErrStruck = errors.New("struck off the ledger")

// Held is one lease of the ledger in the hands of whoever must strike it. It is safe for concurrent use.
type Held struct {
	ledger *Ledger

	mu     sync.Mutex
	lease  Lease
	struck bool
}

// Lease returns what the ledger says.
func (h *Held) Lease() Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease
}

// Expired reports whether the lease's own deadline has passed. Whoever finds so must not begin to use what it stands for:
// Margin later others stop counting it.
func (h *Held) Expired() bool { return proc.BootTime() > h.Lease().Deadline }

// Update changes the lease, in the file first. Version, id and kind stay as they are.
// It does not bring back a lease that was struck: the error then matches ErrStruck. After any error the lease is as it was.
func (h *Held) Update(change func(*Lease)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.lease
	change(&next)
	next.V, next.ID, next.Kind = h.lease.V, h.lease.ID, h.lease.Kind
	path := h.path()
	if _, err := os.Lstat(path); h.struck || errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Local, "", "lease %s (%s) was %w", h.lease.ID, h.lease.Camera, ErrStruck).
			WithHint("another camwarden may have taken this one for wedged; run it again")
	}
	return h.save(next)
}

// Strike removes the lease. A lease that is gone already is no error.
func (h *Held) Strike() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.strike()
}

func (h *Held) strike() error {
	if !validID(h.lease.ID) {
		return h.noFile()
	}
	path := h.path()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return trouble("strike the lease", path, err)
	}
	h.struck = true
	if h.lease.Kind == Stream {
		// A struck lease that came back after a power cut would make us remove a stream that is no longer ours.
		if err := syncFolder(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return trouble("strike the lease", path, err)
		}
	}
	return nil
}

// Cool turns the lease into a cooling one, which keeps its slot at the address until that time on the boot-time clock
// and needs no owner. A time that has passed strikes the lease. A stream cannot cool: it holds no slot, and its lease must stay until it is seen gone.
func (h *Held) Cool(until time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.struck {
		return fault.New(fault.Local, "", "lease %s (%s) was %w", h.lease.ID, h.lease.Camera, ErrStruck).WithHint("write a new one")
	}
	if h.lease.Kind == Stream {
		return fault.New(fault.Local, "", "lease %s is of the stream %s, which cannot cool", h.lease.ID, h.lease.Name).WithHint("strike it once the stream is gone")
	}
	if until <= proc.BootTime() {
		return h.strike()
	}
	next := h.lease
	next.Kind, next.Deadline = Cooling, until
	next.Child, next.ChildInode = proc.Identity{}, 0
	// The clock is this boot's, whoever began the lease.
	next.Owner = h.ledger.self
	return h.save(next)
}

func (h *Held) save(next Lease) error {
	if !validID(next.ID) {
		return h.noFile()
	}
	path := h.path()
	if err := h.ledger.put(path, next, next.Kind == Stream); err != nil {
		return trouble("write the lease", path, err)
	}
	h.lease = next
	return nil
}

// path is where the lease is; its kind decides which folder, and never changes to or from Stream.
func (h *Held) path() string {
	dir := h.ledger.leases
	if h.lease.Kind == Stream {
		dir = h.ledger.streams
	}
	return filepath.Join(dir, h.lease.ID+leaseSuffix)
}

// noFile is for a lease that no ledger wrote: its id would be used as the name of a file.
func (h *Held) noFile() error {
	return fault.New(fault.Local, "", "lease %q is in no ledger", h.lease.ID).WithHint("adopt only what Read returned")
}
