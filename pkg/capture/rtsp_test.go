package capture

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestRTSP_slotCoolsWithoutTEARDOWN(t *testing.T) {
	t.Parallel()
	few := []camsim.Temper{camsim.Healthy, camsim.MuteAtDescribe, camsim.MuteAtSetup, camsim.MuteAtPlay, camsim.ClosesAtPlay, camsim.SilentAfterPlay}
	for _, temper := range testkit.Some(camsim.Tempers(), few...) {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			config := camsim.Config{Temper: temper}
			if temper == camsim.Digest || temper == camsim.Basic || temper == camsim.WrongPassword {
				config.Username, config.Password = "viewer", odd
			}
			sim, cam := start(t, config)
			w := newWorkbench(t)
			_, report := capture(t, w.rtsp(testkit.FFmpegFor(t, "good"), ffmpeg.Picturing{}), Visit{Camera: cam}, 4*time.Second)
			if !report.Dialled {
				t.Fatalf("not dialled: %+v", report)
			}
			// The camera is asked whether there was a session; when SETUP was never answered, there may be one. One that does not
			// answer TEARDOWN hangs up behind it when we do.
			counts := sim.Counts()
			want := []ledger.Kind{}
			opened := counts.SessionsTotal > 0 || temper == camsim.MuteAtSetup
			if opened && counts.Teardowns == 0 {
				want = append(want, ledger.Cooling)
			}
			if kinds := w.leases(t); !slices.Equal(kinds, want) {
				t.Errorf("leases %v, want %v; the camera: %+v; %v", kinds, want, counts, report.Err)
			}
			if counts.ConnectionsTotal > 1 || counts.Logins > 1 || counts.LoginsFailed > 1 || counts.Challenges > 1 {
				t.Errorf("one dial and one log-in are enough: %+v", counts)
			}
			notConnected(t, sim.Address())
		})
	}
}

// notConnected fails if the kernel shows a connection that holds a slot of the address.
func notConnected(t *testing.T, address netip.AddrPort) {
	t.Helper()
	sockets, err := proc.Default().Connections([]uint16{address.Port()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range sockets.Conns {
		if c.Remote == address && (c.State == proc.Established || c.State == proc.SynSent) {
			t.Errorf("a connection is left: %+v", c)
		}
	}
}

func TestRTSP_ffmpegDoesNotRepeatARefusal(t *testing.T) {
	t.Parallel()
	again := []camsim.Temper{camsim.GarbageAnswers, camsim.GarbageMedia} // class protocol: what one client cannot read, another may
	few := []camsim.Temper{camsim.Healthy, camsim.WrongPassword, camsim.Refuses, camsim.MuteAtPlay}
	for _, temper := range testkit.Some(camsim.Tempers(), append(few, again...)...) {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			config := camsim.Config{Temper: temper}
			if temper == camsim.Digest || temper == camsim.Basic || temper == camsim.WrongPassword {
				config.Username, config.Password = "viewer", odd
			}
			sim, cam := start(t, config)
			w := newWorkbench(t)
			program := testkit.FFmpegFor(t, "good") // answers like one, dials nobody
			chain, err := NewChain(t.Context(), []Source{w.rtsp(program, ffmpeg.Picturing{}), w.source(program)})
			if err != nil {
				t.Fatal(err)
			}
			result := chain.Visit(t.Context(), Visit{Camera: cam, Timeout: 4 * time.Second})
			sources := []string{}
			for _, attempt := range result.Attempts {
				sources = append(sources, attempt.Source)
			}
			want := []string{"rtsp"}
			if slices.Contains(again, temper) {
				want = append(want, "ffmpeg")
			}
			if !slices.Equal(sources, want) {
				t.Errorf("tried %v, want %v: %+v", sources, want, result.Attempts[0].Error)
			}
			if counts := sim.Counts(); counts.ConnectionsTotal > 1 || counts.Logins+counts.LoginsFailed > 1 || counts.Followed > 0 {
				t.Errorf("%+v", counts)
			}
		})
	}
}

// exotic is a camera whose only video is in a codec that the source rtsp does not know. It counts what it is asked.
func exotic(t *testing.T) (camera.Camera, func() (dials, setups int64)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var dials, setups atomic.Int64
	const sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H261/90000\r\na=control:track1\r\n"
	serve := func(conn net.Conn) {
		defer conn.Close()
		method, cseq := "", ""
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			line := lines.Text()
			name, value, _ := strings.Cut(line, ":")
			switch {
			case method == "":
				method, _, _ = strings.Cut(line, " ")
			case strings.EqualFold(name, "CSeq"):
				cseq = strings.TrimSpace(value)
			case line == "":
				body := ""
				if method == "DESCRIBE" {
					body = sdp
				}
				if method == "SETUP" {
					setups.Add(1)
				}
				fmt.Fprintf(conn, "RTSP/1.0 200 OK\r\nCSeq: %s\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", cseq, len(body), body)
				method = ""
			}
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			go serve(conn)
		}
	}()
	address := netip.MustParseAddrPort(listener.Addr().String())
	return camera.Camera{
		ID: "exotic", Host: address.Addr().String(), Port: address.Port(), Address: address, Scheme: "rtsp", Path: "/stream1",
		Transport: camera.TCP, MaxConnections: 1, Timeout: 10 * time.Second, SessionTimeout: time.Minute,
	}, func() (int64, int64) { return dials.Load(), setups.Load() }
}

