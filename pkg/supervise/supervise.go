// Package supervise runs a child process so that it cannot outlive its purpose.
//
// A child ends by itself, or because its time is up, its caller gave up or it wrote too much; and whichever it was,
// Run returns only after the child, its process group and whatever escaped from that group have been seen gone.
// Where that cannot be seen within a bound, the ending says so and the lease stays in the ledger for the next run.
// If we are killed ourselves the kernel kills the child (man 2 PR_SET_PDEATHSIG). Three kinds of program weaken that:
// a wrapper that forks, and a set-uid or capability-carrying program; Inspect recognises them.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
)

const (
	defaultGrace  = 500 * time.Millisecond
	defaultStdout = 16 << 20 // bytes; a 4K JPEG is about 4 MiB
	defaultStderr = 64 << 10 // bytes

	// bound is how long we wait for the kernel to end what got SIGKILL. Only a process in an uninterruptible wait takes longer.
	bound = 2 * time.Second
	// pipeDelay is how long a process we could not identify may hold the child's pipes open after the child is gone.
	pipeDelay = time.Second
)

// Supervisor starts children and sees to it that they end. It is safe for concurrent use.
type Supervisor struct {
	fs   proc.FS
	self proc.Identity

	spawn chan func() // to the one thread that starts children
	hurry chan struct{}
	once  sync.Once // guards the closing of hurry

	mu      sync.Mutex
	closed  bool
	leaders map[int]struct{} // children started, of which somebody waits for the end
	reaping map[int]int      // children whose end is being taken note of, how often
	running sync.WaitGroup   // calls of Run

	looking sync.Mutex // one look for stragglers at a time: a list of children is whole only while nobody reaps from it
	// buried are children found dead of whom nothing was known to who looked, with their groups. They stay until other code
	// reaps them, and must not make every later look longer.
	buried map[int]int
}

// New returns a Supervisor. A program has one: what a child left behind becomes our own child, and two who collect those
// would miss some. It changes two attributes of the whole calling process, for good: orphaned descendants are
// handed to it instead of to init (man 2 PR_SET_CHILD_SUBREAPER), and the files it was started with, beyond the first
// three, are closed in children. Errors are of class local.
func New(fs proc.FS) (*Supervisor, error) {
	self, err := fs.Self()
	if err != nil {
		return nil, fault.New(fault.Local, "", "supervise: cannot read our own process: %w", err).
			WithHint("is /proc mounted here?")
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fault.New(fault.Local, "", "supervise: cannot become the parent of orphans: %w", err)
	}
	if err := keepInherited(); err != nil {
		return nil, fault.New(fault.Local, "", "supervise: cannot keep inherited files from children: %w", err)
	}
	s := &Supervisor{
		fs: fs, self: self,
		spawn: make(chan func()), hurry: make(chan struct{}),
		leaders: map[int]struct{}{}, reaping: map[int]int{}, buried: map[int]int{},
	}
	go s.spawner()
	return s, nil
}

// spawner starts every child. The parent-death signal fires when the *thread* that forked ends, and Go ends threads
// (golang/go#27505): started from ordinary goroutines, 64 to 78 % of 200 children were killed while we lived.
// So the goroutine owns its thread, and both end only in Close, when no child is left.
func (s *Supervisor) spawner() {
	runtime.LockOSThread()
	for start := range s.spawn {
		start()
	}
}

// Hurry ends every running child with SIGKILL, without grace, and lets no further one start: their endings are
// Cancelled. It returns at once; a second SIGINT is its use. It cannot be undone.
func (s *Supervisor) Hurry() { s.once.Do(func() { close(s.hurry) }) }

// Close waits for the calls of Run under way, each of which is bounded by its own limit, and ends the spawning thread.
// Later calls of Run are Refused. Close may be called more than once.
func (s *Supervisor) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	if first {
		close(s.spawn)
	}
}

