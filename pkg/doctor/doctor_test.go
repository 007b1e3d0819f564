package doctor_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

var gate = netip.MustParseAddrPort("192.168.125.19:554")

func terms() doctor.Terms {
	return doctor.Terms{
		Rules: sweep.Rules{OlderThan: 5 * time.Minute, SilentFor: 5 * time.Minute}, DefaultLimit: 2, ProcessesWarning: 5, ProcessesCritical: 20,
	}
}

// scene is an observation that a test fills.
type scene struct {
	observe.Observation
	pid int
}

func newScene() *scene {
	at := time.Date(2026, 1, 5, 22, 24, 0, 0, time.UTC)
	return &scene{pid: 5000, Observation: observe.Observation{
		Schema: observe.Schema, Host: "is22", TakenAt: at, Cameras: []observe.Camera{}, Processes: []observe.Process{},
		Connections: []observe.Connection{}, Leases: []observe.Lease{}, Blind: []observe.Blind{}, Table: 200, Method: proc.Netlink,
	}}
}

// process adds a process that speaks to a camera, and its connection, silent for as long as it is old.
func (s *scene) process(at netip.AddrPort, shape cmdline.Shape, age time.Duration, change ...func(*observe.Process, *observe.Connection)) {
	s.pid++
	ms := age.Milliseconds()
	p := observe.Process{
		ID: proc.Identity{BootID: "b", PIDNS: 1, PID: s.pid, Start: uint64(s.pid)}, Name: "ffmpeg", Program: "/usr/bin/ffmpeg", Configured: true, State: "S",
		StartedAt: s.TakenAt.Add(-age), AgeMS: ms, Memory: 60 << 20, CPUMS: 120, FDs: 9, Shape: shape,
		Parents: []observe.Parent{{PID: 1468583, Name: "camserver", StartedAt: s.TakenAt.Add(-6 * time.Hour)}, {PID: 1, Name: "systemd", StartedAt: s.TakenAt.Add(-48 * time.Hour)}},
		Targets: []observe.Target{{Address: at, Name: at.String()}},
		Command: fmt.Sprintf("ffmpeg -rtsp_transport tcp -i rtsp://%s/stream1 -frames:v 1 -f image2 pipe:1", at),
	}
	c := observe.Connection{
		Local: netip.AddrPortFrom(netip.MustParseAddr("192.168.125.246"), uint16(30000+s.pid%30000)), Remote: at, State: proc.Established,
		SilentMS: &ms, PID: s.pid, Program: "ffmpeg", Held: true,
	}
	for _, f := range change {
		f(&p, &c)
	}
	s.Processes = append(s.Processes, p)
	if c.State != "" {
		s.Connections = append(s.Connections, c)
	}
}

func heard(_ *observe.Process, c *observe.Connection)       { *c.SilentMS = 40 }
func unconnected(_ *observe.Process, c *observe.Connection) { c.State = "" }
func secret(p *observe.Process, _ *observe.Connection)      { p.Secret = true }
func contained(p *observe.Process, _ *observe.Connection)   { p.Container = true }
func wasWell(p *observe.Process, _ *observe.Connection)     { p.AgeMS += time.Hour.Milliseconds() }
func dead(p *observe.Process, c *observe.Connection) {
	p.State, p.Targets, p.Shape, c.State = "Z", nil, cmdline.NoCamera, ""
}
func inventory(limit int) []observe.Camera {
	return []observe.Camera{{ID: "gate", Host: "192.168.125.19", Address: gate, Port: 554, Model: "Tapo C110", Limit: limit}}
}

func host(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 125, byte(n)}), 554)
}

func codes(r doctor.Report) []string {
	found := []string{}
	for _, f := range r.Findings {
		found = append(found, f.Code)
	}
	return found
}

