package round

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/archive"
	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
)

// Keeper stores stills. Every file appears whole, by rename, or not at all.
type Keeper interface {
	// Prepare makes sure that stills can be written, before any camera is dialled.
	Prepare() error
	// Keep stores one still and returns its path, which is empty when it is not a file.
	Keep(cam camera.Camera, still capture.Still) (string, error)
}

// Archive keeps every still of every round below Dir, under the name that the template gives (DIR/<id>/<UTC time with
// milliseconds>.jpg, say), and a symlink to each camera's newest that moves only on success. It never overwrites another
// round's picture.
type Archive struct {
	Dir  string
	Name archive.Template // the zero Template is archive.DefaultTemplate
}

func (a Archive) name() archive.Template {
	if a.Name.String() != "" {
		return a.Name
	}
	name, err := archive.NewTemplate(archive.DefaultTemplate)
	if err != nil {
		panic(err) // a constant, and tested
	}
	return name
}

// Prepare creates the folder and tries to write into it.
func (a Archive) Prepare() error { return writable(a.Dir) }

// Keep stores one still under its name.
func (a Archive) Keep(cam camera.Camera, still capture.Still) (string, error) {
	var path string
	name := a.name()
	// Two stills of one camera in the same millisecond are possible (two rounds): the later one moves on, never over.
	for at, tries := still.CapturedAt.UTC(), 0; ; at = at.Add(time.Millisecond) {
		path = filepath.Join(a.Dir, name.Path(cam.ID, at))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", unwritable(filepath.Dir(path), err)
		}
		err := place(path, still.JPEG, unix.RENAME_NOREPLACE)
		if err == nil {
			break
		}
		// A pruning may remove an empty folder in the moment after it was made.
		if tries++; !errors.Is(err, fs.ErrExist) && (tries > 3 || !errors.Is(err, fs.ErrNotExist)) {
			return "", unwritable(path, err)
		}
	}
	link := filepath.Join(a.Dir, name.LatestPath(cam.ID))
	target, err := filepath.Rel(filepath.Dir(link), path)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(link), 0o755)
	}
	if err != nil {
		return "", unwritable(link, err)
	}
	return path, point(link, target)
}

// point moves the symlink at link to target, in one step, and leaves anything that is not a symlink alone.
func point(link, target string) error {
	if info, err := os.Lstat(link); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fault.New(fault.Local, "", "%s is in the way: it is not a symlink, so it was not replaced", link).
			WithHint("move it away: mv %s %s.old", link, link)
	}
	// One name for all: what a killed run leaves is replaced by the next, and of two at once the later one wins.
	next := filepath.Join(filepath.Dir(link), ".camwarden-"+filepath.Base(link)+".tmp")
	var err error
	for range 10 {
		if err = os.Symlink(target, next); errors.Is(err, fs.ErrExist) {
			_ = os.Remove(next)
			continue
		}
		if err != nil {
			break
		}
		if err = os.Rename(next, link); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		_ = os.Remove(next)
		return unwritable(link, err)
	}
	return nil
}

// Folder keeps one picture a camera, <id>.jpg, and replaces the one before: what a snapshot does by default.
type Folder struct{ Dir string }

// Prepare creates the folder and tries to write into it.
func (f Folder) Prepare() error { return writable(f.Dir) }

// Keep stores one still as <id>.jpg.
func (f Folder) Keep(cam camera.Camera, still capture.Still) (string, error) {
	path := filepath.Join(f.Dir, cam.ID+".jpg")
	if err := place(path, still.JPEG, 0); err != nil {
		return "", unwritable(path, err)
	}
	return path, nil
}

// File keeps one still under the very name the user gave.
type File struct{ Path string }

// Prepare refuses a path that cannot become a file.
func (f File) Prepare() error {
	if info, err := os.Stat(f.Path); err == nil && !info.Mode().IsRegular() {
		return fault.New(fault.Local, "", "%s is in the way: it is not a regular file", f.Path).
			WithHint("give the name of a file, or a folder with -d")
	}
	dir := filepath.Dir(f.Path)
	if _, err := os.Stat(dir); err != nil {
		return unwritable(f.Path, err)
	}
	return writable(dir)
}

// Keep stores the still, replacing an older file of that name.
func (f File) Keep(_ camera.Camera, still capture.Still) (string, error) {
	if err := place(f.Path, still.JPEG, 0); err != nil {
		return "", unwritable(f.Path, err)
	}
	return f.Path, nil
}

// Memory hands the still to its holder, who writes it where no file is wanted.
type Memory struct{ JPEG []byte }

