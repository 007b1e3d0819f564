package archive

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// asidePrefix begins the names of the folders in which a still is looked at before it is removed. What stands in one that
// nobody holds a lock on was taken out of the folder around it by a pruning that was killed, and belongs there.
const asidePrefix = ".camwarden-prune-"

// candidate is a file that may go.
type candidate struct {
	entry

	at int64 // milliseconds since 1970
}

// remove removes the candidates from the folder, in their order, until the context ends. With a dry run it only counts.
func (w *walk) remove(dir int, name string, candidates []candidate) (removed int, freed int64) {
	if len(candidates) == 0 {
		return 0, 0
	}
	if w.DryRun {
		for _, c := range candidates {
			var stat unix.Stat_t
			if unix.Fstatat(dir, c.name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil {
				freed += stat.Size
			}
		}
		return len(candidates), freed
	}
	aside, err := newAside(dir)
	if err != nil {
		w.fail(name, err)
		return 0, 0
	}
	defer aside.close()
	for _, c := range candidates {
		if w.ctx.Err() != nil {
			w.unfinished()
			break
		}
		size, err := aside.remove(c)
		switch {
		case err == nil:
			removed++
			freed += size
		case errors.Is(err, fs.ErrNotExist): // another pruning was quicker
		default:
			w.fail(path.Join(name, c.name), err)
		}
	}
	return removed, freed
}

// errOther is a name under which another file stands than the one that was looked at.
var errOther = errors.New("another file took its name meanwhile; it is left alone")

// aside is a folder that only this user can enter, in the folder that is pruned. Between a look at a name and its removal
// somebody may put another file under that name; in here nobody does.
type aside struct {
	parent, dir int
	name        string
	device      uint64
}

func newAside(parent int) (*aside, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(parent, &stat); err != nil {
		return nil, err
	}
	for range 10 { // a pruning that starts now may take the new folder for one that was left
		a := &aside{parent: parent, name: asidePrefix + rand.Text(), device: stat.Dev}
		if err := unix.Mkdirat(parent, a.name, 0o700); err != nil {
			return nil, err
		}
		var err error
		if a.dir, err = openFolder(parent, a.name); err != nil {
			continue
		}
		var own unix.Stat_t
		if unix.Flock(a.dir, unix.LOCK_EX|unix.LOCK_NB) == nil && unix.Fstat(a.dir, &own) == nil && own.Nlink > 0 {
			return a, nil
		}
		a.close()
	}
	return nil, errors.New("cannot make a folder of its own in it")
}

// remove takes the file out of its folder and removes it if it is the one that was listed, a regular file; else puts it back.
func (a *aside) remove(c candidate) (size int64, err error) {
	if err := unix.Renameat(a.parent, c.name, a.dir, c.name); err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	err = unix.Fstatat(a.dir, c.name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && stat.Ino == c.inode && stat.Dev == a.device && stat.Mode&unix.S_IFMT == unix.S_IFREG {
		return stat.Size, unix.Unlinkat(a.dir, c.name, 0)
	}
	return 0, errors.Join(errOther, a.putBack(c.name))
}

func (a *aside) putBack(name string) error {
	return unix.Renameat2(a.dir, name, a.parent, name, unix.RENAME_NOREPLACE)
}

// close gives the folder up; it stays if something is in it, for the next pruning to put back.
func (a *aside) close() {
	if a.name != "" {
		_ = unix.Unlinkat(a.parent, a.name, unix.AT_REMOVEDIR)
	}
	_ = unix.Close(a.dir)
}

// entries lists a folder, after what a killed pruning had taken out of it has been put back.
func (w *walk) entries(dir int, name string) ([]entry, error) {
	entries, err := list(dir)
	if err != nil || w.DryRun {
		return entries, err
	}
	found := false
	for _, e := range entries {
		if !e.folder && w.scrap(dir, e.name) {
			_ = unix.Unlinkat(dir, e.name, 0)
		}
		if e.folder && strings.HasPrefix(e.name, asidePrefix) {
			found = w.rescue(dir, name, e.name) || found
		}
	}
	if !found {
		return entries, nil
	}
	return list(dir)
}

// scrap reports whether a name is that of a file which a killed run had not yet renamed into place: a minute is more than that takes.
func (w *walk) scrap(dir int, name string) bool {
	if !strings.HasPrefix(name, ".camwarden-") || !strings.HasSuffix(name, ".tmp") {
		return false
	}
	var stat unix.Stat_t
	err := unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && time.Since(time.Unix(stat.Mtim.Unix())) > time.Minute
}

// rescue puts back what stands in the folder of a killed pruning, and reports whether there was anything.
func (w *walk) rescue(parent int, parentName, name string) (found bool) {
	dir, err := openFolder(parent, name)
	if err != nil {
		return false
	}
	a := &aside{parent: parent, dir: dir, name: name}
	defer a.close()
	if unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB) != nil {
		a.name = "" // its pruning lives
		return false
	}
	entries, err := list(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if err := a.putBack(e.name); err != nil {
			w.fail(path.Join(parentName, name, e.name), err)
		}
		found = true
	}
	return found
}
