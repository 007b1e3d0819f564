// Command camserver is the server of the incident: it takes stills by ffmpeg, and on time-out forgets it. Its cameras are
// simulated, accept and never answer, in the proportions of the report: 22 captures hang at one camera and one at each of
// three others. It writes a configuration for these cameras, says where they are, and lives until its standard input ends.
//
// usage: camserver CONFIG
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// patience is after which time camserver forgets a capture. The real one gave its cameras 30 s.
const patience = 100 * time.Millisecond

// hung are the cameras, by the last number of their addresses, in the order in which their captures began to hang.
func hung() []struct {
	host     byte
	model    string
	captures int
} {
	return []struct {
		host     byte
		model    string
		captures int
	}{{12, "", 1}, {19, "Tapo C110", 22}, {62, "", 1}, {79, "Tapo C110", 1}}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "camserver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: camserver CONFIG")
	}
	subnet := camsim.DrawSubnet()
	quad := subnet.Addr().As4()
	var config strings.Builder
	fmt.Fprintf(&config, "reap: {older_than: 2s}\nsubnets: {office: [%s]}\ncameras:\n", subnet)
	var urls []string
	for _, h := range hung() {
		quad[3] = h.host
		at := netip.AddrPortFrom(netip.AddrFrom4(quad), camsim.DefaultPort)
		camera, err := camsim.Start(camsim.Config{Name: fmt.Sprintf("cam%d", h.host), Temper: camsim.MuteAtConnect, Address: at, Username: "admin", Password: "S3cretOfTheOffice"})
		if err != nil {
			return err
		}
		defer camera.Close()
		fmt.Fprintf(&config, "  - {id: %s, host: %s, port: %d, model: %q, max_connections: 2}\n", camera.Name(), at.Addr(), at.Port(), h.model)
		for range h.captures {
			urls = append(urls, camera.LoginURL())
		}
	}
	if err := os.WriteFile(args[0], []byte(config.String()), 0o600); err != nil {
		return err
	}
	runtime.LockOSThread() // the parent-death signal is that of the thread that started them
	var children []*exec.Cmd
	defer func() {
		for _, child := range children {
			_ = child.Process.Kill()
		}
	}()
	for _, url := range urls {
		child, err := capture(url)
		if err != nil {
			return err
		}
		children = append(children, child)
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready{Subnet: subnet.String(), PIDs: pids(children)}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// ready is what camserver says once all of its captures hang.
type ready struct {
	Subnet string
	PIDs   []int
}

func pids(children []*exec.Cmd) []int {
	var all []int
	for _, child := range children {
		all = append(all, child.Process.Pid)
	}
	return all
}

// capture is the fault itself: when the time is up nobody waits for ffmpeg any more, and nobody ends it.
func capture(url string) (*exec.Cmd, error) {
	cmd := exec.Command("ffmpeg", "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url, "-frames:v", "1", "-f", "image2", "-c:v", "mjpeg", "pipe:1")
	cmd.Stdout = io.Discard
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // that nothing is left on a test's host; the real one had no such thing
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // the runtime of the real one collects the dead as well
	select {
	case <-ended:
		return nil, errors.New("a capture ended, although its camera never answers")
	case <-ctx.Done():
		return cmd, nil
	}
}
