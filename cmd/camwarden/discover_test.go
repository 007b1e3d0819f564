package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// TestOnvif_field asks the scripted devices of testdata/field/http as an operator does, and holds what comes back against
// expected.tsv: all 119 in a long run, else every tenth. Each runs with a log-in that is right; more than one that is refused, a
// dial to another host, a password in the output or in clear, and two connections at once fall short too.
func TestOnvif_field(t *testing.T) {
	t.Parallel()
	fieldHolds(t, "onvif_cases.py", 119, "127.42")
}

// neighbourhood is a /24 with 60 devices: 20 cameras with ONVIF and every quirk, a recorder with 8 channels, 9 cameras with RTSP
// alone, 10 printers, 10 hosts that drop every packet and 10 that accept and never say a word.
type neighbourhood struct {
	prefix  netip.Prefix
	onvif   map[string]*camsim.ONVIF  // by address
	cameras map[string]*camsim.Camera // by address
	paths   map[string][]string       // of the streams that are to be found, by address
	wrong   string                    // the address of the one whose password is another
}

const (
	watcher = "viewer"
	letMeIn = "Laß-m1ch:rein"
)

func newNeighbourhood(t *testing.T) neighbourhood {
	t.Helper()
	n := neighbourhood{prefix: camsim.DrawSubnet(), onvif: map[string]*camsim.ONVIF{}, cameras: map[string]*camsim.Camera{}, paths: map[string][]string{}}
	next := n.prefix.Addr()
	var streams []camsim.Config
	device := func(temper camsim.Temper, web *camsim.ONVIFConfig, paths ...string) string {
		next = next.Next()
		at := next.String()
		if temper != "" {
			c := camsim.Config{Name: at, Temper: temper, Address: netip.AddrPortFrom(next, 8554)}
			if temper == camsim.Digest {
				c.Username, c.Password = watcher, letMeIn
			}
			if len(paths) > 0 {
				c.Path, c.Also = paths[0], strings.Join(paths[1:], " ")
			}
			streams = append(streams, c)
		}
		if web != nil {
			web.Address = netip.AddrPortFrom(next, 8000)
			o, err := camsim.StartONVIF(*web)
			check(t, err)
			t.Cleanup(o.Close)
			n.onvif[at] = o
		}
		if len(paths) > 0 {
			n.paths[at] = paths
		}
		return at
	}
	quirks := []camsim.Quirk{"", camsim.ClockAhead, camsim.DigestOnly, camsim.ForeignPrefixes, camsim.NoSnapshot, camsim.SnapshotIsRTSP, camsim.NAT, camsim.Media2Only}
	both := []string{camsim.StreamPath(1, false), camsim.StreamPath(1, true)}
	for i := range 20 {
		web := camsim.ONVIFConfig{Username: watcher, Password: letMeIn, Quirks: []camsim.Quirk{quirks[i%len(quirks)]}}
		if i == 19 {
			web.Password = "another"
			n.wrong = device(camsim.Digest, &web)
			streams[len(streams)-1].Password = web.Password
			continue
		}
		device(camsim.Digest, &web, both...)
	}
	var eight []string
	for channel := range 8 {
		eight = append(eight, camsim.StreamPath(channel+1, false), camsim.StreamPath(channel+1, true))
	}
	device(camsim.Digest, &camsim.ONVIFConfig{Username: watcher, Password: letMeIn, Channels: 8}, eight...)
	for range 6 { // what they are only their web server tells
		device(camsim.Digest, &camsim.ONVIFConfig{Server: "App-webs/", Quirks: []camsim.Quirk{camsim.NoONVIF}}, "/Streaming/Channels/101")
	}
	for range 3 {
		device(camsim.Healthy, nil, "/")
	}
	for range 10 {
		device("", &camsim.ONVIFConfig{Quirks: []camsim.Quirk{camsim.NoONVIF}})
	}
	for range 10 {
		device(camsim.DropsSYN, nil)
	}
	for range 10 {
		device(camsim.MuteAtConnect, nil)
	}
	subnet, err := camsim.StartSubnet(n.prefix, streams)
	check(t, err)
	t.Cleanup(subnet.Close)
	for _, c := range subnet.Cameras {
		n.cameras[c.Name()] = c
	}
	return n
}