func TestEveryFindingHasItsCase(t *testing.T) {
	t.Parallel()
	rtt := int64(3)
	probe := func(class fault.Class, step fault.Step) func(*scene) {
		return func(s *scene) {
			s.Cameras = inventory(2)
			s.Facts.Probes = []observe.Probe{{Camera: "gate", Address: gate, Known: true, RTTMS: &rtt, Error: fault.New(class, step, "it did so")}}
		}
	}
	note := func(kind ledger.Kind, standing string, presence proc.Presence) func(*scene) {
		return func(s *scene) {
			s.Leases = []observe.Lease{{ID: "L1", Kind: kind, Run: "R1", Address: gate, Owner: 42, Child: 43, Standing: standing, Presence: presence, LateMS: 90_000, Name: "camwarden-gate"}}
		}
	}
	server := func(streams ...go2rtc.Stream) *observe.Server {
		return &observe.Server{URL: "http://127.0.0.1:1984", Version: "1.9.14", Prefix: "camwarden-", Streams: streams}
	}
	for name, c := range map[string]struct {
		set    func(*scene)
		codes  []string // in the order of the report
		status doctor.Status
		says   string // something that summary, evidence or remedy of the first finding says
	}{
		"nothing":    {func(*scene) {}, []string{}, doctor.OK, ""},
		"a recorder": {func(s *scene) { s.process(gate, cmdline.Streaming, time.Hour, heard) }, []string{}, doctor.OK, ""},
		"an overdue capture": {
			func(s *scene) { s.process(gate, cmdline.OneFrame, time.Hour) }, []string{"process-overdue"}, doctor.InDanger, "camwarden reap 192.168.125.19",
		},
		"an overdue capture in a container": {
			func(s *scene) { s.process(gate, cmdline.OneFrame, time.Hour, contained) }, []string{"process-overdue"}, doctor.InDanger, "--include container",
		},
		"one of ours without a lease": {
			func(s *scene) {
				s.process(gate, cmdline.OneFrame, time.Second, func(p *observe.Process, _ *observe.Connection) {
					p.Owner = &observe.Owner{PID: 42, Presence: proc.Gone}
				})
			}, []string{"process-unleased"}, doctor.InDanger, "pid 42",
		},
		"forty recorders": {
			func(s *scene) {
				for i := range 40 {
					s.process(host(i+1), cmdline.Streaming, time.Hour, heard)
				}
			}, []string{}, doctor.OK, "",
		},
		"many captures": {
			func(s *scene) {
				for i := range 6 {
					s.process(host(i+1), cmdline.OneFrame, time.Minute, heard)
				}
			}, []string{"processes-many"}, doctor.Warned, "6 processes",
		},
		"very many captures": {
			func(s *scene) {
				for i := range 20 {
					s.process(host(i+1), cmdline.OneFrame, time.Minute, heard)
				}
			}, []string{"processes-many"}, doctor.InDanger, "20 processes",
		},
		"very many captures, for which a go2rtc or a camwarden answers": {
			func(s *scene) {
				s.Leases = []observe.Lease{{ID: "L1", Kind: ledger.Process, Standing: ledger.Live}}
				for i := range 20 {
					s.process(host(i+1), cmdline.OneFrame, time.Minute, heard, func(p *observe.Process, _ *observe.Connection) {
						if p.Go2rtc = i%2 == 0; !p.Go2rtc {
							p.Lease = "L1"
						}
					})
				}
			}, []string{}, doctor.OK, "",
		},
		"a server of this host, full by any camera's measure, and an owner that is hidden": {
			func(s *scene) {
				s.Servers = []netip.AddrPort{gate}
				s.Cameras = inventory(2)
				s.Cameras[0].LimitAssumed = true
				for range 4 {
					s.process(gate, cmdline.Unknown, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Configured = false })
				}
				s.Connections[3].PID = 0
			}, []string{}, doctor.OK, "",
		},
		"a server of this host that refuses a log-in": {
			func(s *scene) {
				probe(fault.Auth, fault.Describe)(s)
				s.Servers = []netip.AddrPort{gate}
			}, []string{"server-auth"}, doctor.Warned, "no proof of a wrong password",
		},
		"a server of this host to which the configuration gives a limit": {
			func(s *scene) {
				s.Servers = []netip.AddrPort{gate}
				s.Cameras = inventory(2)
				for range 2 {
					s.process(gate, cmdline.Streaming, time.Hour, heard)
				}
			}, []string{"camera-exhausted"}, doctor.InDanger, "the limit is 2;",
		},
		"a silent recorder": {
			func(s *scene) { s.process(gate, cmdline.Streaming, time.Hour) }, []string{"process-silent"}, doctor.Warned, "--include silent",
		},
		"a zombie": {func(s *scene) { s.process(gate, cmdline.OneFrame, time.Hour, dead) }, []string{"process-zombie"}, doctor.Warned, "camserver"},
		"an exhausted camera": {
			func(s *scene) {
				s.Cameras = inventory(2)
				for range 2 {
					s.process(gate, cmdline.Streaming, time.Hour, heard)
				}
			}, []string{"camera-exhausted"}, doctor.InDanger, "ss -tnp dst 192.168.125.19:554",
		},
		"a camera with one slot left": {
			func(s *scene) {
				s.Cameras = inventory(3)
				for range 2 {
					s.process(gate, cmdline.Streaming, time.Hour, heard)
				}
			}, []string{"camera-near-limit"}, doctor.Warned, "one free connection",
		},
		"a cooling camera": {note(ledger.Cooling, ledger.CoolingDown, ""), []string{"camera-cooling"}, doctor.OK, "1 session"},
		"a hidden owner": {
			func(s *scene) {
				s.UID = 1000
				s.process(gate, cmdline.Streaming, time.Hour, heard)
				s.Connections[0].PID, s.Processes = 0, nil
			}, []string{"connection-hidden-owner"}, doctor.Warned, "sudo camwarden doctor 192.168.125.19",
		},
		"an owner hidden from a user 0 without capabilities": {
			func(s *scene) {
				s.Lacks = []string{"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}
				s.process(gate, cmdline.Streaming, time.Hour, heard)
				s.Connections[0].PID, s.Processes = 0, nil
			}, []string{"connection-hidden-owner"}, doctor.Warned, "camwarden doctor 192.168.125.19    # with CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, which this user 0 lacks",
		},
		"a host that does not resolve": {
			func(s *scene) {
				s.Blind = []observe.Blind{{Where: "camera gate", Why: "its host gate.lan does not resolve"}}
			}, []string{"blind-camera"}, doctor.CannotTell, "name the address",
		},
		"sockets closed to an ordinary user": {
			func(s *scene) {
				s.UID = 1000
				s.Blind = []observe.Blind{{Where: "connections", Why: "permission denied"}}
			}, []string{"blind-connections"}, doctor.CannotTell, "sudo camwarden doctor",
		},
		"sockets closed to root": {
			func(s *scene) {
				s.UID = 0
				s.Blind = []observe.Blind{{Where: "connections", Why: "permission denied"}}
			}, []string{"blind-connections"}, doctor.CannotTell, "on the host itself",
		},
		"a subnet that fell silent": {
			func(s *scene) {
				for i := range 3 {
					s.process(host(i+1), cmdline.Streaming, time.Hour, wasWell)
				}
			}, []string{"subnet-silent"}, doctor.InDanger, "192.168.125.1",
		},
		"a go2rtc that does not answer": {
			func(s *scene) {
				s.Go2rtc = server()
				s.Go2rtc.Why = "connection refused"
				s.Blind = []observe.Blind{{Where: "go2rtc", Why: "connection refused"}}
			}, []string{"go2rtc-unreachable"}, doctor.Warned, "curl",
		},
		"a picture that nobody waits for": {
			func(s *scene) {
				note(ledger.Connection, ledger.DeadOwner, proc.Running)(s)
				s.Leases[0].Run = "01DEAD"
				s.Leases = append(s.Leases, observe.Lease{ID: "L2", Kind: ledger.Stream, Run: "01RUN", Name: "x", Standing: ledger.Live})
				s.Go2rtc = server(go2rtc.Stream{Name: "x", Consumers: []go2rtc.Consumer{{ID: 1, Format: "keyframe", UserAgent: go2rtc.Agent("1", "01DEAD")}}})
			}, []string{"go2rtc-stuck-consumer"}, doctor.Warned, "camwarden streams flush x",
		},
		"a picture that nobody waits for, of a stream that is not ours": {
			func(s *scene) {
				note(ledger.Stream, ledger.DeadOwner, "")(s)
				s.Leases[0].Run, s.Leases[0].Name, s.Leases[0].Borrowed = "01DEAD", "theirs", true
				s.Go2rtc = server(go2rtc.Stream{Name: "theirs", Consumers: []go2rtc.Consumer{{ID: 1, Format: "keyframe", UserAgent: go2rtc.Agent("1", "01DEAD")}}})
			}, []string{"go2rtc-stuck-consumer"}, doctor.Warned, "not ours to flush",
		},
		"a socket that go2rtc forgot": {
			func(s *scene) {
				s.Go2rtc = server()
				s.process(gate, cmdline.Unknown, time.Hour, func(p *observe.Process, c *observe.Connection) {
					p.Configured, p.Name, c.Program = false, "go2rtc", "go2rtc"
				})
			}, []string{"go2rtc-orphan-connection"}, doctor.Warned, "1 open, 0 explained",
		},
		"a go2rtc that is bypassed": {
			func(s *scene) { s.Go2rtc, s.Facts.Stills = server(), &observe.Stills{FFmpeg: 17} }, []string{"go2rtc-bypassed"}, doctor.OK, "17 stills",
		},
		"a stream whose run is dead": {
			func(s *scene) {
				note(ledger.Stream, ledger.DeadOwner, "")(s)
				s.Go2rtc = server(go2rtc.Stream{Name: "camwarden-gate"})
			},
			[]string{"stream-orphaned"}, doctor.Warned, "streams purge",
		},
		"a stream that is meant to stay": {
			func(s *scene) {
				note(ledger.Stream, ledger.DeadOwner, "")(s)
				s.Leases[0].Stays = true
				s.Go2rtc = server(go2rtc.Stream{Name: "camwarden-gate"})
			}, []string{}, doctor.OK, "",
		},
		"a stream whose run is dead, and that somebody watches": {
			func(s *scene) {
				note(ledger.Stream, ledger.DeadOwner, "")(s)
				s.Go2rtc = server(go2rtc.Stream{Name: "camwarden-gate", Consumers: []go2rtc.Consumer{{ID: 1, Format: "mse/fmp4"}}})
			}, []string{}, doctor.OK, "",
		},
		"a stray stream": {
			func(s *scene) { s.Go2rtc = server(go2rtc.Stream{Name: "camwarden-old"}) }, []string{"stream-stray"}, doctor.OK, "camwarden-old",
		},
		"a stray stream whose name would run away with the shell": {
			func(s *scene) { s.Go2rtc = server(go2rtc.Stream{Name: "camwarden-x; rm -rf 'all"}) }, []string{"stream-stray"}, doctor.OK,
			`purge 'camwarden-x; rm -rf '\''all' --force`,
		},
		"an orphaned lease":  {note(ledger.Process, ledger.DeadOwner, proc.Gone), []string{"lease-orphaned"}, doctor.Warned, "camwarden reap 192.168.125.19"},
		"a wedged camwarden": {note(ledger.Process, ledger.WedgedOwner, proc.Gone), []string{"lease-wedged"}, doctor.Warned, "pid 42"},
		"two ledgers": {
			func(s *scene) {
				s.process(gate, cmdline.OneFrame, time.Second, func(p *observe.Process, _ *observe.Connection) {
					p.Owner = &observe.Owner{PID: 42, Presence: proc.Running}
				})
			}, []string{"ledger-split"}, doctor.Warned, "state_dir",
		},
		"a password that all can read": {
			func(s *scene) { s.process(gate, cmdline.OneFrame, time.Minute, heard, secret) }, []string{"password-in-arguments"}, doctor.Warned, "1 process shows",
		},
		"recorders whose passwords all can read": {
			func(s *scene) {
				s.process(host(1), cmdline.Streaming, time.Hour, heard, secret)
				s.process(host(2), cmdline.Streaming, time.Hour, heard, secret)
			}, []string{"password-in-arguments"}, doctor.OK, "2 processes show",
		},
		"an old ffmpeg with a blank in its path": {func(s *scene) { s.Facts.Tool = &observe.Tool{Path: "/opt/my tools/ffmpeg", Old: true} }, []string{"ffmpeg-old"}, doctor.Warned, "'/opt/my tools/ffmpeg' -version"},
		"a go2rtc at a socket that does not answer": {
			func(s *scene) {
				s.Go2rtc = server()
				s.Go2rtc.URL, s.Go2rtc.Why = "unix:///run/go2rtc.sock", "no such file"
			}, []string{"go2rtc-unreachable"}, doctor.Warned, "camwarden streams list",
		},
		"an old ffmpeg":    {func(s *scene) { s.Facts.Tool = &observe.Tool{Path: "/usr/bin/ffmpeg", Old: true} }, []string{"ffmpeg-old"}, doctor.Warned, "version 5"},
		"a wrapped ffmpeg": {func(s *scene) { s.Facts.Tool = &observe.Tool{Path: "/x/ffmpeg", Wrapped: true, Caps: true} }, []string{"ffmpeg-wrapped"}, doctor.Warned, "is a script, and carries"},
		"readable secrets": {func(s *scene) { s.Facts.Secrets = []string{"/etc/x: others can read it"} }, []string{"secrets-readable"}, doctor.Warned, "chmod 600"},
		"a blind spot":     {func(s *scene) { s.Blind = []observe.Blind{{Where: "process table", Why: "torn"}} }, []string{"blind-processes"}, doctor.CannotTell, "torn"},
		"blind, and worse": {func(s *scene) {
			s.Blind = []observe.Blind{{Where: "ledger", Why: "torn"}}
			s.process(gate, cmdline.OneFrame, time.Hour)
		}, []string{"process-overdue", "blind-ledger"}, doctor.InDanger, ""},
		"unreachable":           {probe(fault.Unreachable, fault.Connect), []string{"camera-unreachable"}, doctor.Warned, "ping"},
		"a dropped SYN":         {probe(fault.Timeout, fault.Connect), []string{"camera-unreachable"}, doctor.Warned, "ping"},
		"refused":               {probe(fault.Refused, fault.Connect), []string{"camera-refused"}, doctor.Warned, "RTSP switched on"},
		"mute":                  {probe(fault.Timeout, fault.Describe), []string{"camera-mute"}, doctor.Warned, "does not answer"},
		"full, says the camera": {probe(fault.Exhausted, fault.Describe), []string{"camera-exhausted"}, doctor.InDanger, "other hosts"},
		"full, and not dialled": {func(s *scene) {
			probe(fault.Exhausted, "")(s)
			s.Facts.Probes[0].RTTMS = nil
			for range 2 {
				s.process(gate, cmdline.Streaming, time.Hour, heard)
			}
		}, []string{"camera-exhausted"}, doctor.InDanger, "ss -tnp dst 192.168.125.19:554"},
		"a log-in refused":  {probe(fault.Auth, fault.Describe), []string{"camera-auth"}, doctor.Warned, "no proof of a wrong password"},
		"no such stream":    {probe(fault.NotFound, fault.Describe), []string{"camera-not-found"}, doctor.Warned, "correct path of this camera"},
		"a stream of sound": {probe(fault.NoVideo, fault.Describe), []string{"camera-no-video"}, doctor.Warned, "of another stream"},
		"not RTSP":          {probe(fault.Protocol, fault.Options), []string{"camera-protocol"}, doctor.Warned, "nc -v 192.168.125.19 554"},
		"hung up on":        {probe(fault.Closed, fault.Options), []string{"camera-closed"}, doctor.Warned, "free slot may do so"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene()
			c.set(s)
			r := doctor.Examine(s.Observation, terms())
			if !slices.Equal(codes(r), c.codes) || r.Status != c.status {
				t.Fatalf("%v, status %s; want %v, %s", codes(r), r.Status, c.codes, c.status)
			}
			if len(r.Findings) == 0 {
				return
			}
			f := r.Findings[0]
			if all := f.Summary + "\n" + f.Evidence + "\n" + f.Remedy; !strings.Contains(all, c.says) {
				t.Errorf("%q is not in\n%s", c.says, all)
			}
			for _, f := range r.Findings {
				if f.Subject == "" || f.Summary == "" || f.Evidence == "" || f.Remedy == "" {
					t.Errorf("a finding with a gap: %+v", f)
				}
				if !pasteable(t, f.Remedy) {
					t.Errorf("%s: a shell does not do what this says: %s", f.Code, f.Remedy)
				}
			}
		})
	}
}

