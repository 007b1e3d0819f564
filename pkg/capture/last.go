package capture

import (
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
)

const (
	lastRecord  = "last-stills"
	lastLockFor = 10 * time.Second
)

// lastStills knows the last still of each camera by a hash of its bytes. It is read when a round begins and written when it ends.
type lastStills struct {
	ledger *ledger.Ledger

	mu    sync.Mutex
	known map[string]string // by camera, of earlier runs
	fresh map[string]string // of this one
}

func (l *lastStills) load() error {
	known := map[string]string{}
	_, err := l.ledger.Load(lastRecord, &known)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = known
	return err
}

// repeats reports whether the bytes are those of the camera's last still, and remembers them.
func (l *lastStills) repeats(camera string, picture []byte) bool {
	now := fingerprint(picture)
	l.mu.Lock()
	defer l.mu.Unlock()
	before, again := l.fresh[camera]
	if !again {
		before = l.known[camera]
	}
	if l.fresh == nil {
		l.fresh = map[string]string{}
	}
	l.fresh[camera] = now
	return before == now
}

// fingerprint tells two pictures apart. Nobody forges his own camera's frozen picture, so it need only be quick: processors have
// instructions for both sums.
func fingerprint(picture []byte) string {
	return fmt.Sprintf("%x-%08x-%08x", len(picture), crc32.ChecksumIEEE(picture), crc32.Checksum(picture, crc32.MakeTable(crc32.Castagnoli)))
}

// save adds what this run saw to what others have written meanwhile.
func (l *lastStills) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fresh) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastLockFor)
	defer cancel()
	lock, holder, err := l.ledger.Lock(ctx, lastRecord, lastLockFor)
	switch {
	case err != nil:
		return err
	case lock == nil:
		return fault.New(fault.Local, "", "the note of the last stills could not be written: %s keeps it locked", holder)
	}
	defer func() { _ = lock.Unlock() }() // closing the file lets go
	all := map[string]string{}
	if _, err := l.ledger.Load(lastRecord, &all); err != nil {
		return err
	}
	maps.Copy(all, l.fresh)
	return l.ledger.Save(lastRecord, all)
}
