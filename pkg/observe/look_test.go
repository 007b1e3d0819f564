package observe_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
)

// table is a picture of a process table: files by their path, links as "-> target".
type table map[string]string

func (files table) at(t *testing.T) proc.FS {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(content, "-> "); ok && err == nil {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return proc.FS{Root: root}
}

// with adds a process to the table.
func (files table) with(pid, parent int, name, state, cmdline string, more ...string) table {
	at := strconv.Itoa(pid)
	files[at+"/stat"] = at + " (" + name + ") " + state + " " + strconv.Itoa(parent) + " 1 1 0 -1 0 0 0 0 0 7 3 0 0 20 0 1 0 " + strconv.Itoa(1000+pid) + " 0 256 0\n"
	files[at+"/cmdline"] = strings.ReplaceAll(cmdline, " ", "\x00") + "\x00"
	files[at+"/status"] = "Name:\t" + name + "\nUid:\t0\t0\t0\t0\nNSpid:\t" + at + "\n"
	files[at+"/environ"] = "PATH=/bin\x00"
	files[at+"/fd/0"] = "-> /dev/null"
	files[at+"/net/udp"] = "head\n"
	for i := 0; i+1 < len(more); i += 2 {
		files[at+"/"+more[i]] = more[i+1]
	}
	return files
}

// tcp is a table of connections, "remote inode queue state" in hex as the kernel writes it.
func tcp(rows ...string) string {
	out := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	for i, row := range rows {
		f := strings.Fields(row)
		out += strings.Join([]string{strconv.Itoa(i) + ":", "F67DA8C0:9C40", f[0], f[3], "00000000:" + f[2], "00:00000000", "00000000", "0", "0", f[1], "1"}, " ") + "\n"
	}
	return out
}

const (
	cam19 = "137DA8C0:022A" // 192.168.125.19:554
	cam12 = "0C7DA8C0:022A"
	cam45 = "2D7DA8C0:1F90" // port 8080
)

func base() table {
	return table{"sys/kernel/random/boot_id": "0b0b\n", "sys/kernel/hostname": "is22\n", "self": "-> 2", "2/ns/pid": "-> pid:[77]"}.
		with(1, 0, "init", "S", "init").with(2, 1, "camwarden", "R", "camwarden doctor").with(7, 1, "camserver", "S", "camserver")
}

func ffmpeg() observe.Scope { return observe.Scope{Programs: []string{"ffmpeg", "ffprobe"}} }

func find(t *testing.T, s observe.Observation, pid int) observe.Process {
	t.Helper()
	i := slices.IndexFunc(s.Processes, func(p observe.Process) bool { return p.ID.PID == pid })
	if i < 0 {
		t.Fatalf("process %d is not in the observation: %+v", pid, s.Processes)
	}
	return s.Processes[i]
}

func TestALookPutsTogetherWhatTheTablesSay(t *testing.T) {
	t.Parallel()
	files := base().
		with(10, 7, "ffmpeg", "S", "ffmpeg -rtsp_transport tcp -i rtsp://admin:S3cret@192.168.125.19/s -frames:v 1 out.jpg", "fd/3", "-> socket:[100]", "exe", "-> /usr/bin/ffmpeg").
		with(11, 7, "ffmpeg", "S", "ffmpeg -f concat -i pipe:0 -frames:v 1 -", "fd/3", "-> socket:[101]").
		with(12, 7, "ffmpeg", "S", "ffmpeg -i in.mp4 out.mkv").
		with(13, 1, "go2rtc", "S", "go2rtc", "fd/9", "-> socket:[102]").
		with(14, 13, "sh", "S", "sh").
		with(15, 14, "ffmpeg", "S", "ffmpeg -i rtsp://192.168.125.12/s -c copy out.mp4").
		with(16, 1, "frigate", "S", "frigate", "fd/3", "-> socket:[103]").
		with(17, 7, "ffmpeg", "Z", "").
		with(18, 7, "ffmpeg", "S", "bash -c x -i rtsp://192.168.125.12/s -frames:v 1 o.jpg", "exe", "-> /usr/bin/bash").
		with(19, 1, "innocent", "S", "innocent", "fd/3", "-> socket:[900]")
	files["net/tcp"] = tcp(cam19+" 100 0 01", cam19+" 101 0 01", cam12+" 102 400 01", cam12+" 103 0 02", cam12+" 0 0 06", cam45+" 900 0 01", cam19+" 555 0 01")
	s := observe.Look(context.Background(), nil, files.at(t), ffmpeg())

	if s.Host != "is22" || s.Table != 13 || s.Unsighted || len(s.Blind) != 0 || s.Method != proc.Procfs {
		t.Errorf("%+v", s)
	}
	p := find(t, s, 10)
	if p.Shape != cmdline.OneFrame || p.Target() != "192.168.125.19:554" || p.Name != "ffmpeg" || !p.Configured || p.Disguised || p.FDs != 2 || !p.Secret ||
		p.CPUMS != 100 || p.Memory != int64(256*os.Getpagesize()) || p.Datagrams != 0 || strings.Contains(p.Command, "S3cret") {
		t.Errorf("%+v", p)
	}
	if len(p.Parents) != 2 || p.Parents[0].Name != "camserver" || p.Parents[0].PID != 7 || p.Parents[1].Name != "init" {
		t.Errorf("parents %+v", p.Parents)
	}
	if p := find(t, s, 11); p.Shape != cmdline.OneFrame || p.Target() != "192.168.125.19:554" {
		t.Errorf("the URL on stdin: %+v", p)
	}
	if p := find(t, s, 12); p.Shape != cmdline.NoCamera || p.Target() != "" {
		t.Errorf("a transcode: %+v", p)
	}
	if p := find(t, s, 13); p.Configured || p.Target() != "192.168.125.12:554" {
		t.Errorf("go2rtc: %+v", p)
	}
	if p := find(t, s, 15); !p.Go2rtc || p.Shape != cmdline.Streaming {
		t.Errorf("below go2rtc: %+v", p)
	}
	if p := find(t, s, 16); p.Configured || p.Shape != cmdline.Unknown || p.Target() != "192.168.125.12:554" {
		t.Errorf("another holder: %+v", p)
	}
	if p := find(t, s, 17); p.State != "Z" || p.Shape != cmdline.NoCamera || p.Parents[0].Name != "camserver" {
		t.Errorf("a zombie: %+v", p)
	}
	if p := find(t, s, 18); !p.Disguised {
		t.Errorf("named only: %+v", p)
	}
	if slices.ContainsFunc(s.Processes, func(p observe.Process) bool { return p.ID.PID == 19 || p.ID.PID == 7 || p.ID.PID == 2 }) {
		t.Errorf("somebody who has nothing to do with cameras: %+v", s.Processes)
	}
	if len(s.Connections) != 6 {
		t.Errorf("%d connections: %+v", len(s.Connections), s.Connections)
	}
	var hidden, kernel int
	for _, c := range s.Connections {
		if c.HiddenOwner() {
			hidden++
		}
		if !c.Held {
			kernel++
		}
		if c.SilentMS != nil {
			t.Errorf("a picture of /proc/net/tcp tells silence: %+v", c)
		}
	}
	if hidden != 1 || kernel != 1 {
		t.Errorf("%d hidden, %d of the kernel alone", hidden, kernel)
	}
	if held := slices.Collect(s.Held(13)); len(held) != 1 || held[0].ReceiveQueue != 0x400 {
		t.Errorf("%+v", held)
	}
}

func TestLook_camwardenInAContainerIsNotDead(t *testing.T) {
	t.Parallel()
	mark := ledger.Mark{
		Lease: "01KE7Z3M8Q0000000000000000", Owner: proc.Identity{BootID: "0b0b", PID: 7000, Start: 1},
		Address: netip.MustParseAddrPort("192.168.125.19:554"),
	}
	environ := "PATH=/bin\x00" + ledger.MarkVariable + "=" + mark.String() + "\x00"
	files := base().
		with(10, 7, "ffmpeg", "S", "ffmpeg -i rtsp://192.168.125.19/s -frames:v 1 out.jpg", "environ", environ).
		with(11, 7, "ffmpeg", "S", "ffmpeg -i rtsp://192.168.125.19/s -frames:v 1 out.jpg", "environ", environ,
			"status", "Name:\tffmpeg\nUid:\t0\t0\t0\t0\nNSpid:\t11\t8\n")
	s := observe.Look(context.Background(), nil, files.at(t), ffmpeg())
	if p := find(t, s, 10); p.Owner == nil || p.Owner.Presence != proc.Gone {
		t.Errorf("here its camwarden is dead: %+v", p.Owner)
	}
	if p := find(t, s, 11); p.Owner == nil || p.Owner.Presence != proc.Unknown || !p.Container {
		t.Errorf("in a container nobody knows: %+v", p.Owner)
	}
}

func TestLook_hiddenInputIsNotNobody(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{"ffmpeg -f concat -i pipe:0 -frames:v 1 -": true, "ffmpeg -f concat -i pipe:0 -c copy rec.mkv": false, "ffmpeg -i in.mp4 out.mkv": false} {
		files := base().with(10, 7, "ffmpeg", "S", line)
		delete(files, "10/fd/0") // what another user's process has open
		files["net/tcp"] = tcp(cam19 + " 100 0 01")
		for _, limit := range []string{"192.168.125.19/32", "0.0.0.0/0"} {
			terms := ffmpeg()
			terms.Limits.Prefixes = []netip.Prefix{netip.MustParsePrefix(limit)}
			if s := observe.Look(context.Background(), nil, files.at(t), terms); s.Hides(time.Second) != want || s.Hides(1<<62) {
				t.Errorf("%s within %s: hides one of %d ms", line, limit, s.HidesSince)
			}
		}
	}
}

func TestAServerThatIsGivenAStreamIsNoSilentCamera(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]cmdline.Shape{
		"ffmpeg -i http://films.example.org/a -c copy -f rtsp rtsp://media.lan/gate":   cmdline.NoCamera,
		"ffmpeg -i http://films.example.org/a -c copy -f rtsp rtsp://192.168.125.19/x": cmdline.NoCamera,
		"ffmpeg -i rtsp://gate.lan/s -c copy -f rtsp rtsp://media.lan/gate":            cmdline.Streaming,
		"ffmpeg -i - -frames:v 1 http://upload.lan/now.jpg":                            cmdline.OneFrame,
	} {
		files := base().with(10, 7, "ffmpeg", "S", line, "fd/3", "-> socket:[100]")
		files["net/tcp"] = tcp(cam19 + " 100 0 01")
		if p := find(t, observe.Look(context.Background(), nil, files.at(t), ffmpeg()), 10); p.Shape != want {
			t.Errorf("%s\n is %s, want %s", line, p.Shape, want)
		}
	}
}