// discovery is what the tests read of camwarden.discover/1.
type discovery struct {
	Addresses, Mute int
	Devices         []struct {
		Camera, Address, Brand, Snapshot string
		LogIn                            string `json:"log_in"`
		Streams                          []struct{ Path, By string }
		Error                            *struct{ Class, Message string }
	}
}

func TestDiscover_neighbourhood(t *testing.T) {
	t.Parallel()
	n := newNeighbourhood(t)
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, byRTSP)
	check(t, os.WriteFile(s.path("none.yaml"), []byte("defaults: {username: "+watcher+", password_file: pw}\nsources: [rtsp, ffmpeg]\n"), 0o600))
	check(t, os.WriteFile(s.path("pw"), []byte(letMeIn+"\n"), 0o600))
	for _, name := range []string{"none.yaml", "pw"} {
		check(t, os.Chown(s.path(name), s.uid, s.uid))
	}
	ask := []string{"camwarden", "-c", s.path("none.yaml"), "--state-dir", s.path("state"), "discover", n.prefix.String(), "--ports", "8554,8000"}
	if !testkit.IsLong() {
		ask = append(ask, "--timeout", "1s")
	}

	// Without a log-in nobody is told a password, and every device is looked at.
	quiet := s.start(append(ask, "-o", "json")...)
	quiet.ends(1)
	for at, o := range n.onvif {
		if c := o.Counts(); c.Accepted+c.Refused+c.Clear > 0 {
			t.Errorf("%s was told a password unasked: %+v", at, c)
		}
	}

	began := time.Now()
	asked := s.start(append(ask, "--log-in", "-o", "json")...)
	asked.ends(1)
	took := time.Since(began)
	var found discovery
	conforms(t, "discover", asked.stdout.String(), asked.stderr.String(), &found)
	// The slowest device may take six time-outs of 2 s; there are fewer devices than are asked at once.
	if most := 30 * time.Second; took > most {
		t.Errorf("it took %s, more than %s", took, most)
	}
	if found.Addresses != 254 || strings.Contains(asked.stdout.String()+asked.stderr.String(), letMeIn) {
		t.Errorf("%d addresses, or a password in the output", found.Addresses)
	}
	got := map[string][]string{}
	for _, d := range found.Devices {
		for _, stream := range d.Streams {
			got[d.Address] = append(got[d.Address], stream.Path)
			if stream.By == "brand" {
				t.Errorf("%s: %s is only guessed", d.Address, stream.Path)
			}
		}
		if d.Address == n.wrong && (d.LogIn != "refused" || d.Error == nil || d.Error.Class != "auth") {
			t.Errorf("%s has another password: %+v", d.Address, d)
		}
		if strings.Contains(d.Snapshot, "127.255.255.254") {
			t.Errorf("%s: its snapshot is at another host: %s", d.Address, d.Snapshot)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(n.paths) {
		t.Errorf("found\n%v\nwant\n%v", got, n.paths)
	}
	for at, o := range n.onvif {
		want := 0
		if at == n.wrong {
			want = 1
		}
		if c := o.Counts(); c.Refused != want || c.Clear > 0 {
			t.Errorf("%s: %+v, want %d refused", at, c, want)
		}
	}
	for at, c := range n.cameras {
		if counts := c.Counts(); at == n.wrong && counts.Logins > 0 {
			t.Errorf("%s refused the log-in over ONVIF, and was told it over RTSP: %+v", at, counts)
		}
	}

	// What is printed is a configuration, and a round over it is clean.
	draft := s.start("sh", "-c", strings.Join(append(ask, "--log-in", "-o", "yaml"), " ")+" > found.items; cat none.yaml found.items > found.yaml")
	draft.ends(0)
	s.start("camwarden", "-c", s.path("found.yaml"), "config", "check").ends(0)
	round := s.start("camwarden", "-c", s.path("found.yaml"), "--state-dir", s.path("state"), "round", "all", "--timeout", "30s", "-o", "json")
	round.ends(1) // the one with another password fails
	var report struct {
		Verdict string
		Summary struct{ Cameras, OK int }
	}
	check(t, json.Unmarshal([]byte(round.stdout.String()), &report))
	if report.Verdict != "clean" || report.Summary.OK < 19+8+6+3 || report.Summary.Cameras-report.Summary.OK > 1 {
		t.Errorf("the round: %+v\n%s", report, round.stderr.String())
	}
}

// TestDiscover_wide holds a discovery over a /22 with 60 devices and 40 mute hosts to its bounds of time and memory.
func TestDiscover_wide(t *testing.T) {
	testkit.Long(t, "measures time, and wants the processors")
	prefix := netip.PrefixFrom(camsim.DrawSubnet().Addr(), 22).Masked()
	next := prefix.Addr()
	var streams []camsim.Config
	for i := range 100 {
		next = next.Next()
		temper := camsim.Digest
		if i%5 >= 3 {
			temper = camsim.DropsSYN
		}
		streams = append(streams, camsim.Config{Temper: temper, Address: netip.AddrPortFrom(next, 8554), Username: watcher, Password: letMeIn, Path: camsim.StreamPath(1, false)})
		if temper == camsim.Digest {
			o, err := camsim.StartONVIF(camsim.ONVIFConfig{Address: netip.AddrPortFrom(next, 8000), Username: watcher, Password: letMeIn})
			check(t, err)
			t.Cleanup(o.Close)
		}
	}
	subnet, err := camsim.StartSubnet(prefix, streams)
	check(t, err)
	t.Cleanup(subnet.Close)
	dir := t.TempDir()
	binary := filepath.Join(dir, "camwarden")
	path := os.Getenv(released)
	if path == "" {
		path = program(t)
	}
	check(t, os.Symlink(path, binary))
	run := exec.Command(binary, "-c", "/dev/null", "--state-dir", filepath.Join(dir, "state"), "discover", prefix.String(), "--log-in", "--user", watcher, "-o", "json")
	run.Env = append(os.Environ(), "CAM_PASSWORD="+letMeIn)
	var out bytes.Buffer
	run.Stdout = &out
	began := time.Now()
	check(t, run.Start())
	// Not ru_maxrss: that of a child begins with what its parent had when it forked, here a test with the race detector.
	ended, peak := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			select {
			case <-ended:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, peakMemory(run.Process.Pid))
			}
		}
	}()
	err = run.Wait()
	took := time.Since(began)
	close(ended)
	memory := <-peak
	check(t, err)
	var found discovery
	check(t, json.Unmarshal(out.Bytes(), &found))
	const jobs, mute, timeout = 64, 40, 2 * time.Second
	most := time.Duration((mute+jobs-1)/jobs+1)*timeout + 2*time.Second
	t.Logf("a /22 with 60 devices and 40 mute hosts: %.2f s of at most %s, %d KiB, %.2f s of processor", took.Seconds(), most, memory, (run.ProcessState.UserTime() + run.ProcessState.SystemTime()).Seconds())
	if nmap, err := exec.LookPath("nmap"); err == nil {
		began := time.Now()
		check(t, exec.Command(nmap, "-sT", "-n", "-Pn", "-p", "80,88,443,554,2020,7447,8000,8080,8443,8554,8899,10554", prefix.String()).Run())
		t.Logf("nmap -sT -n -Pn of the same ports: %.2f s", time.Since(began).Seconds())
	}
	if len(found.Devices) != 60 || found.Addresses != 1022 {
		t.Errorf("%d devices at %d addresses", len(found.Devices), found.Addresses)
	}
	if took > most {
		t.Errorf("it took %s, more than %s", took, most)
	}
	if memory == 0 || memory > 64<<10 {
		t.Errorf("%d KiB of memory, more than 64 MiB", memory)
	}
}

