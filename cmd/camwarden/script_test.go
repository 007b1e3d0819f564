package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// patience is how long a script waits for what must come about soon: an end seen by a camera, a line in a file.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	// The scripts run this very binary as camwarden: what is tested is main, real processes and real exit codes.
	testscript.Main(suite{m}, map[string]func(){"camwarden": main, "container": container, "socat": forward})
}

// suite are the tests, with a camwarden beside them that has no race detector.
type suite struct{ *testing.M }

// released names the variable that holds the path of that camwarden; it is not set where this binary is one itself.
const released = "CAMWARDEN_TEST_RELEASED"

func (s suite) Run() int {
	err := moreAtATime()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !raced {
		return s.M.Run()
	}
	dir, err := os.MkdirTemp("", "camwarden-released")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Setenv(released, filepath.Join(dir, "camwarden"))
	}
	if err == nil {
		build := exec.Command("go", "build", "-trimpath", "-o", os.Getenv(released), ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return s.M.Run()
}

// moreAtATime has more tests at a time than -parallel says: these wait for cameras that hang and for cool-downs, and work less
// than those of the other packages, which would be done long before them.
func moreAtATime() error {
	flag.Parse()
	parallel := flag.Lookup("test.parallel").Value
	n, err := strconv.Atoi(parallel.String())
	if err != nil {
		return err
	}
	return parallel.Set(strconv.Itoa(n + 2))
}

// TestScripts runs testdata/script/*.txtar; docs/testing.md explains their language and the commands added here.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts(testscript.Params{Dir: filepath.Join("..", "..", "testdata", "script")}))
}

// TestScriptsWithARealGo2rtc runs those that have a go2rtc once more, with the program that GO2RTC names.
func TestScriptsWithARealGo2rtc(t *testing.T) {
	t.Parallel()
	if os.Getenv("GO2RTC") == "" {
		t.Skip("GO2RTC names no go2rtc")
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "streams-*.txtar"))
	check(t, err)
	params := scripts(testscript.Params{Files: files})
	params.Setup = func(env *testscript.Env) error {
		env.Setenv("GO2RTC", os.Getenv("GO2RTC"))
		return setUp(env)
	}
	testscript.Run(t, params)
}

func scripts(params testscript.Params) testscript.Params {
	params.RequireExplicitExec, params.RequireUniqueNames = true, true
	params.UpdateScripts = os.Getenv("UPDATE") != ""
	params.Setup = setUp
	params.Cmds = map[string]func(*testscript.TestScript, bool, []string){
		"cameras":     startCameras,
		"counts":      compareCounts,
		"exits":       runAndCompareCode,
		"go2rtc":      startRelay,
		"go2rtc-ends": endRelay,
		"json":        compareJSON,
		"processes":   countProcesses,
		"schema":      validateSchema,
		"wait-for":    waitFor,
	}
	return params
}

// setUp gives a script a home, a ledger and a mark of its own.
func setUp(env *testscript.Env) error {
	run := os.Getenv("CAMWARDEN_TEST_RUN")
	if run == "" {
		run = "by-hand-" + strconv.Itoa(os.Getpid())
	}
	env.Setenv("CAMWARDEN_TEST_RUN", run+"/"+filepath.Base(env.WorkDir))
	env.Setenv("HOME", env.WorkDir)
	env.Vars = append(env.Vars, hurry)
	if path := os.Getenv(released); path != "" && !testkit.IsLong() { // before the test binary that is called camwarden too
		env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
	}
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
	env.Setenv("CAMWARDEN_STATE_DIR", filepath.Join(env.WorkDir, ".state"))
	env.Setenv("SCHEMAS", schemas())
	env.Values[subnetKey{}] = &camsim.Subnet{}
	env.Values[relayKey{}] = new(func())
	return nil
}

type subnetKey struct{}

