package streams

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Wish is a stream to be had: a camera, and its password.
type Wish struct {
	Camera   camera.Camera
	Password string
}

// Registered is what became of a wish.
type Registered struct {
	Name    string
	Created bool // by this call
	Err     error
}

// Register makes the streams that are missing, one call at a time. The lease of each is on the disk before the server
// hears of it. One that is there already with the right camera is taken over as it is, whoever of this ledger left it.
func (k *Keeper) Register(ctx context.Context, wishes ...Wish) []Registered {
	results := make([]Registered, len(wishes))
	sources := make([]go2rtc.Source, len(wishes))
	unlock, err := k.alone(ctx)
	if err != nil {
		for i, w := range wishes {
			results[i] = Registered{Name: k.Name(w.Camera.ID), Err: err}
		}
		return results
	}
	defer unlock()
	leases, _, err := k.book.Read()
	held := k.Leased(leases)
	made := map[string]bool{}
	for i, w := range wishes {
		name := k.Name(w.Camera.ID)
		results[i].Name, results[i].Err = name, err
		sources[i] = k.source(w)
		sources[i].Making = func() error {
			made[name] = true
			return k.claim(w.Camera, held)
		}
	}
	if err != nil {
		return results
	}
	answers, err := k.Client.Register(ctx, sources...)
	for i := range results {
		r := &results[i]
		if err != nil {
			r.Err = err
			continue
		}
		r.Created, r.Err = answers[i].Created, answers[i].Err
		if !made[r.Name] {
			k.takeOver(ctx, r, wishes[i], held)
		}
	}
	return results
}

// alone keeps runs from registering a stream while another one decides that it is needed no more, and runs of different
// users from registering the same one.
func (k *Keeper) alone(ctx context.Context) (unlock func(), err error) {
	lock, holder, err := k.book.LockHost(ctx, k.lockName()+"-streams", aloneFor)
	switch {
	case err != nil:
		return nil, err
	case lock == nil && errors.Is(ctx.Err(), context.Canceled):
		return nil, fault.New(fault.Cancelled, "", "cancelled while %s registers or removes streams", holder)
	case lock == nil:
		return nil, fault.New(fault.Go2rtc, "", "go2rtc at %s: %s has been registering or removing streams for too long", k.Server(), holder).
			WithHint("is that run stopped, or go2rtc slow? ps -fp %d", holder.Identity.PID)
	}
	return func() { _ = lock.Unlock() }, nil // closing the file lets go, whatever else may fail
}

// aloneFor is how long registering or removing may take: each is bounded by less.
const aloneFor = 30 * time.Second

// Renew gives a stream its source again, for a log-in that has changed since it was made.
func (k *Keeper) Renew(ctx context.Context, w Wish) error {
	return k.Client.Renew(ctx, k.source(w))
}

func (k *Keeper) source(w Wish) go2rtc.Source {
	return go2rtc.Source{Name: k.Name(w.Camera.ID), URL: w.Camera.DialURL(w.Password)}
}

// claim writes the lease of a stream, and strikes those that earlier runs left of it.
func (k *Keeper) claim(cam camera.Camera, held []ledger.Lease) error {
	lease := ledger.Lease{
		Kind: ledger.Stream, Camera: cam.ID, Address: cam.Address, Deadline: proc.BootTime() + leaseFor,
		SessionTimeout: cam.SessionTimeout, Name: k.Name(cam.ID), Server: k.Server(),
	}
	if k.standing {
		lease.Note = Standing
	}
	if _, err := k.book.Write(lease); err != nil {
		return err
	}
	for _, l := range of(held, lease.Name) {
		if l.Run == k.run || !k.book.Live(l) {
			if err := k.book.Adopt(l).Strike(); err != nil {
				return err
			}
		}
	}
	return nil
}

// of returns the leases that hold a stream of that name.
func of(leases []ledger.Lease, name string) []ledger.Lease {
	var found []ledger.Lease
	for _, l := range leases {
		if l.Name == name && l.Note != Borrowed {
			found = append(found, l)
		}
	}
	return found
}

// takeOver settles whose a stream is that was there already.
func (k *Keeper) takeOver(ctx context.Context, r *Registered, w Wish, held []ledger.Lease) {
	leases := of(held, r.Name)
	switch {
	case len(leases) == 0 && r.Err == nil:
		// Not used: to ask for a picture of a name that its owner removes in that moment can end go2rtc, which takes an
		// unknown name for a new stream while it deletes from the same map.
		r.Err = fault.New(fault.Go2rtc, "", "go2rtc at %s: the stream %s is there, and not in this ledger: another user or host may remove it at any moment", k.Server(), r.Name).
			WithHint("if nobody needs it: camwarden streams purge %s --force; else give this camwarden a stream_prefix of its own", r.Name)
	case len(leases) == 0:
	case r.Err == nil && slices.ContainsFunc(leases, k.Stays), r.Err == nil && slices.ContainsFunc(leases, k.mine):
	case r.Err == nil:
		r.Err = k.claim(w.Camera, held)
	case !slices.ContainsFunc(leases, k.book.Live) && fault.ClassOf(r.Err) == fault.Go2rtc:
		// Ours, and of another address than the camera has now: it was moved, or the configuration changed.
		k.replace(ctx, r, w, leases)
	}
}

func (k *Keeper) mine(l ledger.Lease) bool { return l.Run == k.run }

// replace removes a stream of ours that leads elsewhere, and makes it anew.
func (k *Keeper) replace(ctx context.Context, r *Registered, w Wish, leases []ledger.Lease) {
	for _, e := range k.end(ctx, nil, leases...) {
		if !e.Gone {
			return // the first error says what is in the way
		}
	}
	source := k.source(w)
	source.Making = func() error { return k.claim(w.Camera, nil) }
	answers, err := k.Client.Register(ctx, source)
	if err != nil {
		r.Err = err
		return
	}
	r.Created, r.Err = answers[0].Created, answers[0].Err
}

// Loan notes that a picture of ours may hang on a stream that is not ours. Return it when the picture has come.
type Loan struct {
	once sync.Once
	held *ledger.Held
}

// Borrow writes the note before the picture is asked for: should this run die, the next knows whose picture hangs there.
func (k *Keeper) Borrow(cam camera.Camera, name string) (*Loan, error) {
	held, err := k.book.Write(ledger.Lease{
		Kind: ledger.Stream, Camera: cam.ID, Address: cam.Address, Deadline: proc.BootTime() + leaseFor,
		Name: name, Server: k.Server(), Note: Borrowed,
	})
	if err != nil {
		return nil, err
	}
	return &Loan{held: held}, nil
}

// Lease is the note.
func (l *Loan) Lease() ledger.Lease { return l.held.Lease() }

// Return strikes the note.
func (l *Loan) Return() error {
	var err error
	l.once.Do(func() { err = l.held.Strike() })
	return err
}