// pasteable reports whether a shell reads a remedy as commands that exist.
func pasteable(t *testing.T, remedy string) bool {
	t.Helper()
	command, _, _ := strings.Cut(remedy, "    #")
	first, _, _ := strings.Cut(command, " ")
	known := slices.Contains([]string{"camwarden", "sudo", "ss", "ps", "ping", "nc", "curl"}, first) || strings.HasPrefix(strings.Trim(first, "'"), "/")
	return known && exec.CommandContext(t.Context(), "sh", "-n", "-c", remedy).Run() == nil
}

func TestACauseSilencesItsConsequences(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(*scene)
		want []string
	}{
		"many processes are many because they leak": {func(s *scene) {
			for i := range 25 {
				s.process(host(i+1), cmdline.OneFrame, time.Hour)
			}
		}, slices.Repeat([]string{"process-overdue"}, 25)},
		"but not when the others are many too": {func(s *scene) {
			for i := range 6 {
				s.process(host(i+1), cmdline.OneFrame, time.Minute, heard)
			}
			s.process(host(99), cmdline.OneFrame, time.Hour)
		}, []string{"process-overdue", "processes-many"}},
		"in a subnet that fell silent no stream and no camera is to blame": {func(s *scene) {
			for i := range 3 {
				s.process(host(i+1), cmdline.Streaming, time.Hour, wasWell)
			}
			s.Facts.Probes = []observe.Probe{{Camera: "x", Address: host(1), Known: true, Error: fault.New(fault.Unreachable, fault.Connect, "no route")}}
		}, []string{"subnet-silent"}},
		"a recorder is silent where a leak fills its camera": {func(s *scene) {
			s.Cameras = inventory(9)
			s.process(gate, cmdline.OneFrame, time.Hour)
			s.process(gate, cmdline.Streaming, time.Hour)
		}, []string{"process-overdue"}},
		"the lease of a process that is called leaked": {func(s *scene) {
			s.Leases = []observe.Lease{{ID: "L1", Kind: ledger.Process, Owner: 42, Standing: ledger.WedgedOwner, Presence: proc.Running}}
			s.process(gate, cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Lease = "L1" })
		}, []string{"process-unleased"}},
	} {
		s := newScene()
		c.set(s)
		if got := codes(doctor.Examine(s.Observation, terms())); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestExamine_acknowledgedCountsForNothing(t *testing.T) {
	t.Parallel()
	s := newScene()
	s.Blind = []observe.Blind{{Where: "connections", Why: "permission denied"}}
	s.process(gate, cmdline.Streaming, time.Hour)
	s.process(host(7), cmdline.OneFrame, time.Hour)
	for name, c := range map[string]struct {
		ignore []doctor.Ignored
		status doctor.Status
		known  int
	}{
		"nothing":            {nil, doctor.InDanger, 0},
		"another subject":    {[]doctor.Ignored{{Code: "process-overdue", Subject: "192.168.125.8:554"}}, doctor.InDanger, 0},
		"the leak":           {[]doctor.Ignored{{Code: "process-overdue", Subject: "192.168.125.7:554"}}, doctor.Warned, 1},
		"the silence too":    {[]doctor.Ignored{{Code: "process-overdue", Subject: "192.168.125.7:554"}, {Code: "process-silent"}}, doctor.CannotTell, 2},
		"what is blind too":  {[]doctor.Ignored{{Code: "process-overdue"}, {Code: "process-silent"}, {Code: "blind-connections", Subject: "connections"}}, doctor.OK, 3},
		"a code of no sense": {[]doctor.Ignored{{Code: "process"}}, doctor.InDanger, 0},
	} {
		with := terms()
		with.Ignore = c.ignore
		r := doctor.Examine(s.Observation, with)
		known := 0
		for _, f := range r.Findings {
			if f.Acknowledged {
				known++
			} else if known > 0 {
				t.Errorf("%s: %s stands behind what is acknowledged", name, f.Code)
			}
		}
		if r.Status != c.status || known != c.known || len(r.Findings) != 3 || r.Reaches(doctor.Critical) != (c.status == doctor.InDanger) || r.Reaches(doctor.Warning) != (c.status != doctor.OK) {
			t.Errorf("%s: status %s, %d acknowledged of %v", name, r.Status, known, codes(r))
		}
	}
}

func TestStill_cameraThatGaveOneIsWell(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		given observe.Given
		state string
	}{
		"just now":               {observe.Given{Camera: "gate", Address: gate.String()}, "ok"},
		"an hour ago":            {observe.Given{Camera: "gate", Address: gate.String(), At: time.Time{}.Add(time.Hour)}, "ok"},
		"more than an hour ago":  {observe.Given{Camera: "gate", Address: gate.String(), At: time.Time{}.Add(time.Hour + time.Second)}, "unknown"},
		"by another at its host": {observe.Given{Camera: "yard", Address: gate.String()}, "unknown"},
		"when it was elsewhere":  {observe.Given{Camera: "gate", Address: host(7).String()}, "unknown"},
	} {
		s := newScene()
		s.Cameras = inventory(2)
		c.given.At = s.TakenAt.Add(-c.given.At.Sub(time.Time{}))
		s.Facts.Given = []observe.Given{c.given}
		r := doctor.Examine(s.Observation, terms())
		if got := r.Cameras[0]; got.State != c.state || strings.Contains(got.Note, c.given.At.Format("15:04:05")) != (c.state == "ok") {
			t.Errorf("%s: %s, %q, want %s", name, got.State, got.Note, c.state)
		}
	}
}