// peakMemory is the most that a process had resident since its exec, in KiB; 0 when it is gone.
func peakMemory(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.Atoi(number)
	return kib
}

// TestDiscover_multicast asks a network of its own who is there, which has one device that announces itself.
func TestDiscover_multicast(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"unshare", "ip", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool, ": ", err)
		}
	}
	if err := exec.Command("unshare", "-n", "ip", "link", "set", "lo", "up", "multicast", "on").Run(); err != nil {
		t.Skip("no network namespace can be made here: ", err)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "camwarden")
	check(t, os.Symlink(program(t), binary))
	run := exec.Command("unshare", "-n", "sh", "-c", `ip link set lo up multicast on && exec python3 testdata/announce.py "$@"`, "sh",
		binary, "-c", "/dev/null", "--state-dir", filepath.Join(dir, "state"), "discover", "-o", "json")
	out, err := run.Output()
	check(t, err)
	var found discovery
	conforms(t, "discover", string(out), "", &found)
	if len(found.Devices) != 1 || found.Devices[0].Address != "127.0.0.1" || found.Addresses != 1 {
		t.Errorf("%s", out)
	}
}

// lookAround runs discover with a state of its own, and at most so many open files.
func lookAround(t *testing.T, files int, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "camwarden")
	check(t, os.Symlink(program(t), binary))
	ask := append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, files), "sh", binary, "-c", "/dev/null", "--state-dir", filepath.Join(dir, "state"), "discover"}, args...)
	run := exec.CommandContext(t.Context(), "sh", ask...)
	run.Env = append(os.Environ(), "CAM_PASSWORD="+letMeIn)
	var out, said strings.Builder
	run.Stdout, run.Stderr = &out, &said
	if err := run.Run(); run.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), said.String(), run.ProcessState.ExitCode()
}

