package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// nobody is an ordinary user: no privilege, and no name that the tests need.
const nobody = 65534

// site is a subnet of simulated cameras, a configuration for it, a state directory, and a mark: all that a test of the whole
// program needs. What a camwarden of the site starts carries the mark, so that "nothing is left" is a question to /proc.
type site struct {
	t      *testing.T
	subnet *camsim.Subnet
	uid    int
	dir    string // everything of the site is below it
	mark   string // CAMWARDEN_TEST_RUN of every process
	env    []string
	limit  int    // max_connections of every camera
	ffmpeg string // ffmpeg.path
	binary string // the camwarden of the site

	sources string // of the configuration; default ffmpeg
	more    string // lines of the configuration
	relay   relay  // the go2rtc of the site, if it has one
}

// option changes a site before its configuration is written.
type option func(*site)

func asUser(uid int) option { return func(s *site) { s.uid = uid } }

// asReleased is for tests that start camwarden so often, or beside so much, that the race detector would take most of their
// time: it makes a start four times as dear. The others start what program returns.
func asReleased(s *site) { s.binary = cmp.Or(os.Getenv(released), s.binary) }

// program is the camwarden that tests start: this test binary, with the race detector, in a long run, else the one that is
// built beside it as it is released.
func program(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(released); path != "" && !testkit.IsLong() {
		return path
	}
	self, err := os.Executable()
	check(t, err)
	return self
}

// byRTSP is for tests that want a picture and do not care how: the source ffmpeg, which a site has for its hung children,
// starts three programs where this one starts one.
func byRTSP(s *site) { s.sources = "rtsp, ffmpeg" }

func limitedTo(limit int) option      { return func(s *site) { s.limit = limit } }
func withFFmpeg(script string) option { return func(s *site) { s.ffmpeg = s.script("ffmpeg", script) } }

// users are those on whose behalf a test runs in which privilege decides: root and an ordinary user, or just ourselves when
// we are not root.
func users() []int {
	if uid := os.Getuid(); uid != 0 {
		return []int{uid}
	}
	return []int{0, nobody}
}

// eitherUser are those on whose behalf the i-th case of a test runs in which privilege decides nothing: both in a long run,
// else the one or the other.
func eitherUser(i int) []int {
	all := users()
	if testkit.IsLong() {
		return all
	}
	return all[i%len(all):][:1]
}

// newSite starts the cameras, named after their tempers unless they have names, and writes cameras.yaml.
// In it, "office" is all of them and "well" those that give a picture.
func newSite(t *testing.T, cameras []camsim.Config, options ...option) *site {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("needs ffmpeg: ", err)
	}
	// Under nohup we ignore SIGHUP, and so would every camwarden that we start. What is listened to is back to its
	// default in a child (execve(2)).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	temp := t.TempDir()
	s := &site{t: t, uid: os.Getuid(), binary: program(t), dir: filepath.Join(temp, "site"), limit: 2, ffmpeg: "ffmpeg"}
	s.mark = cmp.Or(os.Getenv("CAMWARDEN_TEST_RUN"), "by-hand-"+strconv.Itoa(os.Getpid())) + "/" + strings.ReplaceAll(t.Name(), "/", "+") + "-" + filepath.Base(filepath.Dir(temp))
	check(t, os.Chmod(filepath.Dir(temp), 0o755)) // t.TempDir made it for us alone
	check(t, os.MkdirAll(filepath.Join(s.dir, "bin"), 0o755))
	for i, c := range cameras {
		cameras[i].Name = cmp.Or(c.Name, string(c.Temper))
	}
	subnet, err := camsim.StartSubnet(camsim.DrawSubnet(), cameras)
	check(t, err)
	t.Cleanup(subnet.Close)
	s.subnet = subnet
	for _, change := range options {
		change(s)
	}
	s.install()
	s.configure()
	check(t, filepath.Walk(s.dir, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Lchown(path, s.uid, s.uid))
	}))
	s.env = []string{"PATH=" + s.path("bin") + ":" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir, "CAMWARDEN_TEST_RUN=" + s.mark, hurry}
	t.Cleanup(s.endAll)
	return s
}

// hurry keeps a program with the race detector from waiting a second before it ends, for races that might still come.
const hurry = "GORACE=atexit_sleep_ms=0"