func TestALookIsLimitedToWhatTheLimitsCover(t *testing.T) {
	t.Parallel()
	files := base().
		with(10, 7, "ffmpeg", "S", "ffmpeg -i rtsp://192.168.125.19/s -frames:v 1 out.jpg", "fd/3", "-> socket:[100]").
		with(11, 7, "ffmpeg", "S", "ffmpeg -i rtsp://192.168.125.12/s -frames:v 1 out.jpg", "fd/3", "-> socket:[101]").
		with(12, 7, "ffmpeg", "S", "ffmpeg -i in.mp4 out.mkv").
		with(13, 7, "ffmpeg", "S", "ffmpeg -i - -frames:v 1 -", "fd/3", "-> socket:[102]")
	files["net/tcp"] = tcp(cam19+" 100 0 01", cam12+" 101 0 01", cam45+" 102 0 01")
	fs := files.at(t)
	for text, want := range map[string][]int{"192.168.125.19": {10}, "192.168.125.0/28": {11}, "192.168.125.0/24": {10, 11, 13}, "10.0.0.0/8": nil} {
		terms := ffmpeg()
		if prefix, err := netip.ParsePrefix(text); err == nil {
			terms.Limits.Prefixes = []netip.Prefix{prefix}
		} else {
			terms.Limits.Addresses = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(text), 0)}
		}
		s := observe.Look(context.Background(), nil, fs, terms)
		var got []int
		for _, p := range s.Processes {
			got = append(got, p.ID.PID)
		}
		if !slices.Equal(got, want) || len(s.Connections) != len(want) {
			t.Errorf("%s: processes %v, want %v, and %d connections", text, got, want, len(s.Connections))
		}
	}
	// Without limits nobody says that port 8080 is a camera's. That it is near, and the only input, does.
	if s := observe.Look(context.Background(), nil, fs, ffmpeg()); find(t, s, 13).Shape != cmdline.OneFrame || len(s.Connections) != 3 {
		t.Errorf("without limits: %+v", s.Connections)
	}
	terms := ffmpeg()
	terms.Cameras = []observe.Camera{{ID: "yard", Host: "192.168.125.45", Port: 8080, Address: netip.MustParseAddrPort("192.168.125.45:8080")}}
	if s := observe.Look(context.Background(), nil, fs, terms); s.CameraOf(find(t, s, 13)) != "yard" {
		t.Errorf("with the inventory: %+v", find(t, s, 13))
	}
}

