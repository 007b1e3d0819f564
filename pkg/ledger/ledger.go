// Package ledger remembers what camwarden made and has not yet seen gone, and keeps the locks between runs.
package ledger

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Margin is how long after its deadline an owner that still lives is believed to be late and no more.
// Beyond it the owner is wedged (stopped, say), and others may take over what it holds.
const Margin = 60 * time.Second

// staleAfter is the age at which a temporary file is nobody's work in progress any more.
const staleAfter = time.Minute

// Ledger is all leases, locks and records in one pair of folders. It is safe for concurrent use,
// and any number of processes may have it open.
type Ledger struct {
	dirs Dirs
	fs   proc.FS
	run  string
	self proc.Identity

	peeks bool // reads, and changes nothing

	leases, streams, locks, records string

	host string // where the locks of all users of this host stand
}

// Open makes the folders, mode 0700, where they are missing, and checks that they are this user's alone.
// Leases will carry run as the name of the run that wrote them.
// The error is a *fault.Error of class local, with a hint.
func Open(dirs Dirs, table proc.FS, run string) (*Ledger, error) {
	self, err := table.Self()
	if err != nil {
		return nil, fault.New(fault.Local, "", "cannot tell who this process is: %w", err).
			WithHint("is /proc mounted? (mount -t proc proc /proc)")
	}
	l := newLedger(dirs, table, run, self)
	if err := l.prepare(); err != nil {
		return nil, err
	}
	return l, nil
}

func newLedger(dirs Dirs, table proc.FS, run string, self proc.Identity) *Ledger {
	return &Ledger{
		dirs: dirs, fs: table, run: run, self: self,
		leases:  filepath.Join(dirs.Runtime, "leases"),
		locks:   filepath.Join(dirs.Runtime, "locks"),
		streams: filepath.Join(dirs.State, "streams"),
		records: filepath.Join(dirs.State, "records"),
		host:    hostDir,
	}
}

// prepare makes and checks the folders. The outer ones may be readable for others, as systemd makes them (0755);
// the inner ones may not.
func (l *Ledger) prepare() error {
	uid := os.Geteuid()
	for _, dir := range []string{l.dirs.Runtime, l.dirs.State} {
		if err := own(dir, uid, 0o022); err != nil {
			return err
		}
	}
	if err := local(l.dirs.Runtime); err != nil {
		return err
	}
	for _, dir := range []string{l.leases, l.locks, l.streams, l.records} {
		if err := own(dir, uid, 0o077); err != nil {
			return err
		}
	}
	return nil
}

// Dirs returns where this ledger is.
func (l *Ledger) Dirs() Dirs { return l.dirs }

// Run returns the name of the run that writes with this ledger.
func (l *Ledger) Run() string { return l.run }

// Write notes a lease and fills in V, ID, Run, Owner and Made. Once it returns, the note survives our SIGKILL; a stream's
// lease also survives a power cut. The error is a *fault.Error of class local, and then nothing was written.
func (l *Ledger) Write(lease Lease) (*Held, error) {
	id, err := newID()
	if err != nil {
		return nil, trouble("draw an id for a lease in", l.leases, err)
	}
	lease.V, lease.ID, lease.Run, lease.Owner, lease.Made = version, id, l.run, l.self, time.Now().UTC()
	h := &Held{ledger: l, lease: lease}
	if err := h.save(lease); err != nil {
		_ = os.Remove(h.path()) // it may stand there, and merely not be durable
		return nil, err
	}
	return h, nil
}

// Adopt returns a hold on a lease that somebody else left, in order to strike or to change it.
func (l *Ledger) Adopt(lease Lease) *Held { return &Held{ledger: l, lease: lease} }

// Torn is a file that is not a lease we can read: half a file, a foreign one, one by a newer version. It is kept.
type Torn struct{ Path, Why string }

// Read returns the leases that stand, oldest first, those of dead and of wedged owners too: see Standing.
// On the way it tidies away what can mean nothing any more: leases of an earlier boot (streams excepted),
// cooling leases that have cooled down, temporary files older than a minute.
// With an error, of class local, the lists hold what could be read, and are not complete.
func (l *Ledger) Read() ([]Lease, []Torn, error) {
	leases, torn, err := l.readFolder(l.leases)
	streams, tornStreams, streamErr := l.readFolder(l.streams)
	return append(leases, streams...), append(torn, tornStreams...), errors.Join(err, streamErr)
}

