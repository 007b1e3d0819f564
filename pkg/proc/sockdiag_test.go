package proc

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheKernelFiltersByPort(t *testing.T) {
	t.Parallel()
	var ports []uint16
	ours := map[netip.AddrPort]bool{}
	for range 4 {
		listener := listenOn(t, drawn())
		connected(t, listener)
		ports = append(ports, portOf(listener))
		ours[netip.MustParseAddrPort(listener.Addr().String())] = true
	}
	slices.Sort(ports)
	for _, asked := range [][]uint16{ports[:1], ports[3:], {ports[0], ports[2]}, ports[1:], ports} {
		conns, err := dump(portFilter(asked), wantedStates, 0)
		if err != nil {
			t.Fatal(err)
		}
		var seen []uint16
		for _, conn := range conns {
			if !hasPort(asked, conn.Remote.Port()) {
				t.Errorf("not asked for, asked for %v: %+v", asked, conn)
			}
			if ours[conn.Remote] {
				seen = append(seen, conn.Remote.Port())
			}
		}
		slices.Sort(seen)
		if !slices.Equal(seen, asked) {
			t.Errorf("asked for %v, the kernel gave %v", asked, seen)
		}
	}
}

func TestTheKernelAcceptsAFilterOfAnySize(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	connected(t, listener)
	for _, count := range []int{1, 2, 3, 100, maxRanges, maxRanges + 1, 5000} {
		ports := []uint16{portOf(listener)}
		for port := 1; len(ports) < count; port += 2 { // with gaps: one range each
			ports = append(ports, uint16(port))
		}
		conns, err := dumpConnections(sortedPorts(ports), wantedStates)
		if err != nil {
			t.Fatalf("%d ports: %v", count, err)
		}
		if !slices.ContainsFunc(conns, func(conn Conn) bool { return conn.Remote.String() == listener.Addr().String() }) {
			t.Errorf("%d ports: not among %d connections", count, len(conns))
		}
	}
}

func TestTheKernelRefusesAFilterWithAWildJump(t *testing.T) {
	t.Parallel()
	filter := portFilter([]uint16{554, 8554})
	binary.NativeEndian.PutUint16(filter[2:], 12) // lands on the argument of an operation
	if conns, err := dump(filter, wantedStates, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%d connections, %v", len(conns), err)
	}
	if err := audit(filter); err == nil {
		t.Error("our copy of the kernel's rules lets it pass")
	}
}

// audit applies the rules by which the kernel judges a filter.
func audit(program []byte) error {
	landings := map[int]bool{len(program): true}
	for at := 0; at < len(program); at += int(program[at+1]) {
		landings[at] = true
		if len(program)-at < 4 || program[at+1] < 4 || program[at+1]%4 != 0 {
			return errors.New("the walk stumbles")
		}
	}
	for at := range landings {
		if at >= len(program) {
			continue
		}
		shortest := 8
		if program[at] == opJump {
			shortest = 4
		}
		left := len(program) - at
		yes, no := int(program[at+1]), int(binary.NativeEndian.Uint16(program[at+2:]))
		switch {
		case yes < shortest, yes > left+4, no < shortest, no > left+4, no%4 != 0:
			return errors.New("a jump is too short or too long")
		case no < left && !landings[at+no]:
			return errors.New("a jump lands beside the walk")
		}
	}
	return nil
}

// accepts runs a filter as the kernel does.
func accepts(program []byte, port uint16) bool {
	at := 0
	for at < len(program) {
		argument := func() uint16 { return binary.NativeEndian.Uint16(program[at+6:]) }
		var yes bool
		switch program[at] {
		case opDGE:
			yes = port >= argument()
		case opDLE:
			yes = port <= argument()
		}
		if yes {
			at += int(program[at+1])
		} else {
			at += int(binary.NativeEndian.Uint16(program[at+2:]))
		}
	}
	return at == len(program)
}