// startCameras is "cameras NAME=TEMPER...": it starts simulated cameras on a 127.x.y.0/24 of their own, until the script
// ends. It sets $SUBNET to the prefix and $NAME to each camera's address, and writes cameras.yaml for them.
func startCameras(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: cameras NAME=TEMPER...")
	}
	var configs []camsim.Config
	for _, arg := range args {
		name, temper, _ := strings.Cut(arg, "=")
		config := camsim.Config{Name: name, Temper: camsim.Temper(temper)}
		if config.Temper == camsim.Digest || config.Temper == camsim.Basic {
			config.Username, config.Password = "viewer", ts.Getenv("CAM_PASSWORD")
		}
		configs = append(configs, config)
	}
	subnet, err := camsim.StartSubnet(camsim.DrawSubnet(), configs)
	ts.Check(err)
	ts.Defer(subnet.Close)
	*ts.Value(subnetKey{}).(*camsim.Subnet) = *subnet

	ts.Setenv("SUBNET", subnet.Prefix.String())
	var text strings.Builder
	fmt.Fprintf(&text, "subnets: {office: [%s]}\ncameras:\n", subnet.Prefix)
	for _, camera := range subnet.Cameras {
		at, config := camera.Address(), camera.Config()
		ts.Setenv(camera.Name(), at.String())
		fmt.Fprintf(&text, "  - {id: %s, host: %s, port: %d, path: %s, username: %q}\n", camera.Name(), at.Addr(), at.Port(), config.Path, config.Username)
	}
	ts.Check(os.WriteFile(ts.MkAbs("cameras.yaml"), []byte(text.String()), 0o600))
}

type relayKey struct{}

// startRelay is "go2rtc [STREAM=CAMERA...]": it starts a go2rtc that has these streams, until the script ends, and adds it
// to cameras.yaml. It is the simulated one unless $GO2RTC names a program.
func startRelay(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: go2rtc [STREAM=CAMERA...]")
	}
	subnet := ts.Value(subnetKey{}).(*camsim.Subnet)
	text := "streams:\n  unrelated: rtsp://127.0.0.2:9/nothing\n"
	for _, arg := range args {
		name, camera, _ := strings.Cut(arg, "=")
		text += fmt.Sprintf("  %s: %s\n", name, subnet.Camera(camera).URL())
	}
	file := ts.MkAbs("go2rtc.yaml")
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
	var url string
	if program := ts.Getenv("GO2RTC"); program != "" {
		r, err := startRealRelay(program, file, text)
		ts.Check(err)
		ts.Defer(r.kill)
		url, *ts.Value(relayKey{}).(*func()) = r.url(), r.kill
	} else {
		server, err := camsim.StartGo2rtc(camsim.Go2rtcConfig{ConfigFile: file})
		ts.Check(err)
		ts.Defer(server.Close)
		url, *ts.Value(relayKey{}).(*func()) = server.URL(), server.Kill
	}
	cameras, err := os.OpenFile(ts.MkAbs("cameras.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = fmt.Fprintf(cameras, "go2rtc: {url: %q}\n", url)
	ts.Check(errors.Join(err, cameras.Close()))
}

// endRelay is "go2rtc-ends": the script's go2rtc is killed.
func endRelay(ts *testscript.TestScript, neg bool, args []string) {
	end := *ts.Value(relayKey{}).(*func())
	if neg || len(args) > 0 || end == nil {
		ts.Fatalf("usage: go2rtc-ends, after go2rtc")
	}
	end()
}

// runAndCompareCode is "exits CODE PROGRAM ARG...": exec for a command whose exit code matters.
func runAndCompareCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		code = ended.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", args[1], code, args[0])
	}
}

