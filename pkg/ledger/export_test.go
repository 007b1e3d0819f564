package ledger

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// SetHostDir lets the locks of all users of this host stand elsewhere.
func (l *Ledger) SetHostDir(dir string) { l.host = dir }

// TryTold is TryLock that tells, before it opens the lock for another time, how often it has done so.
func (l *Ledger) TryTold(name string, limit time.Duration, told func(times int)) (*Lock, *Holder, error) {
	times := 0
	return l.tryAt(context.Background(), filepath.Join(l.locks, fileName(name)+".lock"), limit, func(path string) (*os.File, error) {
		told(times)
		times++
		return l.openLock(path)
	})
}