// Prepare has nothing to prepare.
func (m *Memory) Prepare() error { return nil }

// Keep holds on to the still.
func (m *Memory) Keep(_ camera.Camera, still capture.Still) (string, error) {
	m.JPEG = still.JPEG
	return "", nil
}

// place makes data appear under path in one step, so that a reader never sees half a picture and a full disk leaves
// nothing behind. Flags are those of renameat2(2).
func place(path string, data []byte, flags uint) error {
	err := placeNameless(path, data, flags)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return placeNamed(path, data, flags) // its error is the one to tell: not every file system knows nameless files (NFS)
}

// placeNameless gives the file a name only when it is whole. Should we be killed before, the kernel takes it away with
// us (open(2), O_TMPFILE); a temporary name would stay in the folder for good.
func placeNameless(path string, data []byte, flags uint) error {
	file, err := os.OpenFile(filepath.Dir(path), os.O_WRONLY|unix.O_TMPFILE, 0o666)
	if err != nil {
		return err
	}
	defer file.Close() // what can go wrong has shown itself in fill
	if err := fill(file, data); err != nil {
		return err
	}
	whole := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	if flags == unix.RENAME_NOREPLACE {
		return unix.Linkat(unix.AT_FDCWD, whole, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	}
	tmp := temporary(filepath.Dir(path)) // link(2) does not replace
	if err := unix.Linkat(unix.AT_FDCWD, whole, unix.AT_FDCWD, tmp, unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	err = rename(tmp, path, flags)
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// placeNamed writes data under a name of its own beside path and renames it into place.
func placeNamed(path string, data []byte, flags uint) error {
	// Not os.CreateTemp: its mode is 0600 whatever the umask, and pictures are for others to read where the umask lets them.
	tmp, err := os.OpenFile(temporary(filepath.Dir(path)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = errors.Join(fill(tmp, data), tmp.Close())
	if err == nil {
		err = rename(tmp.Name(), path, flags)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// fill writes the whole file to the disk: without that a power cut after the rename could leave an empty picture
// under its final name.
func fill(file *os.File, data []byte) error {
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

// temporary is a name in dir that no other run, and no other visit of this one, uses.
func temporary(dir string) string {
	return filepath.Join(dir, ".camwarden-"+rand.Text()+".tmp")
}

func rename(from, to string, flags uint) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	if flags != unix.RENAME_NOREPLACE || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A file system without RENAME_NOREPLACE (NFS, say): link(2) does not replace either.
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// writable creates dir and tries to make a file in it: permission bits do not tell root, and say nothing of a read-only mount.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f := unwritable(dir, err)
		if errors.Is(err, fs.ErrNotExist) && !homeless(dir) { // /proc and its like: nobody can make it there
			f.WithHint("no folder can be made there: choose another folder with -d")
		}
		return f
	}
	// A file without a name, where the file system has such: a round killed in this moment leaves no scrap.
	if probe, err := os.OpenFile(dir, os.O_WRONLY|unix.O_TMPFILE, 0o600); err == nil {
		return probe.Close()
	}
	probe, err := os.OpenFile(temporary(dir), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unwritable(dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// unwritable names the path once: the os package puts it, or that of a temporary file, into its own text.
func unwritable(path string, err error) *fault.Error {
	cause := err
	var inPath *fs.PathError
	var inLink *os.LinkError
	switch {
	case errors.As(err, &inPath):
		cause = inPath.Err
	case errors.As(err, &inLink):
		cause = inLink.Err
	}
	f := fault.New(fault.Local, "", "cannot write %s: %w", path, cause)
	switch {
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return f.WithHint("free some room: df -h %s", filepath.Dir(path))
	case errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR):
		return f.WithHint("something else has that name: ls -ld %s", path)
	case errors.Is(err, fs.ErrPermission):
		return f.WithHint("choose a folder this user may write to, with -d, or change its owner: ls -ld %s", filepath.Dir(path))
	case errors.Is(err, unix.EFBIG):
		return f.WithHint("allow larger files: ulimit -f")
	case fault.OutOfFiles(err):
		return f.WithHint("%s", fault.HintMoreFiles)
	case errors.Is(err, fs.ErrNotExist) && homeless(path):
		return f.WithHint("the current folder was removed: go to one that is there, or give an absolute path")
	case errors.Is(err, fs.ErrNotExist):
		return f.WithHint("create the folder first: mkdir -p %s", filepath.Dir(path))
	default:
		return f
	}
}

// homeless reports whether a path begins at a current folder that is no more.
func homeless(path string) bool {
	_, err := os.Getwd()
	return err != nil && !filepath.IsAbs(path)
}
