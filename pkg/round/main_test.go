package round_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// holdAt makes the test binary hold connections to an address until its stdin ends: the foreign process of these tests.
const holdAt = "ROUND_TEST_HOLD"

func TestMain(m *testing.M) {
	if address := os.Getenv(holdAt); address != "" {
		os.Exit(holdConnections(address, os.Args[1]))
	}
	os.Exit(m.Run())
}

func holdConnections(address, count string) int {
	n, _ := strconv.Atoi(count)
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer conn.Close()
	}
	fmt.Println("holding")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// hold starts a foreign process with that many connections to the address and returns its pid.
func hold(t *testing.T, address netip.AddrPort, count int) int {
	t.Helper()
	cmd := testkit.Role(holdAt, address.String(), strconv.Itoa(count))
	testkit.Start(t, cmd).Line() // it holds them
	return cmd.Process.Pid
}

func containsPID(text string, pid int) bool {
	return regexp.MustCompile(`\bpid ` + strconv.Itoa(pid) + `\b`).MatchString(text)
}
