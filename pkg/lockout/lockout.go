// Package lockout remembers which log-ins cameras have refused, so that what runs by itself does not repeat one until the camera
// locks the account.
package lockout

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

const (
	// For is how long a refusal counts. Cameras that lock do so after four to seven wrong log-ins within half an hour.
	For = 30 * time.Minute
	// believed is how long after a log-in was accepted its refusal is news about the camera, and not about the password.
	believed = 24 * time.Hour
	// freshly is how old the note of an accepted log-in may grow before it is written anew.
	freshly = 10 * time.Minute

	record  = "log-ins"
	lockFor = 10 * time.Second
)

// LogIn is what a camera is asked to accept.
type LogIn struct {
	Address            netip.AddrPort
	Username, Password string
}

// Memory is what is known of log-ins. It may be used by several goroutines; a nil Memory knows nothing and learns nothing.
type Memory struct {
	ledger *ledger.Ledger
	byHand bool

	mu     sync.Mutex
	loaded bool
	notes  notes
	fresh  map[string]bool // refused in this run
	err    error           // why the record could not be read
}

// notes is the record. The keyed hashes tell nobody who reads the file what the passwords are, and whoever takes it along to
// another host not even whether they are the same.
type notes struct {
	Key      string               `json:"key"`
	Refused  map[string]time.Time `json:"refused"`
	Accepted map[string]time.Time `json:"accepted,omitempty"`
}

// Open returns the memory of a ledger. By hand, what earlier runs were refused is tried all the same; what this run was refused is
// not tried twice.
func Open(book *ledger.Ledger, byHand bool) *Memory {
	return &Memory{ledger: book, byHand: byHand, fresh: map[string]bool{}}
}

// Check is an error of class auth when the log-in was refused not long ago, and must not be tried.
func (m *Memory) Check(l LogIn) *fault.Error {
	if m == nil || l.Username == "" && l.Password == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	key := m.notes.of(l)
	at, known := m.notes.Refused[key]
	if m.err != nil || !known || stale(at, For) || m.byHand && !m.fresh[key] {
		return nil
	}
	when := at.Format("15:04:05 MST")
	return fault.New(fault.Auth, "", "not tried: %s refused this user name and password at %s, and cameras lock an account after a few wrong log-ins", l.Address, when).
		WithHint("correct it; to try again before %s: camwarden snapshot CAMERA", at.Add(For).Format("15:04 MST"))
}

// Refused notes that a camera has refused a log-in. The error is of class local: it could not be written down, and holds for this
// run alone.
func (m *Memory) Refused(l LogIn) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	err := m.change(func(n *notes) {
		n.Refused[n.of(l)] = time.Now().UTC()
		delete(n.Accepted, n.of(l))
	})
	m.notes.Refused[m.notes.of(l)] = time.Now().UTC() // also if it could not be written
	m.fresh[m.notes.of(l)] = true
	return err
}

// Accepted notes that a log-in was right: an earlier refusal is forgotten. With remember it is kept for Once; that is for cameras
// which answer like a wrong password when they are full.
func (m *Memory) Accepted(l LogIn, remember bool) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	key := m.notes.of(l)
	_, refused := m.notes.Refused[key]
	if !refused && (!remember || !stale(m.notes.Accepted[key], freshly)) {
		return nil
	}
	return m.change(func(n *notes) {
		delete(n.Refused, key)
		if remember {
			n.Accepted[key] = time.Now().UTC()
		}
	})
}

// Once reports when a log-in that was remembered was accepted, if that was within a day.
func (m *Memory) Once(l LogIn) (at time.Time, ok bool) {
	if m == nil {
		return time.Time{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	at, ok = m.notes.Accepted[m.notes.of(l)]
	return at, ok && !stale(at, believed)
}

// stale reports whether a note is too old to count. One from the future is: the clock was set.
func stale(at time.Time, after time.Duration) bool {
	age := time.Since(at)
	return age > after || age < -time.Minute
}

func (m *Memory) load() {
	if m.loaded {
		return
	}
	m.loaded = true
	_, m.err = m.ledger.Load(record, &m.notes)
	m.notes.complete()
}

func (n *notes) complete() {
	if n.Key == "" {
		n.Key = rand.Text()
	}
	if n.Refused == nil {
		n.Refused = map[string]time.Time{}
	}
	if n.Accepted == nil {
		n.Accepted = map[string]time.Time{}
	}
}

// change changes the record under its lock, and what this run knows of it. Other runs may have written meanwhile.
func (m *Memory) change(edit func(*notes)) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockFor)
	defer cancel()
	lock, holder, err := m.ledger.Lock(ctx, record, lockFor)
	switch {
	case err != nil:
		return err
	case lock == nil:
		return fault.New(fault.Local, "", "the note of a log-in could not be written: %s keeps it locked", holder)
	}
	defer func() { _ = lock.Unlock() }() // closing the file lets go
	var now notes
	if _, err := m.ledger.Load(record, &now); err != nil {
		return err
	}
	if now.Key == "" {
		now.Key = m.notes.Key
	}
	now.complete()
	edit(&now)
	for key, at := range now.Refused {
		if stale(at, For) {
			delete(now.Refused, key)
		}
	}
	for key, at := range now.Accepted {
		if stale(at, believed) {
			delete(now.Accepted, key)
		}
	}
	m.notes = now
	return m.ledger.Save(record, now)
}

// of is what a log-in is called in the record.
func (n *notes) of(l LogIn) string {
	mac := hmac.New(sha256.New, []byte(n.Key))
	for _, part := range []string{proc.Plain(l.Address).String(), l.Username, l.Password} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
