package commands_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/commands"
)

func TestUsage_sentenceHintAndExitCode2(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line, sentence, hint string
	}{
		{"", "a command is missing", "camwarden --help"},
		{"rund", `unknown command "rund"`, "camwarden round"},
		{"sanpshot gate", `unknown command "sanpshot"`, "camwarden snapshot"},
		{"xyzzy", `unknown command "xyzzy"`, "camwarden --help"},
		{"config", "a command is missing: check, import, init, show", "camwarden config --help"},
		{"config chekc", `unknown command "config chekc"`, "camwarden config check"},
		{"help xyzzy", `unknown command "xyzzy"`, "camwarden --help"},
		{"--bogus", "unknown flag --bogus", "camwarden --help"},
		{"reap --include noise", `--include: there is no "noise"`, "silent, container"},
		{"reap --older-than -1s", "--older-than: -1s", "--older-than 5m"},
		{"reap --silent-for 0", "--silent-for: 0s", "--silent-for 5m"},
		{"reap --grace 0", "--grace: 0s", "--grace 2s"},
		{"reap --grace 2h", "--grace: 2h0m0s", "--grace 2s"},
		{"reap nowhere", `there is no camera "nowhere"`, "address"},
		{"reap 10.0.0.0/33", `"10.0.0.0/33" is neither`, "192.168.125.0/24"},
		{"doctor --fail-on info", "--fail-on: ", "camwarden doctor --help"},
		{"doctor --from x --probe", "--from looks at nothing here", "give one"},
		{"doctor --from x --save y", "--from and --save", "cp"},
		{"doctor --from x gate", "takes no cameras", "leave out gate"},
		{"doctor --from /nowhere/x", "cannot read the saved observation", "--save FILE"},
		{"doctor --save=", "--save is empty", "variable"},
		{"doctor 10.0.0.0/33", `"10.0.0.0/33" is neither`, "192.168.125.0/24"},
		{"round all -o markdown", "only doctor has", "table, json"},
		{"round all --timout 3s", "unknown flag --timout", "--timeout"},
		{"round all -Z", "unknown flag -Z", "camwarden round --help"},
		{"round all --timeout soon", `--timeout: `, "camwarden round --help"},
		{"round all --timeout 0s", "--timeout: 0s", "--timeout 10s"},
		{"round all --deadline -1s", "--deadline: -1s", "--deadline 5m"},
		{"round all --cooldown -1s", "--cooldown: -1s", "--cooldown 1m"},
		{"round all -j 0", `--jobs: 0 must be a number of at least 1`, "-j 8"},
		{"round all -j many", `--jobs: many must be a number of at least 1`, "-j 8"},
		{"round all --dir=", "--dir is empty", "variable"},
		{"round all --if-busy never", `--if-busy: "never" is not one of fail, skip, wait`, "camwarden round --help"},
		{"round all --source vlc", `no source "vlc"`, "go2rtc, http, rtsp, ffmpeg"},
		{"round", "round needs at least one SUBNET", "192.168.125.0/24"},
		{"snapshot", "snapshot needs at least one CAMERA", "gate"},
		{"snapshot gate -f x.jpg -d .", "--file and --dir", "one of them"},
		{"snapshot gate --file=", "--file is empty", "variable"},
		{"snapshot gate -f - -o table", "-f - writes the picture", "leave out -o"},
		{"version now", `version takes no arguments, but was given "now"`, "camwarden version --help"},
		{"version -o xml", `--output: "xml" is not one of table, json, yaml, jsonl`, "camwarden version --help"},
		{"completion", "completion needs the name of one shell", "bash"},
		{"completion tcsh", "completion needs the name of one shell", "bash"},
		{"version --log-level loud", `--log-level: "loud"`, "camwarden version --help"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			t.Parallel()
			got := run(t, strings.Fields(tt.line)...)
			if got.code != 2 {
				t.Errorf("exit code %d, want 2", got.code)
			}
			if got.stdout != "" {
				t.Errorf("stdout is for data, but holds %q", got.stdout)
			}
			sentence, hint, found := strings.Cut(got.stderr, "\n  hint: ")
			if !found || !strings.HasPrefix(sentence, "camwarden: ") || strings.Contains(sentence, "\n") {
				t.Errorf("stderr is not one sentence and one hint:\n%s", got.stderr)
			}
			if !strings.Contains(sentence, tt.sentence) || !strings.Contains(hint, tt.hint) {
				t.Errorf("stderr:\n%swant %q with hint %q", got.stderr, tt.sentence, tt.hint)
			}
		})
	}
}

