package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sort"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Pruning is what is to be pruned, and how.
type Pruning struct {
	Dir      string // the folder below which the stills are
	Template Template
	Policy   Policy
	Now      time.Time
	DryRun   bool
}

// Result is what a pruning did: camwarden.prune/1 without its schema. Foreign counts regular files below the folder whose
// names the template does not give; they are never touched.
type Result struct {
	Dir        string   `json:"dir"`
	DryRun     bool     `json:"dry_run"`
	Removed    int      `json:"removed"` // with a dry run: would be
	FreedBytes int64    `json:"freed_bytes"`
	Kept       int      `json:"kept"`
	Foreign    int      `json:"foreign"`
	Finished   bool     `json:"finished"` // false: time ran out, or something could not be removed; the next pruning goes on
	Errors     []string `json:"errors"`   // of the first maxErrors that could not be removed or read
}

// maxErrors is how many errors are told. One that concerns a folder comes once for each file in it.
const maxErrors = 20

// ErrNoFolder is returned for a folder that does not exist.
var ErrNoFolder = errors.New("there is no such folder")

// Prune removes the stills that the policy does not keep, of each camera the oldest first. It removes only regular files
// whose names the template gives, follows no symlink below the folder, and leaves each camera its newest still and the one
// that latest.jpg points at. Each removal is of the very file that was looked at: it is first taken out of its folder by a
// rename, looked at again, and put back if it is another (see aside).
//
// It may be killed at any moment, run twice at a time and beside a round. When ctx ends it stops between two files.
// The error is of class local, and only for a folder that cannot be read at all.
func Prune(ctx context.Context, p Pruning) (Result, error) {
	result := Result{Dir: p.Dir, DryRun: p.DryRun, Errors: []string{}, Finished: true}
	root, err := unix.Open(p.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return result, fault.New(fault.Local, "", "%s: %w", p.Dir, ErrNoFolder).WithHint("name the folder with -d, or with output_dir in the configuration")
	}
	if err != nil {
		return result, fault.New(fault.Local, "", "cannot read the folder %s: %w", p.Dir, err)
	}
	defer unix.Close(root)
	w := &walk{Pruning: p, ctx: ctx, root: root, result: &result}
	accounts, err := w.count()
	if err != nil {
		return result, err
	}
	w.cut, w.accounts = p.Policy.cutoffs(accounts, p.Now), accounts
	for _, a := range accounts {
		a.stills = nil
	}
	w.prune()
	return result, nil
}

// walk is one pruning on its way.
type walk struct {
	Pruning

	ctx      context.Context
	root     int
	accounts map[string]*account
	cut      map[string]int64

	mu     sync.Mutex // over result
	result *Result
}

func (w *walk) fail(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Finished = false
	if len(w.result.Errors) < maxErrors {
		w.result.Errors = append(w.result.Errors, fmt.Sprintf("%s: %v", path.Join(w.Dir, name), err))
	}
}