func TestExamine_assumedLimitOfASendingCamera(t *testing.T) {
	t.Parallel()
	s := newScene()
	for range 4 {
		s.process(gate, cmdline.Streaming, time.Hour, heard)
	}
	r := doctor.Examine(s.Observation, terms())
	if len(r.Findings) != 0 || r.Cameras[0].State != "ok" || !r.Cameras[0].LimitAssumed || r.Cameras[0].Connections != 4 || r.Cameras[0].Limit != 2 {
		t.Errorf("%v, %+v", codes(r), r.Cameras)
	}
	captures := newScene()
	for range 4 { // a camera that never answered is silent only since it was dialled
		captures.process(gate, cmdline.OneFrame, time.Minute, heard)
	}
	if r := doctor.Examine(captures.Observation, terms()); r.Cameras[0].State != "exhausted" {
		t.Errorf("captures that only just connected: %+v", r.Cameras)
	}
	s.Cameras = inventory(2) // somebody said so
	if r := doctor.Examine(s.Observation, terms()); r.Cameras[0].State != "exhausted" || r.Cameras[0].Camera != "gate" {
		t.Errorf("%+v", r.Cameras)
	}
}

func TestWhatTheKernelFinishesAloneIsNoConnection(t *testing.T) {
	t.Parallel()
	s := newScene()
	for _, state := range []string{proc.FinWait1, proc.FinWait2, proc.TimeWait, proc.LastAck, proc.Closing} {
		s.Connections = append(s.Connections, observe.Connection{Remote: gate, State: state})
	}
	if r := doctor.Examine(s.Observation, terms()); r.Connections.Total != 0 || len(r.Cameras) != 0 || r.Status != doctor.OK {
		t.Errorf("%+v", r)
	}
	s.Connections = []observe.Connection{{Remote: gate, State: proc.CloseWait, PID: 9, Held: true}, {Remote: gate, State: proc.SynSent, PID: 9, Held: true}}
	if r := doctor.Examine(s.Observation, terms()); r.Connections.Total != 2 || r.Cameras[0].Connections != 1 {
		t.Errorf("evidence %d, slots %+v", r.Connections.Total, r.Cameras)
	}
}