func TestLook_limitsTheStreamsToo(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := `{"version":"1.9.14"}`
		if r.URL.Path == "/api/streams" {
			answer = `{"camwarden-gate":{"producers":[{"url":"rtsp://***@192.168.125.19/s#backchannel=0#%"}]},
				"camwarden-yard":{"producers":[{"url":"rtsp://192.168.125.45:8080/s"}]},"theirs":{"producers":[{"url":"rtsp://Gate.lan/s"}]},
				"live":{"producers":[{"id":3,"url":"rtsp://x.lan/s","remote_addr":"192.168.125.19:554"}]},"exec":{"producers":[{"url":"exec:x"}]}}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	client, err := go2rtc.New(go2rtc.Options{URL: server.URL, Run: "look", Version: "1", Lock: func(context.Context) (func(), error) { return func() {}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	terms := ffmpeg()
	terms.Go2rtc, terms.Prefix = client, "camwarden-"
	terms.Cameras = []observe.Camera{{ID: "gate", Host: "gate.lan", Port: 554, Address: netip.MustParseAddrPort("192.168.125.19:554")}}
	fs := base().at(t)
	for limit, want := range map[string]string{"192.168.125.19": "camwarden-gate live theirs", "192.168.125.45": "camwarden-yard", "10.0.0.1": "", "": "camwarden-gate camwarden-yard exec live theirs"} {
		if terms.Limits = (observe.Limits{}); limit != "" {
			terms.Limits.Addresses = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(limit), 0)}
		}
		s := observe.Look(t.Context(), nil, fs, terms)
		var names []string
		for _, stream := range s.Go2rtc.Streams {
			names = append(names, stream.Name)
		}
		if got := strings.Join(names, " "); got != want || s.Go2rtc.Why != "" {
			t.Errorf("%q: %q, want %q; %s", limit, got, want, s.Go2rtc.Why)
		}
	}
}

func TestLook_unreadIsBlindAndNoPanic(t *testing.T) {
	t.Parallel()
	whole := base().with(10, 7, "ffmpeg", "S", "ffmpeg -i rtsp://192.168.125.19/s -frames:v 1 out.jpg", "fd/3", "-> socket:[100]")
	whole["net/tcp"] = tcp(cam19 + " 100 0 01")
	for name, c := range map[string]struct {
		spoil func(table)
		where string // that is blind; empty: nothing is
		seen  bool   // the process is seen all the same
	}{
		"a torn stat":                {func(f table) { f["10/stat"] = "10 (ffmp" }, "process table", false},
		"a torn table of sockets":    {func(f table) { f["net/tcp"] = "head\n 0: half" }, "connections", true},
		"no table of sockets":        {func(f table) { delete(f, "net/tcp") }, "connections", true},
		"an empty table of sockets":  {func(f table) { f["net/tcp"] = "" }, "", true},
		"a torn status":              {func(f table) { f["10/status"] = "Uid:" }, "", true},
		"an empty command line":      {func(f table) { f["10/cmdline"] = "" }, "", true},
		"a command line of rubbish":  {func(f table) { f["10/cmdline"] = "\x00\xff\x00-i\x00\x00\x00" }, "", true},
		"no descriptors":             {func(f table) { delete(f, "10/fd/0"); delete(f, "10/fd/3") }, "", true},
		"a descriptor of rubbish":    {func(f table) { f["10/fd/3"] = "-> socket:[x" }, "", true},
		"a torn table of datagrams":  {func(f table) { f["10/net/udp"] = "head\nx" }, "", true},
		"no boot id":                 {func(f table) { delete(f, "sys/kernel/random/boot_id") }, "own process", true},
		"no process of our own":      {func(f table) { delete(f, "self") }, "own process", true},
		"parents that go in circles": {func(f table) { f["7/stat"] = strings.Replace(f["7/stat"], "S 1 ", "S 10 ", 1) }, "", true},
		"a process that has just ended": {func(f table) {
			for path := range f {
				if strings.HasPrefix(path, "10/") && path != "10/stat" {
					delete(f, path)
				}
			}
		}, "", false},
	} {
		files := table{}
		for path, content := range whole {
			files[path] = content
		}
		c.spoil(files)
		s := observe.Look(context.Background(), nil, files.at(t), ffmpeg())
		blind := slices.ContainsFunc(s.Blind, func(b observe.Blind) bool { return b.Where == c.where && b.Why != "" })
		if blind != (c.where != "") || c.where == "" && (len(s.Blind) > 0 || s.Unsighted) || c.where != "" && !s.Unsighted {
			t.Errorf("%s: blind %+v, unsighted %v, want %q", name, s.Blind, s.Unsighted, c.where)
		}
		if seen := slices.ContainsFunc(s.Processes, func(p observe.Process) bool { return p.ID.PID == 10 }); seen != c.seen {
			t.Errorf("%s: seen %v", name, seen)
		}
	}
	if s := observe.Look(context.Background(), nil, proc.FS{Root: filepath.Join(t.TempDir(), "none")}, ffmpeg()); !s.Unsighted || len(s.Blind) < 2 {
		t.Errorf("no process table at all: %+v", s.Blind)
	}
}

func TestWhatIsSavedIsWhatIsLoaded(t *testing.T) {
	t.Parallel()
	files := base().with(10, 7, "ffmpeg", "S", "ffmpeg -i rtsp://admin:S3cret@192.168.125.19/s -headers X:S3cret -frames:v 1 out.jpg", "fd/3", "-> socket:[100]")
	files["net/tcp"] = tcp(cam19 + " 100 0 01")
	s := observe.Look(context.Background(), nil, files.at(t), ffmpeg())
	var saved bytes.Buffer
	if err := s.Save(&saved); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(saved.String(), "S3cret") {
		t.Errorf("a secret was saved: %s", &saved)
	}
	got, err := observe.Load(&saved)
	s.Self = proc.Identity{} // which is not saved
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%v\n%+v\n%+v", err, got, s)
	}
	for _, text := range []string{"", "{}", "[]", `{"schema":"camwarden.observation/2"}`, `{"schema":"camwarden.observation/1"}`, `{"schema":1}`} {
		if _, err := observe.Load(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken for an observation", text)
		}
	}
}

func TestThisHostIsLookedAt(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.11.7.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	at := netip.MustParseAddrPort(listener.Addr().String())
	terms := ffmpeg()
	terms.Limits.Addresses = []netip.AddrPort{at}
	s := observe.Look(t.Context(), nil, proc.Default(), terms)
	if len(s.Connections) != 1 || s.Connections[0].PID != os.Getpid() || !s.Connections[0].Takes() || len(s.Processes) != 0 {
		t.Errorf("%+v %+v, blind %+v", s.Connections, s.Processes, s.Blind)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(`{"schema":"camwarden.observation/1","taken_at":"2026-01-05T22:00:00Z","processes":[{"targets":[{}]}],"connections":[{"pid":1}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := observe.Load(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, p := range s.Processes {
			s.CameraOf(p)
			s.Holds(p.ID.PID, observe.Connection.Takes)
		}
		s.Hides(0)
	})
}

// A port of HTTP is no camera's by itself: only the address that a capture reads from is one, and then whoever speaks to it counts.
func TestLook_camerasBesideThePorts(t *testing.T) {
	t.Parallel()
	const http, web, other = "2D7DA8C0:0050", "2E7DA8C0:0050", "2F7DA8C0:1F90" // 192.168.125.45:80, .46:80, .47:8080
	files := base().
		with(10, 7, "ffmpeg", "S", "ffmpeg -i http://192.168.125.45/mjpg -frames:v 1 a.jpg", "fd/3", "-> socket:[100]").
		with(11, 7, "firefox", "S", "firefox", "fd/3", "-> socket:[101]").
		with(12, 7, "curl", "S", "curl http://192.168.125.45/mjpg", "fd/3", "-> socket:[102]").
		with(13, 7, "ffmpeg", "S", "ffmpeg -f concat -i list.txt -frames:v 1 b.jpg", "fd/3", "-> socket:[103]").
		with(14, 7, "ffmpeg", "S", "ffmpeg -i - -frames:v 1 ftp://nas.lan/c.jpg", "fd/3", "-> socket:[104]")
	files["net/tcp"] = tcp(http+" 100 0 01", web+" 101 0 01", http+" 102 0 01", other+" 103 0 01", web+" 104 0 01")
	s := observe.Look(context.Background(), nil, files.at(t), ffmpeg())
	holders := map[int]string{}
	for _, c := range s.Connections {
		holders[c.PID] = c.Remote.String()
	}
	want := map[int]string{10: "192.168.125.45:80", 12: "192.168.125.45:80", 13: "192.168.125.47:8080"}
	if !maps.Equal(holders, want) {
		t.Errorf("connections of %v, want %v", holders, want)
	}
	for pid, shape := range map[int]cmdline.Shape{10: cmdline.OneFrame, 12: cmdline.Unknown, 13: cmdline.OneFrame, 14: cmdline.NoCamera} {
		if p := find(t, s, pid); p.Shape != shape || p.Configured != (pid != 12) {
			t.Errorf("%d is %s, configured %v", pid, p.Shape, p.Configured)
		}
	}
	for _, p := range s.Processes {
		if p.ID.PID == 11 {
			t.Error("a browser is listed")
		}
	}
}

func TestLook_childrenOfGo2rtc(t *testing.T) {
	t.Parallel()
	for parent, want := range map[string]bool{"go2rtc": true, "go2rtc_linux_am": true, "go2rtc-1.9.14": true, "go2rtc-watchdog": false, "go2rtc_monitor": false, "mygo2rtc": false} {
		files := base().with(9, 1, parent, "S", parent).
			with(10, 9, "ffmpeg", "S", "ffmpeg -user_agent go2rtc/ffmpeg -i rtsp://192.168.125.19/s -frames:v 1 a.jpg", "fd/3", "-> socket:[100]")
		files["net/tcp"] = tcp(cam19 + " 100 0 01")
		if p := find(t, observe.Look(context.Background(), nil, files.at(t), ffmpeg()), 10); p.Go2rtc != want {
			t.Errorf("below %s: %v", parent, p.Go2rtc)
		}
	}
}