// count reads all names once, so that the newest of each camera is known before anything is removed.
func (w *walk) count() (map[string]*account, error) {
	accounts := map[string]*account{}
	needed := w.Policy.Most > 0 || w.Policy.Bytes > 0
	err := w.each(w.root, "", func(dir int, inDir, name string) {
		camera, at, ok := w.Template.Parse(name)
		if !ok {
			w.result.Foreign++
			return
		}
		a := accounts[camera]
		if a == nil {
			a = &account{newest: at.UnixMilli(), linked: w.linked(camera)}
			accounts[camera] = a
		}
		a.newest = max(a.newest, at.UnixMilli())
		if !needed {
			return
		}
		s := still{at: at.UnixMilli()}
		if w.Policy.Bytes > 0 {
			var stat unix.Stat_t
			if unix.Fstatat(dir, inDir, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil {
				s.size = stat.Size
			}
		}
		a.stills = append(a.stills, s)
	})
	return accounts, err
}

// linked is the time of the still that the camera's latest.jpg points at, or 0.
func (w *walk) linked(camera string) int64 {
	link := w.Template.LatestPath(camera)
	target, err := os.Readlink(path.Join(w.Dir, link))
	if err != nil {
		return 0
	}
	of, at, ok := w.Template.Parse(path.Join(path.Dir(link), target))
	if !ok || of != camera {
		return 0
	}
	return at.UnixMilli()
}

// each calls visit for every regular file below dir. What cannot be read is told, and is no reason to stop.
func (w *walk) each(dir int, name string, visit func(dir int, inDir, name string)) error {
	entries, err := w.entries(dir, name)
	if err != nil {
		if name == "" {
			return fault.New(fault.Local, "", "cannot read the folder %s: %w", w.Dir, err)
		}
		w.fail(name, err)
		return nil
	}
	for _, e := range entries {
		switch {
		case e.regular:
			visit(dir, e.name, path.Join(name, e.name))
		case e.folder && e.name[0] != '.':
			sub, err := openFolder(dir, e.name)
			if err != nil {
				w.fail(path.Join(name, e.name), err)
				continue
			}
			_ = w.each(sub, path.Join(name, e.name), visit) // only the uppermost folder has an error
			_ = unix.Close(sub)
		}
	}
	return nil
}

// prune goes through the folders again, as many at a time as there are processors: removing waits for the disk.
func (w *walk) prune() {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	entries, err := w.entries(w.root, "")
	if err != nil {
		w.fail("", err)
		return
	}
	w.pruneFiles(w.root, "", entries)
	for _, e := range entries {
		if !e.folder || e.name[0] == '.' {
			continue
		}
		group.Go(func() error {
			w.pruneFolder(w.root, e.name, e.name)
			return nil
		})
	}
	_ = group.Wait() // what failed has been told
}

// pruneFolder prunes a folder with all below it. It reports whether it removed the folder itself: that of a day whose stills
// are gone, say. Only one that this pruning emptied is removed, and never the uppermost, which is a camera's own.
func (w *walk) pruneFolder(parent int, inParent, name string) (gone bool) {
	if w.ctx.Err() != nil {
		w.unfinished()
		return false
	}
	dir, err := openFolder(parent, inParent)
	if err != nil {
		w.fail(name, err)
		return false
	}
	defer unix.Close(dir)
	entries, err := w.entries(dir, name)
	if err != nil {
		w.fail(name, err)
		return false
	}
	emptied := false
	for _, e := range entries {
		if e.folder && e.name[0] != '.' {
			emptied = w.pruneFolder(dir, e.name, path.Join(name, e.name)) || emptied
		}
	}
	emptied = w.pruneFiles(dir, name, entries) || emptied
	if !emptied || w.DryRun || path.Dir(name) == "." {
		return false
	}
	return unix.Unlinkat(parent, inParent, unix.AT_REMOVEDIR) == nil
}

func (w *walk) unfinished() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Finished = false
}

// pruneFiles removes what may go of the files of one folder, the oldest first, and reports whether there was any.
func (w *walk) pruneFiles(dir int, name string, entries []entry) bool {
	var kept int
	var old []candidate
	for _, e := range entries {
		if !e.regular {
			continue
		}
		camera, at, ok := w.Template.Parse(path.Join(name, e.name))
		if !ok {
			continue
		}
		a, ms := w.accounts[camera], at.UnixMilli()
		if a == nil || ms >= w.cut[camera] || ms == a.newest || ms == a.linked {
			kept++
			continue
		}
		old = append(old, candidate{entry: e, at: ms})
	}
	sort.Slice(old, func(i, j int) bool { return old[i].at < old[j].at })
	removed, freed := w.remove(dir, name, old)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Kept += kept + len(old) - removed
	w.result.Removed += removed
	w.result.FreedBytes += freed
	return removed > 0
}