func TestExaminingIsPure(t *testing.T) {
	t.Parallel()
	s := newScene()
	for i := range 10 {
		s.process(host(i), []cmdline.Shape{cmdline.OneFrame, cmdline.Streaming}[i%2], time.Hour)
	}
	if a, b := doctor.Examine(s.Observation, terms()), doctor.Examine(s.Observation, terms()); !reflect.DeepEqual(a, b) {
		t.Error("two examinations of one observation differ")
	}
}

func TestUnconnectedCapturesAndDeadOnesHoldNothing(t *testing.T) {
	t.Parallel()
	s := newScene()
	s.process(gate, cmdline.OneFrame, time.Hour, unconnected)
	s.process(gate, cmdline.OneFrame, time.Hour, dead)
	r := doctor.Examine(s.Observation, terms())
	if r.Processes.Total != 1 || r.Processes.Zombies != 1 || r.Processes.Overdue != 1 || r.Connections.Total != 0 || r.Cameras[0].Connections != 0 {
		t.Errorf("%+v %+v", r.Processes, r.Cameras)
	}
}

func TestHolders_remedyNamesWhoToEnd(t *testing.T) {
	t.Parallel()
	s := newScene()
	for range 2 {
		s.process(gate, cmdline.Unknown, time.Hour, func(p *observe.Process, c *observe.Connection) {
			p.Name, p.Program, p.Configured, p.Foreign, c.Program = "python3", "/usr/bin/python3", false, true, "python3"
		})
	}
	report := doctor.Examine(s.Observation, terms())
	i := slices.IndexFunc(report.Findings, func(f doctor.Finding) bool { return f.Code == "camera-exhausted" })
	if i < 0 {
		t.Fatalf("findings: %+v", report.Findings)
	}
	want := fmt.Sprintf("ps -o pid,ppid,etime,args -p %d,%d    # python3, started by camserver (pid 1468583); python3, started by camserver (pid 1468583): the connection is freed when it ends; "+
		"camwarden ends it only where reap: programs names it", s.pid-1, s.pid)
	if got := report.Findings[i].Remedy; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
