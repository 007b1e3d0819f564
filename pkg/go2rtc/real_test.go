package go2rtc_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
)

// startReal starts the go2rtc that GO2RTC names, with a configuration file of its own.
func startReal(t *testing.T, streams string) *running {
	t.Helper()
	program := os.Getenv("GO2RTC")
	if program == "" {
		t.Skip("GO2RTC names no go2rtc")
	}
	listen := ownListener(t)
	rtsp, err := net.Listen("tcp", "127.0.0.1:0") // where go2rtc's own ffmpeg hands over what it makes
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, url: "http://" + listen.Addr().String(), config: filepath.Join(t.TempDir(), "go2rtc.yaml"), patience: 5 * time.Second}
	text := fmt.Sprintf("api:\n  listen: %q\nrtsp:\n  listen: %q\nwebrtc:\n  listen: \"\"\nlog:\n  level: error\n%s",
		listen.Addr(), rtsp.Addr(), streams)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = listen.Close(), rtsp.Close()
	var said bytes.Buffer
	cmd := exec.Command(program, "-config", r.config)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("go2rtc said: %s", said.String())
		}
	})
	r.Client = newClient(t, go2rtc.Options{URL: r.url, Version: "1.0", Run: "01MINE"})
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		info, err := r.Info(t.Context())
		if err == nil {
			_, err = r.List(t.Context()) // it listens before it knows all of its paths
		}
		if err == nil {
			t.Logf("go2rtc %s", info.Version)
			return r
		}
		if time.Since(began) > 20*time.Second || fault.ClassOf(err) != fault.Go2rtc {
			t.Fatal(err)
		}
	}
}

func TestRealServer_registersAndForgets(t *testing.T) {
	t.Parallel()
	registersTakesAPictureAndForgets(t, startReal)
}

func TestRealServerSaysWhyACameraFails(t *testing.T) {
	t.Parallel()
	saysWhyACameraFails(t, startReal)
}

func TestRealServersStuckPictureIsFlushed(t *testing.T) {
	t.Parallel()
	flushesAStuckPicture(t, startReal)
}

func TestRealServer_pictureThatNeverComes(t *testing.T) {
	t.Parallel()
	saysHowAPictureThatNeverComesEnds(t, startReal)
}

func TestRealServersViewerIsSeenAndKept(t *testing.T) {
	t.Parallel()
	seesAndKeepsAViewer(t, startReal)
}

func TestRealServerBehindBasePathLogInAndSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "g.sock")
	program := os.Getenv("GO2RTC")
	if program == "" {
		t.Skip("GO2RTC names no go2rtc")
	}
	config := fmt.Sprintf("{api: {listen: '', unix_listen: %q, base_path: /rtc, username: admin, password: 'p:w #%%ß', local_auth: true}, rtsp: {listen: ''}, webrtc: {listen: ''}}", socket)
	cmd := exec.Command(program, "-config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	isReachedBehindBasePathLogInAndSocket(t, socket)
}