func TestRTSP_unreadIsLeftToFFmpeg(t *testing.T) {
	t.Parallel()
	cam, counts := exotic(t)
	w := newWorkbench(t)
	program := testkit.FFmpegFor(t, "good")
	chain, err := NewChain(t.Context(), []Source{w.rtsp(program, ffmpeg.Picturing{}), w.source(program)})
	if err != nil {
		t.Fatal(err)
	}
	result := chain.Visit(t.Context(), Visit{Camera: cam, Timeout: time.Minute})
	if result.Err != nil || result.Source != "ffmpeg" || len(result.Attempts) != 2 {
		t.Fatalf("%+v", result)
	}
	if first := result.Attempts[0].Error; first.Class != fault.NoVideo || first.Step != fault.Describe || !strings.Contains(first.Message, "H261") {
		t.Errorf("%+v", first)
	}
	if dials, setups := counts(); dials != 1 || setups != 0 { // the stand-in dials nobody
		t.Errorf("%d dials, %d sessions asked for", dials, setups)
	}
	if kinds := w.leases(t); len(kinds) > 0 {
		t.Errorf("leases %v", kinds)
	}
}

func TestRTSP_noFFmpegNoSessionBesideJPEG(t *testing.T) {
	t.Parallel()
	sim, cam := start(t, camsim.Config{Temper: camsim.Digest, Username: "viewer", Password: odd})
	w := newWorkbench(t)
	source := w.rtsp("no-such-ffmpeg", ffmpeg.Picturing{})
	chain, err := NewChain(t.Context(), []Source{source, w.source("no-such-ffmpeg")})
	if err != nil {
		t.Fatalf("a source that can serve some cameras was left out: %v", err)
	}
	if notices := strings.Join(chain.Notices(), "\n"); !strings.Contains(notices, "only cameras that send JPEG") || !strings.Contains(notices, "source ffmpeg cannot work here") {
		t.Errorf("notices %q", notices)
	}
	result := chain.Visit(t.Context(), Visit{Camera: cam, Timeout: time.Minute})
	if result.Err == nil || result.Err.Class != fault.Local || result.Err.Step != fault.Describe || result.Err.Hint != ffmpeg.HintInstall ||
		!strings.Contains(result.Err.Message, "no-such-ffmpeg") || len(result.Attempts) != 1 {
		t.Errorf("%+v", result.Err)
	}
	if counts := sim.Counts(); counts.Setups != 0 || counts.ConnectionsTotal != 1 || counts.Logins > 1 {
		t.Errorf("%+v", counts)
	}
	if kinds := w.leases(t); len(kinds) > 0 {
		t.Errorf("leases %v", kinds)
	}
}

func TestRTSP_ffmpegIsAskedInItsTurn(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	broken := testkit.FFmpegFor(t, "not") // exits 0 and says nothing: Check would refuse it
	first, ffmpeg := w.rtsp(broken, ffmpeg.Picturing{}), w.source(broken)
	if err := ffmpeg.Check(t.Context()); err == nil {
		t.Fatal("the stand-in passes for an ffmpeg")
	}
	ffmpeg = w.source(broken)
	chain, err := NewChain(t.Context(), []Source{first, ffmpeg})
	if err != nil || len(chain.Sources()) != 2 {
		t.Fatalf("%v, %d sources", err, len(chain.Sources()))
	}
	cam, _ := exotic(t)
	result := chain.Visit(t.Context(), Visit{Camera: cam, Timeout: time.Minute})
	if len(result.Attempts) != 2 || result.Err == nil || result.Err.Class != fault.NoSource {
		t.Errorf("%+v", result)
	}
}

func TestTheTimesOfAVisitAddUp(t *testing.T) {
	t.Parallel()
	for left := 10 * time.Millisecond; left < time.Hour; left *= 2 {
		limits := limitsFor(left)
		if limits.Whole <= left/2 || limits.Whole+limits.Goodbye >= left || limits.Goodbye <= 0 || limits.Step != limits.Whole {
			t.Errorf("of %s: %+v", left, limits)
		}
	}
}
