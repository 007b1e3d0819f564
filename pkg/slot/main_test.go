package slot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

const roleVariable = "CAMWARDEN_SLOT_TEST_ROLE"

// The test binary is also every other process these tests need: a foreign one with connections, other camwardens.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		roles := map[string]func([]string) error{"dial": playDial, "take": playTake, "hammer": playHammer, "count": playCount}
		if err := roles[role](os.Args[1:]); err != nil {
			say(saying{Error: fault.From(err, "", "")})
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type saying struct {
	State string       `json:"state"`
	ID    string       `json:"id"`
	Error *fault.Error `json:"error"`
	Count Count        `json:"count"`
}

func say(s saying) {
	line, _ := json.Marshal(s)
	fmt.Println(string(line))
}

// playDial connects N times to an address and keeps the connections: "dial ADDRESS N".
func playDial(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for range n {
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	say(saying{State: "connected"})
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// playTake takes one slot, dials, and keeps both: "take BASE ADDRESS LIMIT DEADLINE".
func playTake(args []string) error {
	table, err := tableIn(args[0])
	if err != nil {
		return err
	}
	request, err := requestOf(args[1:])
	if err != nil {
		return err
	}
	held, err := table.Take(context.Background(), request)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", args[1])
	if err != nil {
		return err
	}
	defer conn.Close()
	say(saying{State: "taken", ID: held.Lease().ID})
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// playHammer takes, uses and gives back slots, N times: "hammer BASE ADDRESS LIMIT DEADLINE N [unused]".
func playHammer(args []string) error {
	table, err := tableIn(args[0])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	for range times {
		request, err := requestOf(args[1:])
		if err != nil {
			return err
		}
		held, err := table.Take(context.Background(), request)
		if err != nil {
			return err
		}
		if len(args) == 5 {
			err = useSlot(args[1])
		}
		if err != nil {
			return err
		}
		if err := held.Strike(); err != nil {
			return err
		}
	}
	say(saying{State: "done"})
	return nil
}

// useSlot makes one connection and returns when the other side has seen its end.
func useSlot(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	time.Sleep(10*time.Millisecond + rand.N(40*time.Millisecond))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

// playCount counts the slots of an address: "count BASE ADDRESS LIMIT".
func playCount(args []string) error {
	table, err := tableIn(args[0])
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	count, err := table.Count(netip.MustParseAddrPort(args[1]), limit, 0)
	if err != nil {
		return err
	}
	say(saying{State: "counted", Count: count})
	return nil
}

func requestOf(args []string) (Request, error) {
	limit, err := strconv.Atoi(args[1])
	if err != nil {
		return Request{}, err
	}
	in, err := time.ParseDuration(args[2])
	if err != nil {
		return Request{}, err
	}
	r := ask(netip.MustParseAddrPort(args[0]), limit)
	r.Deadline = proc.BootTime() + in
	return r, nil
}

func ask(address netip.AddrPort, limit int) Request {
	return Request{
		Camera: camera.Camera{ID: "gate", Address: address, MaxConnections: limit, SessionTimeout: time.Minute},
		Kind:   ledger.Connection, Deadline: proc.BootTime() + time.Minute,
	}
}

func tableIn(base string) (Table, error) {
	dirs := ledger.Dirs{Runtime: filepath.Join(base, "run"), State: filepath.Join(base, "state")}
	l, err := ledger.Open(dirs, proc.Default(), "run-"+strconv.Itoa(os.Getpid()))
	return Table{Ledger: l, FS: proc.Default()}, err
}

func newTable(t *testing.T) (Table, string) {
	t.Helper()
	base := t.TempDir()
	table, err := tableIn(base)
	testkit.Check(t, err)
	return table, base
}

// site is a camera that only counts: how many connections it has, and had at most.
type site struct {
	address  netip.AddrPort
	listener net.Listener
	now, max atomic.Int32
	total    atomic.Int32
	shut     atomic.Bool // close every connection at once
}

func newSite(t *testing.T) *site {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(240), rand.IntN(256), 1+rand.IntN(254))
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	testkit.Check(t, err)
	s := &site{address: netip.MustParseAddrPort(listener.Addr().String()), listener: listener}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.total.Add(1)
			if s.shut.Load() {
				conn.Close()
				continue
			}
			now := s.now.Add(1)
			for was := s.max.Load(); now > was && !s.max.CompareAndSwap(was, now); was = s.max.Load() {
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				s.now.Add(-1)
				conn.Close()
			}()
		}
	}()
	return s
}

// dial connects from this very process.
func (s *site) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address.String())
	testkit.Check(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// other is another process of this test binary; closing its stdin ends it.
type other struct {
	*testkit.Process
	t *testing.T
}

func start(t *testing.T, role string, args ...string) *other {
	return startWith(t, role, nil, nil, args...)
}

func startWith(t *testing.T, role string, attr *syscall.SysProcAttr, env []string, args ...string) *other {
	t.Helper()
	cmd := testkit.Role(roleVariable, role, args...)
	cmd.Env, cmd.SysProcAttr = append(cmd.Env, env...), attr
	return &other{testkit.Start(t, cmd), t}
}

func (o *other) hear() (s saying) {
	o.t.Helper()
	o.Hear(&s)
	return s
}

func (o *other) must(state string) saying {
	o.t.Helper()
	s := o.hear()
	if s.State != state {
		o.t.Fatalf("the other process said %+v (%v), want %q", s, s.Error, state)
	}
	return s
}

// refused demands a fault of the class, with words in its message and a hint unless cancelled.
func refused(t *testing.T, err error, class fault.Class, words ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != class {
		t.Fatalf("error %v (class %q), want class %q", err, fault.ClassOf(err), class)
	}
	if f.Hint == "" && class != fault.Cancelled {
		t.Errorf("no hint: %v", err)
	}
	for _, word := range words {
		if !strings.Contains(f.Message, word) {
			t.Errorf("message %q does not say %q", f.Message, word)
		}
	}
}

// leases is how many leases stand.
func leases(t *testing.T, table Table) int {
	t.Helper()
	all, torn, err := table.Ledger.Read()
	testkit.Check(t, err)
	if len(torn) > 0 {
		t.Fatalf("torn: %v", torn)
	}
	return len(all)
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