// install puts the camwarden of the site into its bin. If that is this test binary, it is main and nothing else under that name.
func (s *site) install() {
	s.t.Helper()
	if os.Link(s.binary, s.path("bin", "camwarden")) == nil {
		return
	}
	from, err := os.Open(s.binary)
	check(s.t, err)
	defer from.Close()
	to, err := os.OpenFile(s.path("bin", "camwarden"), os.O_WRONLY|os.O_CREATE, 0o755)
	check(s.t, err)
	_, err = io.Copy(to, from)
	check(s.t, errors.Join(err, to.Close()))
}

func (s *site) configure() {
	s.t.Helper()
	var all, well []string
	var list strings.Builder
	for _, c := range s.subnet.Cameras {
		all = append(all, c.Name())
		// A camera that keeps everybody waiting need not be waited for; what answers may take its time on a busy host.
		timeout := "1m"
		switch c.Temper() {
		case camsim.Healthy, camsim.Digest, camsim.Basic, camsim.LimitedSlots:
			well = append(well, c.Name())
		case camsim.DropsSYN, camsim.MuteAtConnect, camsim.MuteAtOptions, camsim.MuteAtDescribe, camsim.MuteAtSetup, camsim.MuteAtPlay,
			camsim.SilentAfterPlay, camsim.RTCPOnly, camsim.LongGOP, camsim.LateKeyFrame, camsim.GarbageMedia,
			camsim.ClosesAtPlay: // which go2rtc dials again and again
			timeout = "1500ms"
		}
		at, config := c.Address(), c.Config()
		fmt.Fprintf(&list, "  - {id: %s, host: %s, port: %d, path: %s, timeout: %s", c.Name(), at.Addr(), at.Port(), config.Path, timeout)
		if web := c.WebURL(); web != "" {
			fmt.Fprintf(&list, ", snapshot: %q", web)
		}
		if config.Username != "" {
			file := s.path(c.Name() + ".password")
			check(s.t, os.WriteFile(file, []byte(config.Password+"\n"), 0o600))
			fmt.Fprintf(&list, ", username: %q, password_file: %s", config.Username, file)
		}
		fmt.Fprintln(&list, "}")
	}
	text := fmt.Sprintf("sources: [%s]\n%sffmpeg: {path: %q}\ndefaults: {session_timeout: 500ms, max_connections: %d}\nsubnets:\n  office: [%s]\n",
		cmp.Or(s.sources, "ffmpeg"), s.more, s.ffmpeg, s.limit, strings.Join(all, ", "))
	if len(well) > 0 {
		text += fmt.Sprintf("  well: [%s]\n", strings.Join(well, ", "))
	}
	check(s.t, os.WriteFile(s.path("cameras.yaml"), []byte(text+"cameras:\n"+list.String()), 0o600))
}

func (s *site) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// script writes an executable shell script into the site's bin and returns its path.
func (s *site) script(name, text string) string {
	s.t.Helper()
	path := s.path("bin", "stand-in-"+name)
	check(s.t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
	return path
}

// run is one camwarden, or a shell with camwardens in it, as a process of its own.
type run struct {
	t              *testing.T
	cmd            *exec.Cmd
	id             proc.Identity
	stdout, stderr *lockedBuffer
}

// start starts a command line as the site's user, in its folder and environment.
func (s *site) start(args ...string) *run {
	s.t.Helper()
	return s.startWith(nil, args...)
}

// startWith lets the test change the command before it starts.
func (s *site) startWith(change func(*exec.Cmd), args ...string) *run {
	s.t.Helper()
	path := s.path("bin", args[0])
	if args[0] != "camwarden" {
		found, err := exec.LookPath(args[0])
		check(s.t, err)
		path = found
	}
	r := &run{t: s.t, cmd: exec.Command(path, args[1:]...), stdout: &lockedBuffer{}, stderr: &lockedBuffer{}}
	r.cmd.Dir, r.cmd.Env = s.dir, s.env
	r.cmd.Stdout, r.cmd.Stderr = r.stdout, r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.uid != os.Getuid() {
		r.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid)}
	}
	// A child that outlives camwarden and holds its output must fail the test, not hang it.
	r.cmd.WaitDelay = 30 * time.Second
	if change != nil {
		change(r.cmd)
	}
	check(s.t, r.cmd.Start())
	id, err := proc.Default().Identify(r.cmd.Process.Pid)
	check(s.t, err) // a zombie at the earliest: only wait collects it
	r.id = id
	return r
}

