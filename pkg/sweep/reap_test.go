package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// standInFor makes the test binary a stand-in for ffmpeg: it dials the address that the variable names, and waits.
const standInFor = "SWEEP_TEST_CAMERA"

// standIn waits for the end of its standard input, after dialling; a word before the address says how it behaves.
func standIn(text string) int {
	manner, address, _ := strings.Cut(text, " ")
	if manner == "deaf" {
		signal.Ignore(syscall.SIGTERM)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer conn.Close()
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// scope is a camera that accepts and never answers, and the terms that are limited to it.
func scope(t *testing.T) observe.Scope {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(camsim.DrawSubnet().Addr().Next().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return observe.Scope{
		Programs: []string{"ffmpeg"},
		Limits:   observe.Limits{Addresses: []netip.AddrPort{netip.MustParseAddrPort(listener.Addr().String())}},
	}
}

// capture starts a process that is an ffmpeg to everybody who looks: by its name, its file and its arguments.
func capture(t *testing.T, terms observe.Scope, manner string, change ...func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.Link(self, file); err != nil {
		t.Skip("the temporary folder is on another file system: ", err)
	}
	address := terms.Limits.Addresses[0].String()
	cmd := exec.Command(file, "-rtsp_transport", "tcp", "-i", "rtsp://"+address+"/s", "-frames:v", "1", "out.jpg")
	cmd.Env = append(os.Environ(), standInFor+"="+manner+" "+address, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	for _, f := range change {
		f(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if n, err := stdout.Read(make([]byte, 8)); err != nil || n == 0 {
		t.Fatalf("the stand-in did not start: %v", err)
	}
	return cmd
}

func identityOf(t *testing.T, cmd *exec.Cmd) proc.Identity {
	t.Helper()
	id, err := proc.Default().Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func now() sweep.Rules { return sweep.Rules{OlderThan: time.Millisecond, SilentFor: time.Hour} }

func reaped(t *testing.T, broom sweep.Broom, terms observe.Scope, pid int) (sweep.Reaping, sweep.Outcome) {
	t.Helper()
	broom.FS = proc.Default()
	time.Sleep(20 * time.Millisecond) // a start time has a grain of 10 ms
	r := broom.Reap(bound(t), terms, now(), false)
	for _, d := range r.Outcomes {
		if d.PID == pid {
			return r, d
		}
	}
	t.Fatalf("process %d is not among %+v; blind %+v", pid, r.Outcomes, r.Blind)
	return r, sweep.Outcome{}
}

func TestEveryStubbornCaptureIsReportedForWhatItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		manner string
		change func(*exec.Cmd)
		before func(*exec.Cmd)
		action sweep.Action
		signal string
	}{
		"one that heeds TERM":   {"mild", nil, nil, sweep.Killed, "TERM"},
		"one that ignores TERM": {"deaf", nil, nil, sweep.Killed, "KILL"},
		"one that is stopped":   {"mild", nil, func(cmd *exec.Cmd) { _ = cmd.Process.Signal(syscall.SIGSTOP) }, sweep.Killed, "KILL"},
		"one in a session of its own": {
			"mild", func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }, nil, sweep.Killed, "TERM",
		},
		"one of another user": {
			"mild", func(cmd *exec.Cmd) {
				if os.Getuid() == 0 {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
				}
			}, nil, sweep.Killed, "TERM",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			terms := scope(t)
			var change []func(*exec.Cmd)
			if c.change != nil {
				change = append(change, c.change)
			}
			if name == "one of another user" {
				change = append(change, func(cmd *exec.Cmd) { openTo(t, filepath.Dir(cmd.Path)) })
			}
			cmd := capture(t, terms, c.manner, change...)
			if c.before != nil {
				c.before(cmd)
			}
			id := identityOf(t, cmd)
			r, d := reaped(t, sweep.Broom{Ledger: openLedger(t), Grace: 300 * time.Millisecond}, terms, cmd.Process.Pid)
			if d.Action != c.action || d.Signal != c.signal || r.Verdict != sweep.Clean || r.Summary.Killed != 1 {
				t.Errorf("%+v, verdict %s", d, r.Verdict)
			}
			if running(t, id) {
				t.Error("it still runs")
			}
		})
	}
}

// openTo lets every user into the folder of a program that a test has put there.
func openTo(t *testing.T, dir string) {
	t.Helper()
	for range 2 {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		dir = filepath.Dir(dir)
	}
}

func TestAProcessThatEndsBetweenLookAndKillIsGone(t *testing.T) {
	t.Parallel()
	terms := scope(t)
	cmd := capture(t, terms, "mild")
	id := identityOf(t, cmd)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	d := sweep.EndOne(bound(t), sweep.Broom{FS: proc.Default()}, id)
	if d.Action != sweep.GoneAlready || d.Signal != "" || !strings.Contains(d.Why, "ended by itself") {
		t.Errorf("%+v", d)
	}
}

func TestReap_reusedPidIsNotSignalled(t *testing.T) {
	t.Parallel()
	terms := scope(t)
	cmd := capture(t, terms, "mild")
	looked := identityOf(t, cmd)
	looked.Start-- // what was looked at had this pid before
	d := sweep.EndOne(bound(t), sweep.Broom{FS: proc.Default()}, looked)
	if d.Action != sweep.GoneAlready || d.Signal != "" || !strings.Contains(d.Why, "another process") {
		t.Errorf("%+v", d)
	}
	if !running(t, identityOf(t, cmd)) {
		t.Error("the innocent process was ended")
	}
}

func TestAZombieIsKeptAndItsParentNamed(t *testing.T) {
	t.Parallel()
	terms := scope(t)
	cmd := capture(t, terms, "mild")
	_ = cmd.Process.Kill() // and nobody waits for it
	id := identityOf(t, cmd)
	for presence, err := proc.Default().Look(id); presence != proc.Zombie; presence, err = proc.Default().Look(id) {
		if err != nil || bound(t).Err() != nil {
			t.Fatal(presence, err)
		}
	}
	s := observe.Look(bound(t), nil, proc.Default(), observe.Scope{Programs: terms.Programs})
	for _, d := range sweep.Decide(s, now()) {
		if d.ID.PID != cmd.Process.Pid {
			continue
		}
		if d.Leaked || !strings.Contains(d.Why, fmt.Sprintf("(pid %d)", os.Getpid())) {
			t.Errorf("leaked %v: %s", d.Leaked, d.Why)
		}
		return
	}
	t.Error("the zombie is not seen")
}

func TestReap_ofAWedgedOwner(t *testing.T) {
	t.Parallel()
	terms := scope(t)
	book := openLedger(t)
	held := left(t, book, deadOwner(t), terms.Limits.Addresses[0], 0)
	wedged := identityOf(t, capture(t, terms, "mild")) // any living process will do for the owner
	cmd := capture(t, terms, "mild", func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, ledger.MarkVariable+"="+held.Lease().Mark().String()) })
	check := held.Update(func(l *ledger.Lease) {
		l.Child, l.Owner, l.Deadline = identityOf(t, cmd), wedged, proc.BootTime()-ledger.Margin-time.Second
	})
	if check != nil {
		t.Fatal(check)
	}
	broom := sweep.Broom{Ledger: book, FS: proc.Default(), Grace: time.Second}
	rules := sweep.Rules{OlderThan: time.Hour, SilentFor: time.Hour}
	r := broom.Reap(bound(t), terms, rules, true)
	if r.Verdict != sweep.SomethingLeft || len(leases(t, book)) != 1 {
		t.Errorf("a dry run: %+v", r)
	}
	r = broom.Reap(bound(t), terms, rules, false)
	if r.Summary.Killed != 1 || r.Verdict != sweep.Clean || len(leases(t, book)) != 0 {
		t.Errorf("%+v, leases %+v", r, leases(t, book))
	}
	if !running(t, wedged) {
		t.Error("the owner was ended")
	}
}

func TestALeaseWithoutAProcessIsStruckOffAndTold(t *testing.T) {
	t.Parallel()
	terms := scope(t)
	book := openLedger(t)
	left(t, book, deadOwner(t), terms.Limits.Addresses[0], 0)
	left(t, book, deadOwner(t), netip.MustParseAddrPort("127.9.8.7:554"), 0) // out of the limits
	r := sweep.Broom{Ledger: book, FS: proc.Default()}.Reap(bound(t), terms, now(), false)
	if len(r.Outcomes) != 1 || r.Outcomes[0].Action != sweep.GoneAlready || r.Outcomes[0].PID != 0 || r.Verdict != sweep.Clean || len(leases(t, book)) != 1 {
		t.Errorf("%+v, leases %+v", r, leases(t, book))
	}
}

func TestReap_unseenIsNeverClean(t *testing.T) {
	t.Parallel()
	r := sweep.Broom{FS: proc.FS{Root: filepath.Join(t.TempDir(), "none")}}.Reap(context.Background(), observe.Scope{}, now(), false)
	if r.Verdict != sweep.CouldNotVerify || len(r.Blind) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestReap_unaskedGo2rtcIsNeverClean(t *testing.T) {
	t.Parallel()
	terms := scope(t)
	terms.Server = errors.New("the CA file is missing")
	book := openLedger(t)
	broom := sweep.Broom{Ledger: book, FS: proc.Default()}
	if r := broom.Reap(bound(t), terms, now(), false); r.Verdict != sweep.Clean || len(r.Blind) != 1 {
		t.Errorf("nothing of ours can be there: %+v", r)
	}
	held, err := book.Write(ledger.Lease{
		Kind: ledger.Stream, Camera: "gate", Address: terms.Limits.Addresses[0], Deadline: proc.BootTime() + time.Minute,
		Name: "camwarden-gate", Server: "http://127.0.0.1:1984",
	})
	if err == nil {
		err = held.Update(func(l *ledger.Lease) { l.Owner, l.Run = deadOwner(t), "then" })
	}
	if err != nil {
		t.Fatal(err)
	}
	if r := broom.Reap(bound(t), terms, now(), false); r.Verdict != sweep.CouldNotVerify || len(leases(t, book)) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestAnInterruptedReapSignalsNobody(t *testing.T) {
	t.Parallel()
	terms := scope(t)
	cmd := capture(t, terms, "mild")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	r := sweep.Broom{Ledger: openLedger(t), FS: proc.Default()}.Reap(over, terms, now(), false)
	if r.Verdict == sweep.Clean || !running(t, identityOf(t, cmd)) {
		t.Errorf("%+v", r)
	}
}
