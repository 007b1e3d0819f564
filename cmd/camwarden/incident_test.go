package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/proc"
)

// examination is what the tests read of a camwarden.doctor/1.
type examination struct {
	Status    string
	Processes struct {
		Total, Overdue, Zombies int
		List                    []examined
	}
	Connections struct{ Total int }
	Cameras     []struct {
		Camera, Address, State, Model string
		Connections, Limit, Processes int
		LimitAssumed                  bool `json:"limit_assumed"`
		Server                        bool
		OldestAgeMS                   int64  `json:"oldest_age_ms"`
		RTTMS                         *int64 `json:"rtt_ms"`
		Error                         *failure
	}
	Timeline []struct {
		Event, Camera string
		PID           int
	}
	Findings []struct{ Code, Severity, Subject, Summary, Evidence, Remedy string }
	Blind    []struct{ Where, Why string }
	Commands []string
}

// examined is one process of it.
type examined struct {
	PID                                   int
	Camera, Target, Shape, Owner, Verdict string
	Command, Why, State, PIDNS            string
	Parent                                struct {
		Name string
		PID  int
	}
	AgeMS int64 `json:"age_ms"`
}

// codes are the findings, each once, in their order.
func (e examination) codes() []string {
	var codes []string
	for _, f := range e.Findings {
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// camserver is the running fault: see testdata/camserver.
type camserver struct {
	cmd    *exec.Cmd
	config string
	subnet string
	pids   []int
}

// startCamserver has it leak, as that user. It is built already.
func startCamserver(t *testing.T, w *workshop, built string, uid int) *camserver {
	t.Helper()
	check(t, os.Chmod(filepath.Dir(w.dir), 0o755))
	check(t, os.Chown(w.dir, uid, uid))
	check(t, os.Chmod(w.dir, 0o755))
	named := w.path("camserver") // the name that doctor must tell
	check(t, os.Link(built, named))
	c := &camserver{cmd: w.command(named, w.path("config.yaml")), config: w.path("config.yaml")}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	stdin, err := c.cmd.StdinPipe()
	check(t, err)
	stdout, err := c.cmd.StdoutPipe()
	check(t, err)
	c.cmd.Stderr = os.Stderr
	check(t, c.cmd.Start())
	t.Cleanup(func() {
		stdin.Close() // it ends what is left of its children
		_ = c.cmd.Wait()
	})
	var ready struct {
		Subnet string
		PIDs   []int
	}
	listed := bufio.NewReader(stdout)
	if err := json.NewDecoder(listed).Decode(&ready); err != nil {
		t.Fatalf("camserver did not start: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, listed) }()
	c.subnet, c.pids = ready.Subnet, ready.PIDs
	return c
}

// TestIncident_replayed is the report, from its first look to the last: 25 hung captures of one camserver, 22 of them at
// one Tapo, as root and as an ordinary user.
func TestIncident_replayed(t *testing.T) {
	t.Parallel()
	built := newWorkshop(t).build("testdata/camserver")
	self := program(t)
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t)
			server := startCamserver(t, w, built, uid)
			camwarden := w.path("camwarden") // a test binary is main under that name
			check(t, os.Link(self, camwarden))
			run := func(code int, schema string, into any, args ...string) string {
				t.Helper()
				cmd := w.command(camwarden, append(args, server.subnet, "-c", server.config, "--state-dir", w.path("state"))...)
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
				var stdout, stderr strings.Builder
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				if got := cmd.ProcessState.ExitCode(); got != code {
					t.Fatalf("%v ended with %d (%v), want %d\n%s%s", args, got, err, code, stdout.String(), stderr.String())
				}
				if strings.Contains(stdout.String()+stderr.String(), "S3cretOfTheOffice") {
					t.Errorf("%v shows the password", args)
				}
				if schema != "" {
					conforms(t, schema, stdout.String(), stderr.String(), into)
				}
				return stdout.String()
			}
			// Until each of the 25 is older than the 2 s of this configuration, and has connected.
			var sick examination
			eventually(t, func() error {
				cmd := w.command(camwarden, "doctor", server.subnet, "-c", server.config, "--state-dir", w.path("state"), "-o", "json")
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
				out, _ := cmd.Output()
				sick = examination{}
				conforms(t, "doctor", string(out), "", &sick)
				if sick.Processes.Overdue < 25 || sick.Connections.Total < 25 {
					return fmt.Errorf("%d overdue, %d connections", sick.Processes.Overdue, sick.Connections.Total)
				}
				return nil
			})
			if sick.Status != "critical" || sick.Processes.Total != 25 || sick.Connections.Total != 25 || sick.Processes.Zombies != 0 {
				t.Errorf("%s, %+v, %+v", sick.Status, sick.Processes.Total, sick.Connections)
			}
			if got, want := sick.codes(), []string{"process-overdue", "camera-exhausted", "password-in-arguments"}; !slices.Equal(got, want) {
				t.Errorf("findings %v, want %v", got, want)
			}
			counts := map[string]int{}
			for _, c := range sick.Cameras {
				counts[c.Camera] = c.Connections
				if (c.State == "exhausted") != (c.Camera == "cam19") || c.Limit != 2 || c.LimitAssumed || c.Processes != c.Connections {
					t.Errorf("%+v", c)
				}
			}
			if counts["cam12"] != 1 || counts["cam19"] != 22 || counts["cam62"] != 1 || counts["cam79"] != 1 {
				t.Errorf("connections %v", counts)
			}
			var listed []int
			oldest := sick.Processes.List[0]
			for _, p := range sick.Processes.List {
				listed = append(listed, p.PID)
				if p.Parent.Name != "camserver" || p.Parent.PID != server.cmd.Process.Pid || p.Verdict != "leaked" || p.Shape != "one-frame" || p.Owner != "foreign" {
					t.Errorf("%+v", p)
				}
				if p.AgeMS > oldest.AgeMS {
					oldest = p
				}
			}
			slices.Sort(listed)
			if !slices.Equal(listed, slices.Sorted(slices.Values(server.pids))) {
				t.Errorf("processes %v, want %v", listed, server.pids)
			}
			if oldest.PID != server.pids[0] || oldest.Camera != "cam12" {
				t.Errorf("the oldest is %+v, want pid %d", oldest, server.pids[0])
			}
			if e := sick.Timeline; len(e) < 5 || e[0].Event != "camserver started" || e[1].Event != "first hung capture" || e[1].PID != server.pids[0] {
				t.Errorf("timeline %+v", e)
			}

			if page := run(1, "", nil, "doctor", "-o", "markdown"); !strings.Contains(page, "22  ") || !strings.Contains(page, fmt.Sprintf("PID %d, started", server.pids[0])) {
				t.Errorf("the incident report: %s", page)
			}
			var dry, done reaping
			run(0, "reap", &dry, "reap", "--dry-run", "-o", "json")
			if dry.Verdict != "left" || len(dry.Outcomes) != 25 {
				t.Errorf("dry run: %+v", dry)
			}
			run(0, "reap", &done, "reap", "-o", "json")
			if done.Summary.Killed != 25 || done.Summary.Kept != 0 || done.Verdict != "clean" {
				t.Errorf("reap: %+v", done)
			}
			for _, pid := range server.pids {
				if stat, err := proc.Default().Stat(pid); err == nil && !stat.Dead() {
					t.Errorf("pid %d is still there", pid)
				}
			}
			if stat, err := proc.Default().Stat(server.cmd.Process.Pid); err != nil || stat.Dead() || stat.State == 'T' {
				t.Errorf("camserver was hurt: %+v, %v", stat, err)
			}
			var well examination
			run(0, "doctor", &well, "doctor", "--fail-on", "warning", "-o", "json")
			if well.Status != "ok" || well.Processes.Total != 0 || len(well.Findings) != 0 || well.Connections.Total != 0 {
				t.Errorf("afterwards: %+v", well)
			}
		})
	}
}