func (l *Ledger) readFolder(dir string) ([]Lease, []Torn, error) {
	entries, err := os.ReadDir(dir) // sorted by name: a ULID begins with its time
	if l.peeks && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, trouble("read the leases in", dir, err)
	}
	var leases []Lease
	var torn []Torn
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasSuffix(entry.Name(), temporarySuffix) && entry.Type().IsRegular() {
			if !l.peeks {
				removeStale(path, entry)
			}
			continue
		}
		if !entry.Type().IsRegular() {
			torn = append(torn, Torn{Path: path, Why: errNotAFile.Error()})
			continue
		}
		lease, err := l.readLease(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // struck since we listed the folder
		case err != nil:
			torn = append(torn, Torn{Path: path, Why: bare(err).Error()})
		case l.void(lease):
			if !l.peeks {
				_ = os.Remove(path) // failing to is no loss: it is as void the next time
			}
		default:
			leases = append(leases, lease)
		}
	}
	return leases, torn, nil
}

func (l *Ledger) readLease(path string) (Lease, error) {
	id, ok := strings.CutSuffix(filepath.Base(path), leaseSuffix)
	if !ok {
		return Lease{}, errors.New("not a lease: a foreign name")
	}
	content, err := slurp(path)
	if err != nil {
		return Lease{}, err
	}
	lease, err := parse(id, content)
	if err == nil && (lease.Kind == Stream) != (filepath.Dir(path) == l.streams) {
		return Lease{}, errors.New("not a lease: a " + string(lease.Kind) + " in the wrong folder")
	}
	return lease, err
}

// void reports whether a lease can mean nothing any more, whoever wrote it.
func (l *Ledger) void(lease Lease) bool {
	switch {
	case lease.Kind == Stream:
		return false // it stands in another server, which may not have restarted
	case lease.Owner.BootID != l.self.BootID:
		return true
	}
	return lease.Kind == Cooling && proc.BootTime() >= lease.Deadline
}

func removeStale(path string, entry fs.DirEntry) {
	if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > staleAfter {
		_ = os.Remove(path)
	}
}

// What Standing says of a lease.
const (
	Live        = "live"         // its owner lives and is not long past the deadline
	DeadOwner   = "dead-owner"   // its owner is gone: nobody will strike it
	WedgedOwner = "wedged-owner" // its owner lives, but is past the deadline by more than Margin
	CoolingDown = "cooling"      // a cooling lease before its time
	Cooled      = "cooled"       // a cooling lease whose time has come; the next Read removes it
)

// Standing says whether somebody answers for a lease. An owner that cannot be seen, because it is in another pid namespace,
// counts as alive: the deadline decides about it.
func (l *Ledger) Standing(lease Lease) string {
	now := proc.BootTime()
	if lease.Kind == Cooling {
		if lease.Owner.BootID != l.self.BootID || now >= lease.Deadline {
			return Cooled
		}
		return CoolingDown
	}
	if l.gone(lease.Owner) {
		return DeadOwner
	}
	if now > lease.Deadline+Margin {
		return WedgedOwner
	}
	return Live
}

// Live reports whether a lease still counts: its owner lives and its deadline is at most Margin past,
// or it is cooling and has not cooled down yet.
func (l *Ledger) Live(lease Lease) bool {
	standing := l.Standing(lease)
	return standing == Live || standing == CoolingDown
}

// gone reports whether a process is known to be no more; when that cannot be told it is believed to live.
func (l *Ledger) gone(id proc.Identity) bool {
	switch {
	case id.BootID != l.self.BootID:
		return true
	case id == l.self:
		return false // whoever asks lives; a round asks this for each lease of its own, at each of its visits
	}
	presence, _ := l.fs.Look(id)
	return presence == proc.Gone || presence == proc.Zombie
}

// dying reports whether a process is about to be no more.
func (l *Ledger) dying(id proc.Identity) bool {
	dying, err := l.fs.Dying(id.PID)
	return err == nil && dying
}

// put places a file of ours. Cleaners of /tmp take whole folders away under a run that waits long; then they are made anew.
func (l *Ledger) put(path string, v any, durable bool) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	content = append(content, '\n')
	err = place(path, content, durable)
	if errors.Is(err, fs.ErrNotExist) {
		if err := l.prepare(); err != nil {
			return err
		}
		err = place(path, content, durable)
	}
	return err
}