// What could not be looked at is said where the configuration is printed too: on stderr, and in it.
func TestDiscover_unseenInDraft(t *testing.T) {
	t.Parallel()
	prefix := netip.PrefixFrom(camsim.DrawSubnet().Addr(), 26)
	stdout, stderr, code := lookAround(t, 40, prefix.String(), "-j", "64", "--timeout", "1s", "-o", "yaml")
	if code != 1 || !strings.Contains(stderr, "could not look at "+prefix.Addr().Next().String()[:6]) {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	comments, list, _ := strings.Cut(stdout, "cameras:")
	for line := range strings.Lines(comments) {
		if !strings.HasPrefix(line, "# ") {
			t.Errorf("%q is no comment", line)
		}
	}
	if !strings.Contains(comments, "\n# could not look at ") || list != " []\n" {
		t.Errorf("the draft is\n%s", stdout)
	}
}

// Who has given a log-in is not advised to give one.
func TestDiscover_adviceOfLogIn(t *testing.T) {
	t.Parallel()
	addr := camsim.DrawSubnet().Addr().Next()
	sim, err := camsim.Start(camsim.Config{Temper: camsim.Digest, Address: netip.AddrPortFrom(addr, 8554), Username: watcher, Password: letMeIn})
	check(t, err)
	t.Cleanup(sim.Close)
	for _, given := range [][]string{nil, {"--log-in", "--user", watcher}} {
		stdout, stderr, code := lookAround(t, 256, append([]string{addr.String(), "--ports", "8554"}, given...)...)
		advised := strings.Contains(stdout+stderr, "with a log-in they say more")
		if code != 0 || !strings.Contains(stdout, "not-tried") || advised != (given == nil) {
			t.Errorf("%v: exit %d\n%s%s", given, code, stdout, stderr)
		}
	}
	// Nor does the draft leave out in silence what nobody has told.
	if stdout, stderr, _ := lookAround(t, 256, addr.String(), "--ports", "8554", "-o", "yaml"); !strings.Contains(stderr, "path is not known") || !strings.Contains(stdout, "path is not known") {
		t.Errorf("%s%s", stdout, stderr)
	}
}
