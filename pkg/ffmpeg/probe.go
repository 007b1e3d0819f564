package ffmpeg

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lazyre"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// Tool is what an ffmpeg can do. It is asked, never guessed from its version: distributions backport and rename.
type Tool struct {
	path    string
	version string // for messages only
	idle    string // its option for the time-out of one read or write, in microseconds; "" when it has none
	script  bool   // takes the URL, with options, as an ffconcat script on stdin
	notices []string
}

// probeLimit bounds each question. They take 0.1 s on an idle host.
const probeLimit = 10 * time.Second

// scriptQuestion uses a directive that ffmpeg 4.3 does not know. It opens nothing but an empty "data:" URL.
const scriptQuestion = "ffconcat version 1.0\nfile 'data:,'\noption timeout 1\n"

var (
	versionLine = lazyre.New(`(?m)^ffmpeg version (\S+)`)
	stimeout    = lazyre.New(`(?m)^\s*-stimeout\s`)
	// In ffmpeg 4 -timeout is in seconds and turns the client into a listening server.
	microseconds = lazyre.New(`(?m)^\s*-timeout\s.*microseconds`)
)

// find finds a program and says what about it weakens our promises, without running it.
func find(program string) (Tool, *fault.Error) {
	path, err := supervise.Find(program)
	if err != nil {
		return Tool{}, noSource(err, HintInstall)
	}
	file, err := supervise.Inspect(path)
	switch {
	case fault.OutOfFiles(err):
		return Tool{}, noSource(err, fault.HintMoreFiles)
	case err != nil:
		return Tool{}, noSource(err, "set ffmpeg.path to a file that this user can run")
	}
	return Tool{path: path, notices: weaknesses(path, file)}, nil
}

// probe finds the program and asks it, both questions at once.
func (f *Dialler) probe(ctx context.Context) (Tool, *fault.Error) {
	t, problem := find(f.program)
	if problem != nil {
		return Tool{}, problem
	}
	var help, script supervise.Ending
	var both sync.WaitGroup
	both.Go(func() { help = f.ask(ctx, t.path, "", "-h", "demuxer=rtsp") })
	both.Go(func() {
		script = f.ask(ctx, t.path, scriptQuestion, "-nostdin", "-hide_banner", "-loglevel", "error", "-f", "concat", "-safe", "0",
			"-protocol_whitelist", "pipe,data", "-i", "pipe:0", "-f", "null", "-")
	})
	both.Wait()
	for _, answer := range []supervise.Ending{help, script} {
		switch answer.Kind {
		case supervise.Exited:
		case supervise.Cancelled:
			return Tool{}, fault.New(fault.Cancelled, "", "cancelled while asking %s what it can do", t.path)
		case supervise.Refused:
			return Tool{}, noSource(answer.Err, hintFFmpeg)
		default:
			return Tool{}, fault.New(fault.NoSource, "", "%s does not say what it can do (%s)", t.path, answer.Kind).WithHint(hintFFmpeg)
		}
	}
	return t.learn(help, script)
}

// learn reads the answers.
func (t Tool) learn(help, script supervise.Ending) (Tool, *fault.Error) {
	if found := versionLine.Get().FindSubmatch(bytes.Join([][]byte{help.Stderr, help.Stdout}, nil)); found != nil {
		t.version = plain(string(found[1]), 40)
	}
	if !bytes.Contains(help.Stdout, []byte("Demuxer rtsp")) {
		return Tool{}, fault.New(fault.NoSource, "", "%s is not an ffmpeg that can read RTSP", t.path).
			WithHint("try: %s -h demuxer=rtsp", t.path)
	}
	switch {
	case stimeout.Get().Match(help.Stdout):
		t.idle = "stimeout"
	case microseconds.Get().Match(help.Stdout):
		t.idle = "timeout"
	default:
		t.notices = append(t.notices, fmt.Sprintf("%s has no time-out for RTSP: a silent camera is left by a signal, without TEARDOWN, and its slot must cool", t))
	}
	t.script = !bytes.Contains(script.Stderr, []byte("unknown keyword")) && bytes.Contains(script.Stderr, []byte("Impossible to open"))
	if !t.script {
		t.notices = append(t.notices, fmt.Sprintf("%s cannot take a URL from stdin: the camera's password will stand in its argument list, "+
			"which every user of this host can read; install ffmpeg 5 or later", t))
	}
	return t, nil
}

func (t Tool) String() string { return strings.TrimSpace(t.path + " " + t.version) }

// ask runs one question under supervision, with a lease like any other child.
func (f *Dialler) ask(ctx context.Context, path, stdin string, args ...string) supervise.Ending {
	held, err := f.ledger.Write(ledger.Lease{Kind: ledger.Process, Deadline: proc.BootTime() + probeLimit + Slack, Note: "asking ffmpeg what it can do"})
	if err != nil {
		return supervise.Ending{Kind: supervise.Refused, Err: err}
	}
	return f.supervisor.Run(ctx, supervise.Spec{
		Path: path, Args: args, Stdin: []byte(stdin), Env: []string{"LC_ALL=C"}, Lease: held,
		Limit: probeLimit, MaxStdout: 1 << 20, MaxStderr: 1 << 16,
	})
}

// noSource keeps what err says and makes clear that the source cannot work.
func noSource(err error, hint string) *fault.Error {
	known := fault.From(err, fault.NoSource, "")
	if known.Hint == "" {
		known.WithHint("%s", hint)
	}
	return known
}

// weaknesses says what about a program weakens the promise that it dies with us.
func weaknesses(path string, program supervise.Program) []string {
	var why []string
	if program.Wrapped {
		why = append(why, "is a script: if it forks, what it starts")
	}
	if program.SetID {
		why = append(why, "is set-uid or set-gid: it")
	}
	if program.Caps {
		why = append(why, "carries file capabilities: it")
	}
	for i := range why {
		why[i] = fmt.Sprintf("%s %s may outlive a SIGKILL of camwarden until the next run finds it; point ffmpeg.path at the real program", path, why[i])
	}
	return why
}