func FuzzPortFilter(f *testing.F) {
	f.Add([]byte{2, 42}, uint16(554))
	f.Add([]byte{0, 0, 255, 255, 0, 1, 0, 2}, uint16(3))
	f.Fuzz(func(t *testing.T, raw []byte, probe uint16) {
		var ports []uint16
		for ; len(raw) >= 2 && len(ports) < 2*maxRanges; raw = raw[2:] {
			ports = append(ports, binary.BigEndian.Uint16(raw))
		}
		if ports = sortedPorts(ports); len(ports) == 0 {
			return
		}
		program := portFilter(ports)
		if err := audit(program); err != nil {
			t.Fatalf("%v: %v", ports, err)
		}
		exact := len(portRanges(ports)) <= maxRanges
		for _, port := range []uint16{probe, ports[0], ports[len(ports)-1], ports[len(ports)/2] + 1, ports[0] - 1} {
			if got, want := accepts(program, port), hasPort(ports, port); got != want && (exact || want) {
				t.Errorf("port %d of %v: %v", port, ports, got)
			}
		}
	})
}

// answerOf builds one answer of the kernel.
func answerOf(family, state uint8, info []byte) []byte {
	data := make([]byte, diagHeader)
	data[0], data[1] = family, state
	binary.BigEndian.PutUint16(data[4:], 40000)
	binary.BigEndian.PutUint16(data[6:], 554)
	copy(data[8:], []byte{127, 1, 2, 3})
	copy(data[24:], []byte{127, 4, 5, 6})
	binary.NativeEndian.PutUint32(data[56:], 7)
	binary.NativeEndian.PutUint32(data[64:], nobody)
	binary.NativeEndian.PutUint32(data[68:], 4242)
	if info != nil {
		data = binary.NativeEndian.AppendUint16(data, uint16(4+len(info)))
		data = binary.NativeEndian.AppendUint16(data, diagInfo)
		data = append(data, info...)
	}
	return data
}

func TestAnAnswerOfTheKernelIsDecoded(t *testing.T) {
	t.Parallel()
	info := make([]byte, 104) // the length of an old kernel
	binary.NativeEndian.PutUint32(info[52:], 300_000)
	want := Conn{
		Local: netip.MustParseAddrPort("127.1.2.3:40000"), Remote: netip.MustParseAddrPort("127.4.5.6:554"),
		State: Established, Inode: 4242, UID: nobody, RecvQueue: 7, Silent: 5 * time.Minute, SilentKnown: true,
	}
	if got, err := decodeDiag(answerOf(unix.AF_INET, established, info)); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	want.Silent, want.SilentKnown = 0, false
	if got, err := decodeDiag(answerOf(unix.AF_INET, established, nil)); got != want || err != nil {
		t.Errorf("without tcp_info: %+v, %v", got, err)
	}
	want.State = SynSent
	if got, err := decodeDiag(answerOf(unix.AF_INET, synSent, info)); got != want || err != nil {
		t.Errorf("not connected yet: %+v, %v", got, err)
	}
	for what, torn := range map[string][]byte{
		"short":          answerOf(unix.AF_INET, established, nil)[:71],
		"foreign family": answerOf(unix.AF_UNIX, established, nil),
		"short tcp_info": answerOf(unix.AF_INET, established, info[:52]),
		"torn attribute": answerOf(unix.AF_INET, established, info)[:100],
	} {
		if got, err := decodeDiag(torn); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func FuzzDecodeDiag(f *testing.F) {
	f.Add(answerOf(unix.AF_INET, established, make([]byte, 232)))
	f.Add(answerOf(unix.AF_INET6, timeWait, nil))
	f.Add(answerOf(unix.AF_INET6, established, make([]byte, rand.IntN(60))))
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := decodeDiag(data)
		if err == nil && (!conn.Remote.Addr().IsValid() || conn.Remote.Addr().Is4In6() || conn.State == "" || conn.Silent < 0 || conn.RecvQueue < 0) {
			t.Errorf("%+v", conn)
		}
	})
}

func TestOneQuestionBringsBothFamilies(t *testing.T) {
	t.Parallel()
	four := listenOn(t, drawn())
	connected(t, four)
	mapped(t, four)
	six, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	t.Cleanup(func() { six.Close() })
	conn, err := net.Dial("tcp6", six.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	socket, err := openDiag(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	ports := sortedPorts([]uint16{portOf(four), netip.MustParseAddrPort(six.Addr().String()).Port()})
	conns, err := dumpBy(socket, tcpDiag, dumpRequestOfBoth(wantedStates, portFilter(ports)))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, c := range conns {
		found[c.Remote.String()]++
	}
	if found[four.Addr().String()] != 2 || found[six.Addr().String()] != 1 {
		t.Errorf("%v, want two to %s and one to %s", found, four.Addr(), six.Addr())
	}
}