// round is the command line of one round over the site's configuration.
func (s *site) round(subnet string, more ...string) []string {
	return append([]string{"camwarden", "round", subnet, "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json"}, more...)
}

func (r *run) pid() int { return r.cmd.Process.Pid }

func (r *run) signal(signal syscall.Signal) {
	r.t.Helper()
	check(r.t, r.cmd.Process.Signal(signal))
}

// end waits for the end and returns the exit code, or -1 when a signal ended it.
func (r *run) end() int {
	r.t.Helper()
	bound := time.AfterFunc(5*time.Minute, func() { _ = r.cmd.Process.Kill() })
	defer bound.Stop()
	var exit *exec.ExitError
	if err := r.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("%s: %v\n%s", r.cmd, err, r.stderr)
	}
	return r.cmd.ProcessState.ExitCode()
}

// ends demands an exit code.
func (r *run) ends(code int) {
	r.t.Helper()
	if got := r.end(); got != code {
		r.t.Errorf("%s ended with %d (%s), want %d\nstdout: %s\nstderr: %s", r.cmd, got, r.cmd.ProcessState, code, r.stdout, r.stderr)
	}
}

// report is what the tests read of a round's document.
type report struct {
	Schema, Run, Verdict, Signal string
	Summary                      struct{ Cameras, OK, Failed, Skipped int }
	Visits                       []visit
	Recovered, Leftovers         []leftover
	Streams                      struct {
		Registered, Removed int
		Kept                []struct{ Name, Why string }
	}
	Blind   []struct{ Where, Why string }
	NotKept string `json:"not_kept"`
}

type visit struct {
	Camera, Address, File, Source string
	OK, Skipped                   bool
	Error                         *failure
	Attempts                      []struct {
		Source string
		OK     bool
		Error  *failure
	}
}

type leftover struct{ Kind, Subject, Camera, Why, Outcome string }

type failure struct{ Class, Step, Message, Hint string }

func (r report) visit(camera string) visit {
	i := slices.IndexFunc(r.Visits, func(v visit) bool { return v.Camera == camera })
	if i < 0 {
		return visit{Error: &failure{Class: "not in the document"}}
	}
	return r.Visits[i]
}

// class is the class of a visit's error, "" for none.
func (v visit) class() string {
	if v.Error == nil {
		return ""
	}
	return v.Error.Class
}

// document reads the one document on stdout: whole, as its schema says, and nothing beside it.
func (r *run) document() report {
	r.t.Helper()
	return readReport(r.t, r.stdout.String(), r.stderr.String())
}

func readReport(t *testing.T, stdout, stderr string) report {
	t.Helper()
	var doc report
	conforms(t, "round", stdout, stderr, &doc)
	return doc
}

// failed reads the one error document that stderr holds, and demands that nothing stands on stdout.
func (r *run) failed() failure {
	r.t.Helper()
	if r.stdout.String() != "" {
		r.t.Errorf("%s wrote to stdout: %s", r.cmd, r.stdout)
	}
	var last string
	for line := range strings.Lines(r.stderr.String()) {
		if strings.HasPrefix(line, "{") {
			last = line
		}
	}
	var doc struct{ Error failure }
	conforms(r.t, "error", last, r.stderr.String(), &doc)
	return doc.Error
}

func conforms(t *testing.T, schema, text, stderr string, into any) {
	t.Helper()
	compiled, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "pkg", "schema", schema+".json"))
	check(t, err)
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = compiled.Validate(value)
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), into)
	}
	if err != nil {
		t.Fatalf("not a whole %s document: %v\nit is: %q\nstderr: %s", schema, err, text, stderr)
	}
}

// endAll ends what a failed test may have left. Only processes that carry the site's mark can be meant.
func (s *site) endAll() {
	for _, text := range s.alive() {
		pid, _ := strconv.Atoi(strings.Fields(text)[0])
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// within is the time in which what should come about at once must have, on a host that is busy with other things.
const within = time.Minute

// eventually asks until the answer is nil, and fails with the last one.
func eventually(t *testing.T, ask func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := ask()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > within {
			t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer may be read while a process still writes.
type lockedBuffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}