// compareCounts is "counts CAMERA KEY NUMBER...": what the camera itself has counted, waiting until it is so.
// NUMBER may be <=N, for what must never have been more.
func compareCounts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args)%2 == 0 {
		ts.Fatalf("usage: counts CAMERA KEY NUMBER...")
	}
	camera := ts.Value(subnetKey{}).(*camsim.Subnet).Camera(args[0])
	if camera == nil {
		ts.Fatalf("there is no camera %q", args[0])
	}
	soon(ts, func() error {
		encoded, err := json.Marshal(camera.Counts())
		ts.Check(err)
		counts := map[string]int{}
		ts.Check(json.Unmarshal(encoded, &counts))
		for i := 1; i < len(args); i += 2 {
			got, known := counts[args[i]]
			limit, atMost := strings.CutPrefix(args[i+1], "<=")
			want, err := strconv.Atoi(limit)
			if !known || err != nil {
				ts.Fatalf("cannot compare %s with %s", args[i], args[i+1])
			}
			if got != want && (!atMost || got > want) {
				return fmt.Errorf("%s of %s is %d, want %s", args[i], args[0], got, args[i+1])
			}
		}
		return nil
	})
}

// countProcesses is "processes NUMBER": how many processes started by this script live, the camwardens in the
// background included, waiting until it is so.
func countProcesses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: processes NUMBER")
	}
	mark := "CAMWARDEN_TEST_RUN=" + ts.Getenv("CAMWARDEN_TEST_RUN")
	soon(ts, func() error {
		var alive []string
		environments, err := filepath.Glob("/proc/[0-9]*/environ")
		ts.Check(err)
		for _, path := range environments {
			environment, err := os.ReadFile(path)
			if err != nil || !strings.Contains("\x00"+string(environment), "\x00"+mark+"\x00") {
				continue
			}
			name, err := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
			if err == nil {
				alive = append(alive, filepath.Base(filepath.Dir(path))+" "+strings.TrimSpace(string(name)))
			}
		}
		if strconv.Itoa(len(alive)) != args[0] {
			return fmt.Errorf("%d processes live, want %s: %s", len(alive), args[0], strings.Join(alive, ", "))
		}
		return nil
	})
}

// compareJSON is "[!] json FILE PATH VALUE": PATH are keys and indices with dots between, VALUE is compared as JSON, or
// as a plain string; FILE may be stdout or stderr.
func compareJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH VALUE")
	}
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &value))
	for _, key := range strings.Split(args[1], ".") {
		switch container := value.(type) {
		case map[string]any:
			inner, found := container[key]
			if !found {
				ts.Fatalf("%s: there is no %s on the way to %s", args[0], key, args[1])
			}
			value = inner
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(container) {
				ts.Fatalf("%s: there is no item %s on the way to %s, but %d", args[0], key, args[1], len(container))
			}
			value = container[i]
		default:
			ts.Fatalf("%s: %s lies in no object or list", args[0], key)
		}
	}
	got, isText := value.(string)
	if !isText {
		encoded, err := json.Marshal(value)
		ts.Check(err)
		got = string(encoded)
	}
	if (got == args[2]) == neg {
		ts.Fatalf("%s: %s is %s, and should%s be %s", args[0], args[1], got, map[bool]string{true: " not"}[neg], args[2])
	}
}

// validateSchema is "schema NAME FILE": FILE must follow pkg/schema/NAME.json.
func validateSchema(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: schema NAME FILE")
	}
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(ts.Getenv("SCHEMAS"), args[0]+".json"))
	ts.Check(err)
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Check(schema.Validate(value))
}

// waitFor is "wait-for FILE REGEXP": until the file holds a match.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: wait-for FILE REGEXP")
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	soon(ts, func() error {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && !pattern.Match(text) {
			err = errors.New("no match for " + args[1])
		}
		return err
	})
}

// soon asks until the answer is nil, and fails with the last answer when patience is at its end.
func soon(ts *testscript.TestScript, ask func() error) {
	for end := time.Now().Add(patience); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// schemas is the folder of the schemas; scripts run elsewhere.
func schemas() string {
	dir, err := filepath.Abs(filepath.Join("..", "..", "pkg", "schema"))
	if err != nil {
		return err.Error()
	}
	return dir
}
