package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// An escapee that forks a successor and ends, over and over, is a zombie at one look and has another number at the next.
// Not beside other tests, which have supervisors of their own in this process: a list of children is whole only while
// nobody reaps from it, and a program has one supervisor, which sees to that.
func TestClear_keepsMovingIsCaught(t *testing.T) {
	s := newStage(t)
	trail := filepath.Join(s.dir, "moves")
	length := func() int64 {
		info, err := os.Stat(trail)
		if err != nil {
			return 0 // caught before its first move
		}
		return info.Size()
	}
	// It gives up after some moves: a test that fails must not leave it running.
	const hop = `sleep 0.005; n=$((n+1)); echo >>$DIR/moves; [ $n -lt 150 ] && exec setsid -f sh -c "$hop"`
	for range 30 {
		e := s.Run(t.Context(), s.shell(`export n=0 hop='`+hop+`'; setsid -f sh -c "$hop"; sleep 0.01`))
		if e.Kind != Exited || e.Err != nil || e.Duration > 20*time.Second {
			t.Fatalf("%+v", e)
		}
		atTheEnd := length()
		time.Sleep(30 * time.Millisecond)
		if later := length(); later != atTheEnd {
			t.Fatalf("it moved %d times after its end had been seen", later-atTheEnd)
		}
	}
	s.wantClean()
}

// At full speed it has forked its successor before it was killed, most of the time. It is caught in the end, or the ending
// says that it was not: never that all is well while it lives.
func TestClear_fullSpeedIsNeverCalledGone(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed; make test installs it")
	}
	s := newStage(t)
	// What it leaves are thousands of zombies of ours that nobody waits for, and no other test runs beside this one.
	t.Cleanup(func() {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
				return
			}
		}
	})
	for i := range 6 {
		trail := filepath.Join(s.dir, fmt.Sprint("moves", i))
		// Without exec: it keeps the environment that it was born with. It gives up after 0.5 s: on a quiet host it is caught late.
		hopper := fmt.Sprintf(`
import os, time
end, trail = time.monotonic() + 0.5, os.open(%q, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while time.monotonic() < end:
    if os.fork(): os._exit(0)
    os.setsid()
    os.write(trail, b".")
`, trail)
		spec := s.shell(`"` + python + `" -c "$HOPPER"; until [ -s ` + trail + ` ]; do sleep 0.01; done`)
		spec.Env = append(spec.Env, "HOPPER="+hopper)
		e := s.Run(t.Context(), spec)
		moves := func() int64 {
			info, err := os.Stat(trail)
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		before := moves()
		if before == 0 {
			t.Fatalf("it never moved: %+v", e)
		}
		time.Sleep(30 * time.Millisecond)
		if later := moves(); later != before && e.Kind != Stuck {
			t.Fatalf("it moved %d times after its end had been seen: %+v", later-before, e)
		}
		if e.Kind == Exited && e.Err != nil {
			t.Errorf("%+v", e)
		}
	}
}

// An escapee that is dead, and has a successor, whenever it is looked at: the list of children names it while it lives, and
// its entry in the process table is read when it has died. It is not gone, however often that happens, until a look has met
// its successor or nobody. The process table is a stand-in, so that the test says what each look meets.
func TestClear_goesOnWhileTheDeadAreNew(t *testing.T) {
	t.Parallel()
	const moves = 5                      // looks that meet it dead
	last := exec.Command("sleep", "300") // what it is when it is met alive
	if err := last.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = last.Process.Kill()
		_ = last.Wait()
	})
	lease := newStage(t).lease().Lease()
	const us = 7
	table := tableOf(t, us)
	var children []string
	stop := table.list(us, func(look int) string {
		switch {
		case look < moves:
			dead := 1<<23 + look // Linux numbers no process like that
			table.stat(dead, 'Z')
			children = append(children, strconv.Itoa(dead))
		case look == moves:
			table.stat(last.Process.Pid, 'S')
			table.put(last.Process.Pid, "environ", ledger.MarkVariable+"="+lease.Mark().String())
			children = append(children, strconv.Itoa(last.Process.Pid))
		case look == moves+1: // it has been killed, and is about to be reaped
			_ = unix.Waitid(unix.P_PID, last.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			table.stat(last.Process.Pid, 'Z')
		default:
			children = children[:moves]
		}
		return strings.Join(children, " ")
	})
	defer stop()
	killed, err := table.overseer(us).clear(table.child(us, lease.Mark()))
	if killed != 1 || err != nil {
		t.Errorf("%d killed, want the one that was met alive (%v)", killed, err)
	}
}