// Spec is one child: what to run, with what, and how long.
type Spec struct {
	Path  string   // of the program, as Find returned it
	Args  []string // without the program's name; readable by every local user, so never a secret
	Env   []string // "NAME=value", beside the few of our own variables that a child gets: PATH, HOME, LANG and their like, never a secret
	Stdin []byte   // what the child may read; nothing: end of file at once
	Dir   string   // "" for ours

	// Later takes the place of Stdin for a child that is started before it is known what it shall read: the first value is
	// that, and a closed channel is the end of file. The caller sends or closes, whatever becomes of the child.
	Later <-chan []byte
	// Files are open in the child too, from number 3 on. Whoever opened them closes them.
	Files []*os.File

	// Lease was written before; it is required, and its deadline must not have passed. It learns the child's identity as
	// soon as there is one; if somebody has struck it by then, the child is ended at once.
	Lease *ledger.Held
	// Settle is called once the child, its group and its escapees have been seen gone, also when the child never started;
	// nil strikes the lease. Its error becomes part of Ending.Err. It is not called when the ending is Stuck.
	Settle func(*ledger.Held, Ending) error

	Limit time.Duration // from the call of Run to the end of the child's patience; required
	Grace time.Duration // between SIGTERM and SIGKILL; 0 is 500 ms

	MaxStdout int64 // bytes; 0 is 16 MiB; one more ends the child
	MaxStderr int64 // bytes; 0 is 64 KiB; what is beyond is read and dropped

	Redact *redact.Redactor // takes secrets out of Ending.Stderr
	Spoke  func()           // called once, by another goroutine, when the first byte of stderr has come; must not block
}

// complete fills in the defaults and refuses what could not be supervised.
func (spec *Spec) complete() error {
	switch {
	case spec.Lease == nil:
		return errors.New("no lease was written for it")
	case spec.Limit <= 0:
		return errors.New("it has no time limit")
	}
	if spec.Grace <= 0 {
		spec.Grace = defaultGrace
	}
	if spec.MaxStdout <= 0 {
		spec.MaxStdout = defaultStdout
	}
	if spec.MaxStderr <= 0 {
		spec.MaxStderr = defaultStderr
	}
	return nil
}

// Run starts the child, waits for its end or brings it about, and returns after it has been seen gone, or as Stuck.
// It takes at most Limit, plus Grace, plus 3 s when the kernel is slow to end what was killed (11 s when a whole family is). It does not panic,
// whatever ctx, Settle and Redact do.
func (s *Supervisor) Run(ctx context.Context, spec Spec) Ending {
	began := time.Now()
	var ending Ending
	if err := s.enter(); err != nil {
		ending = refused(spec.Path, err)
	} else {
		defer s.running.Done()
		ending = s.supervise(ctx, &spec)
	}
	ending.Duration = time.Since(began)
	if ending.Kind != Stuck && spec.Lease != nil {
		ending.Err = join(ending.Err, settle(spec, ending))
	}
	return ending
}

func (s *Supervisor) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the supervisor is closed")
	}
	s.running.Add(1)
	return nil
}

func (s *Supervisor) supervise(ctx context.Context, spec *Spec) Ending {
	if err := spec.complete(); err != nil {
		return refused(spec.Path, err)
	}
	// The caller's code runs either here, before there is a child, or after the child is gone.
	var done <-chan struct{}
	if err := safely(func() error { done = ctx.Done(); return nil }); err != nil {
		return refused(spec.Path, err)
	}
	limit := time.NewTimer(spec.Limit)
	defer limit.Stop()

	c := newChild(spec)
	ending := s.start(c, done, limit)
	if ending.Kind == "" {
		ending = s.follow(c, done, limit.C)
	}
	if ending.Kind == Cancelled {
		ending.Err = join(ending.Err, safely(func() error {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				ending.Kind = Expired
			}
			return nil
		}))
	}
	ending.Err = join(ending.Err, safely(func() error {
		ending.Stderr = spec.Redact.Bytes(ending.Stderr)
		return nil
	}))
	return ending
}

// settle hands the lease to its owner's last word. A panic there must not leave a lease behind whose child is gone,
// unless the panic came after the lease had become a cooling one.
func settle(spec Spec, ending Ending) error {
	if spec.Settle == nil {
		return spec.Lease.Strike()
	}
	panicked := true
	err := safely(func() error {
		err := spec.Settle(spec.Lease, ending)
		panicked = false
		return err
	})
	if panicked && spec.Lease.Lease().Kind != ledger.Cooling {
		err = join(err, spec.Lease.Strike())
	}
	return err
}

// safely turns a panic of code that is not ours into an error.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// join is errors.Join that leaves a lone error as it is.
func join(a, b error) error {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return errors.Join(a, b)
}
