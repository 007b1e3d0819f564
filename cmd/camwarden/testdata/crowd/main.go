// Command crowd makes a host busy for a measurement: many processes that do nothing, and some that each hold many
// connections to a camera that never answers. It says when all stand, and ends all of them when its standard input ends.
//
// usage: crowd ADDRESS IDLE HOLDERS CONNECTIONS PROGRAM
// for example: crowd 127.20.30.1:554 2000 25 100 ffmpeg
// The holders call themselves PROGRAM, and have the arguments of an ffmpeg that records.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// role is the variable that makes this program a holder of that many connections.
const role = "CROWD_CONNECTIONS"

func main() {
	run := gather
	if os.Getenv(role) != "" {
		run = hold
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

// hold opens connections, the address being the last argument, and keeps them.
func hold(args []string) error {
	count, err := strconv.Atoi(os.Getenv(role))
	if err != nil {
		return err
	}
	var conns []net.Conn
	for range count {
		conn, err := net.Dial("tcp", args[len(args)-1])
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	for _, conn := range conns {
		_ = conn.Close()
	}
	return err
}

func gather(args []string) error {
	address := args[0]
	var numbers []int
	for _, arg := range args[1:4] {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		var conns []net.Conn // held, or the garbage collector would close them
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	dir, err := os.MkdirTemp("", "crowd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	holder := filepath.Join(dir, args[4])
	if err := copyFile(self, holder); err != nil {
		return err
	}
	// The kernel ends the children with us. It asks the thread that started them, so that one must stay.
	runtime.LockOSThread()
	dieWithUs := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var children []*exec.Cmd
	defer func() {
		for _, child := range children {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	}()
	for range numbers[0] {
		child := exec.Command("sleep", "3600")
		child.SysProcAttr = dieWithUs
		if err := child.Start(); err != nil {
			return err
		}
		children = append(children, child)
	}
	for range numbers[1] {
		child := exec.Command(holder, "-rtsp_transport", "tcp", "-i", "rtsp://"+address+"/stream1", "-c", "copy", "-f", "null", "-", address)
		child.Env = append(os.Environ(), role+"="+strconv.Itoa(numbers[2]))
		child.Stderr, child.SysProcAttr = os.Stderr, dieWithUs
		if _, err := child.StdinPipe(); err != nil {
			return err
		}
		stdout, err := child.StdoutPipe()
		if err != nil {
			return err
		}
		if err := child.Start(); err != nil {
			return err
		}
		children = append(children, child)
		if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
			return fmt.Errorf("a holder did not start: %w", err)
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