// The children of other calls end while we look, one after the other. They are nobody's stragglers, and not what somebody
// forked who moves: where many end at once, one that looked for the end of all would hardly ever see it.
func TestClear_endsBesideTheEndsOfOthers(t *testing.T) {
	t.Parallel()
	lease := newStage(t).lease().Lease()
	const us = 7
	table, looks := tableOf(t, us), 0
	s := table.overseer(us)
	for n := range 1000 {
		s.reaping[1<<23+n] = 1
	}
	stop := table.list(us, func(look int) string {
		looks++
		table.stat(1<<23+look, 'Z')
		return strconv.Itoa(1<<23+look) + " " + strconv.Itoa(1<<23+500+look) // one is dead, the other gone before it is looked at
	})
	killed, err := s.clear(table.child(us, lease.Mark()))
	stop()
	if killed != 0 || err != nil || looks != 1 {
		t.Errorf("%d killed in %d looks (%v), want none in one", killed, looks, err)
	}
}

// table is a process table of our own making.
type table struct {
	t    *testing.T
	root string
}

func tableOf(t *testing.T, pid int) *table {
	t.Helper()
	made := &table{t: t, root: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(made.root, strconv.Itoa(pid), "task", strconv.Itoa(pid)), 0o755); err != nil {
		t.Fatal(err)
	}
	return made
}

// overseer is a supervisor that looks at this table, as the process of that number.
func (p *table) overseer(pid int) *Supervisor {
	return &Supervisor{
		fs: proc.FS{Root: p.root}, self: proc.Identity{PID: pid},
		leaders: map[int]struct{}{}, reaping: map[int]int{}, buried: map[int]int{},
	}
}

// child is a dead child without a group.
func (p *table) child(pid int, mark ledger.Mark) *child {
	return &child{cmd: &exec.Cmd{Process: &os.Process{Pid: pid}}, mark: mark, stolen: errors.New("its group is nobody's")}
}

func (p *table) put(pid int, name, content string) {
	path := filepath.Join(p.root, strconv.Itoa(pid), name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		p.t.Error(err)
	}
}

// stat gives a process a state, a group of its own, and one thread (man 5 proc_pid_stat).
func (p *table) stat(pid int, state rune) {
	p.put(pid, "stat", fmt.Sprintf("%d (sh) %c 7 %[1]d %[1]d 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0", pid, state))
}

// list lets answer say, for each time that somebody reads the children of pid, what they are. It does so until stop is called.
func (p *table) list(pid int, answer func(time int) string) (stop func()) {
	path := filepath.Join(p.root, strconv.Itoa(pid), "task", strconv.Itoa(pid), "children")
	// A pipe for each time: who opens it to write waits for its reader, and meets no other.
	next := func() error { return errors.Join(unix.Mkfifo(path+".next", 0o600), os.Rename(path+".next", path)) }
	if err := next(); err != nil {
		p.t.Fatal(err)
	}
	over := make(chan struct{})
	var served sync.WaitGroup
	served.Go(func() {
		for time := 0; ; time++ {
			pipe, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				p.t.Error(err)
				return
			}
			select {
			case <-over:
				pipe.Close()
				return
			default:
			}
			if err := next(); err != nil {
				p.t.Error(err)
			}
			_, _ = pipe.WriteString(answer(time))
			pipe.Close()
		}
	})
	return func() {
		close(over)
		reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			defer reader.Close()
		}
		served.Wait()
	}
}