func TestUsage_fatalErrorIsADocument(t *testing.T) {
	t.Parallel()
	ways := map[string]func() result{
		"flag before the wrong one": func() result { return run(t, "round", "-o", "json", "--bogus") },
		"flag after the wrong one":  func() result { return run(t, "round", "--bogus", "--output=json") },
		"environment":               func() result { return runIn(t, with("CAMWARDEN_OUTPUT", "json"), "round", "--bogus") },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := way()
			commands.Validate(t, "error", []byte(got.stderr))
			var document struct {
				Error struct{ Class, Message string }
			}
			if err := json.Unmarshal([]byte(got.stderr), &document); err != nil {
				t.Fatal(err)
			}
			if got.code != 2 || document.Error.Class != "usage" || document.Error.Message != "unknown flag --bogus" {
				t.Errorf("exit code %d, error %+v", got.code, document.Error)
			}
		})
	}
}

func TestEveryGlobalFlagHasAVariableAndTheFlagWins(t *testing.T) {
	t.Parallel()
	if got := runIn(t, with("CAMWARDEN_OUTPUT", "jsonl"), "version"); !strings.HasPrefix(got.stdout, `{"schema":`) {
		t.Errorf("CAMWARDEN_OUTPUT was not read: %q", got.stdout)
	}
	if got := runIn(t, with("CAMWARDEN_OUTPUT", "jsonl"), "version", "-o", "table"); !strings.HasPrefix(got.stdout, "camwarden ") {
		t.Errorf("the flag did not win over the variable: %q", got.stdout)
	}
	if got := runIn(t, with("CAMWARDEN_QUIET", "true"), "version"); got.stdout != "" {
		t.Errorf("CAMWARDEN_QUIET was not read: %q", got.stdout)
	}
	for variable, value := range map[string]string{
		"CAMWARDEN_OUTPUT": "xml", "CAMWARDEN_LOG_LEVEL": "loud", "CAMWARDEN_LOG_FORMAT": "morse", "CAMWARDEN_COLOR": "red", "CAMWARDEN_QUIET": "hush",
	} {
		got := runIn(t, with(variable, value), "version")
		if got.code != 2 || !strings.Contains(got.stderr, variable) {
			t.Errorf("%s=%s: exit code %d, stderr %q", variable, value, got.code, got.stderr)
		}
	}
}

func TestHelpGoesToStdoutAndStatesTheContract(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"--help", "help", "round --help", "help round", "snapshot -h", "config check --help"} {
		got := run(t, strings.Fields(line)...)
		if got.code != 0 || got.stderr != "" {
			t.Errorf("%s: exit code %d, stderr %q", line, got.code, got.stderr)
		}
		for _, title := range []string{"Usage:", "Exit status:", "Files:", "Environment:"} {
			if !strings.Contains(got.stdout, "\n"+title+"\n") {
				t.Errorf("%s lacks the section %q", line, title)
			}
		}
	}
	if a, b := run(t, "help", "round"), run(t, "round", "--help"); a != b {
		t.Error("help round and round --help differ")
	}
}

func TestAPictureIsNeverThrownAtATerminal(t *testing.T) {
	t.Parallel()
	onTerminal := func(w *commands.World) { w.Terminal.Stdout = true }
	got := runIn(t, onTerminal, "snapshot", "rtsp://127.0.0.1/x", "-f", "-")
	if got.code != 2 || !strings.Contains(got.stderr, "terminal") || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}
