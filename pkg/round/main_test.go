package round_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
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
	cmd := exec.Command("/proc/self/exe", strconv.Itoa(count))
	cmd.Env = append(os.Environ(), holdAt+"="+address.String())
	cmd.Stderr = os.Stderr
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
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the holder said %q: %v", line, err)
	}
	return cmd.Process.Pid
}

func containsPID(text string, pid int) bool {
	return regexp.MustCompile(`\bpid ` + strconv.Itoa(pid) + `\b`).MatchString(text)
}
