package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// login is the user name of every camera of these tests.
const login = "viewer"

// hiddenPassword holds whatever has a meaning to a URL, a shell, YAML, JSON or ffmpeg's scripts, between two words that
// no escaping changes: should any part of it come through, one of the words is with it.
func hiddenPassword(from string) string { return "Head" + from + `@/:#?%&' "\=ü€` + "Tail" + from }

// spellings are the forms in which a password may give itself away.
func spellings(password string) map[string]string {
	quoted, _ := json.Marshal(password)
	pair := login + ":" + password
	forms := map[string]string{
		"raw":         password,
		"path":        url.PathEscape(password),
		"query":       url.QueryEscape(password),
		"user-info":   strings.TrimPrefix(url.UserPassword(login, password).String(), login+":"),
		"lower hex":   strings.ToLower(url.PathEscape(password)),
		"JSON":        strings.Trim(string(quoted), `"`),
		"Go":          strings.Trim(strconv.Quote(password), `"`),
		"ffconcat":    strings.ReplaceAll(password, "'", `'\''`),
		"base64":      base64.RawStdEncoding.EncodeToString([]byte(pair)),
		"base64 URL":  base64.RawURLEncoding.EncodeToString([]byte(pair)),
		"base64 bare": base64.RawStdEncoding.EncodeToString([]byte(password)),
	}
	for _, part := range []string{"Head", "Tail"} {
		at := strings.Index(password, part)
		word, _, _ := strings.Cut(password[at:], "@")
		forms["its word "+word] = word
	}
	return forms
}

// hidden is a site whose cameras each get their password in another way.
type hidden struct {
	*site
	passwords []string
	secretEnv string
	seen      int // places that were looked into
}

// clear fails when a text shows a password in any form.
func (h *hidden) clear(where, text string) {
	h.t.Helper()
	h.seen++
	for _, password := range h.passwords {
		for form, needle := range spellings(password) {
			if strings.Contains(text, needle) {
				h.t.Errorf("%s shows %s in the form %q:\n%.2000q", where, password, form, text)
				break
			}
		}
	}
}

// ran waits for a run and looks into what it said.
func (h *hidden) ran(code int, args ...string) *run {
	h.t.Helper()
	r := h.start(args...)
	r.ends(code)
	h.said(r)
	return r
}

func (h *hidden) said(r *run) {
	h.t.Helper()
	name := strings.Join(r.cmd.Args[1:], " ")
	h.clear("stdout of "+name, r.stdout.String())
	h.clear("stderr of "+name, r.stderr.String())
}

// files looks into every file that was made: its name, and below the state directory its content too.
func (h *hidden) files() {
	h.t.Helper()
	for _, root := range []string{"state", "out"} {
		_ = filepath.WalkDir(h.path(root), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // a lease that was struck while we looked
			}
			h.clear("the name of "+path, path)
			if root == "state" && entry.Type().IsRegular() {
				content, _ := os.ReadFile(path)
				h.clear("the content of "+path, string(content))
			}
			return nil
		})
	}
}

// processesOf looks into the argument list and the environment of every process that carries the site's mark, and
// returns how many of them were children of camwarden's.
func (h *hidden) processesOf(runs ...*run) int {
	h.t.Helper()
	children := 0
	for _, text := range h.alive() {
		pid, _ := strconv.Atoi(strings.Fields(text)[0])
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		check(h.t, err)
		var environ []byte
		eventually(h.t, func() error { // in the middle of an exec it has none
			environ, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err == nil && len(environ) == 0 {
				err = fmt.Errorf("no environment: %s", text)
			}
			return err
		})
		vars := strings.Split(string(environ), "\x00")
		if slices.ContainsFunc(runs, func(r *run) bool { return r.pid() == pid }) {
			// Who gives the password in CAM_PASSWORD has put it into camwarden's environment himself: that variable of that
			// one process, and nothing else, is not ours to hide.
			vars = slices.DeleteFunc(vars, func(v string) bool { return v == h.secretEnv })
		} else {
			children++
			if !strings.Contains(string(environ), "CAMWARDEN_LEASE=") {
				h.t.Errorf("a child without the mark of its lease: %s", text)
			}
		}
		h.clear("the argument list of "+text, string(args))
		h.clear("the environment of "+text, strings.Join(vars, "\x00"))
	}
	return children
}

// write puts a file of the user's own into the site.
func (h *hidden) write(name, text string) string {
	h.t.Helper()
	path := h.path(name)
	check(h.t, os.WriteFile(path, []byte(text), 0o600))
	check(h.t, os.Chown(path, h.uid, h.uid))
	return path
}

// decoderHangs is an ffmpeg that hangs when it is given a picture to decode, while a file says so. While another file says
// so, it complains of the camera by its whole URL, password included.
const decoderHangs = `case "$*" in *"-protocol_whitelist pipe,data"*) ;; *"-f concat"*)
	[ -e "$HOME/talk" ] && sed -n "s/^file /cannot open /p" >&2 && exit 1;; esac
case "$*" in *"-protocol_whitelist pipe -"*) [ -e "$HOME/hang" ] && exec sleep 600;; esac
exec ffmpeg "$@"
`

// newHidden starts cameras that answer, refuse and hang; what their passwords come from is in their names.
func newHidden(t *testing.T, uid int, options ...option) *hidden {
	t.Helper()
	ways := []string{"file", "env", "config", "option"}
	var cameras []camsim.Config
	for _, way := range ways {
		for _, temper := range []camsim.Temper{camsim.Digest, camsim.WrongPassword, camsim.MuteAtPlay} {
			cameras = append(cameras, camsim.Config{Temper: temper, Name: string(temper) + "-" + way, Username: login, Password: hiddenPassword(way)})
		}
	}
	h := &hidden{site: newSite(t, cameras, append(options, asUser(uid), asReleased)...)}
	for _, way := range ways {
		h.passwords = append(h.passwords, hiddenPassword(way))
	}
	h.secretEnv = "CAM_PASSWORD=" + hiddenPassword("env")
	h.env = append(h.env, h.secretEnv)
	quoted, err := json.Marshal(hiddenPassword("config")) // YAML reads what JSON writes
	check(t, err)
	keys := map[string]string{
		"file":   ", password_file: " + h.write("pass.file", hiddenPassword("file")+"\n"),
		"env":    "",
		"config": ", password: " + string(quoted),
	}
	h.write("pass.option", hiddenPassword("option")+"\n")

	groups := map[camsim.Temper][]string{}
	var list strings.Builder
	for _, c := range h.subnet.Cameras {
		way := c.Name()[strings.LastIndex(c.Name(), "-")+1:]
		extra, known := keys[way]
		if !known {
			continue // is given by URL
		}
		groups[c.Temper()] = append(groups[c.Temper()], c.Name())
		fmt.Fprintf(&list, "  - {id: %s, host: %s, port: %d, path: %s, username: %s%s}\n",
			c.Name(), c.Address().Addr(), c.Address().Port(), c.Config().Path, login, extra)
	}
	h.write("cameras.yaml", fmt.Sprintf("ffmpeg: {path: %q}\ndefaults: {session_timeout: 500ms, timeout: 1m}\nsubnets:\n  well: [%s]\n  refusing: [%s]\n  hanging: [%s]\ncameras:\n%s",
		h.ffmpeg, strings.Join(groups[camsim.Digest], ", "), strings.Join(groups[camsim.WrongPassword], ", "), strings.Join(groups[camsim.MuteAtPlay], ", "), list.String()))
	return h
}

// url is how a camera that no configuration knows is named.
func (h *hidden) url(camera string) string {
	c := h.subnet.Camera(camera)
	return fmt.Sprintf("rtsp://%s@%s%s", login, c.Address(), c.Config().Path)
}

// snapshot is a command line for a camera that is given by URL, its password by --password-file.
func (h *hidden) snapshot(camera string, more ...string) []string {
	return append([]string{"camwarden", "snapshot", h.url(camera), "--password-file", h.path("pass.option"), "-c", h.path("cameras.yaml"),
		"--state-dir", h.path("state"), "-d", h.path("out"), "--log-level", "debug"}, more...)
}

// TestPassword_isToBeSeenNowhere has root use the one source and an ordinary user the other; the soak has each use both.
func TestPassword_isToBeSeenNowhere(t *testing.T) {
	t.Parallel()
	who := users()
	noPassword(t, "ffmpeg", who[0])
	noPassword(t, "rtsp", who[len(who)-1])
}

func TestSoakPassword_isToBeSeenNowhere(t *testing.T) {
	testkit.Soak(t, "takes minutes")
	t.Parallel()
	for _, source := range []string{"ffmpeg", "rtsp"} {
		for _, uid := range users() {
			noPassword(t, source, uid)
		}
	}
}

func noPassword(t *testing.T, source string, uid int) {
	t.Run(fmt.Sprintf("%s uid %d", source, uid), func(t *testing.T) {
		t.Parallel()
		h := newHidden(t, uid, withFFmpeg(decoderHangs))
		h.whileChildrenHang(source)
		h.afterwards(source)
		t.Logf("looked into %d places", h.seen)
	})
}

// whileChildrenHang looks while cameras hang at PLAY. The source rtsp has no child there: its hangs over the picture.
func (h *hidden) whileChildrenHang(source string) {
	h.t.Helper()
	h.write("hang", "")
	defer os.Remove(h.path("hang"))
	debug := []string{"-d", h.path("out"), "--source", source, "--timeout", "5m", "--log-level", "debug"}
	runs := []*run{
		h.start(h.round("hanging", debug...)...),
		h.start(h.snapshot("mute-at-play-option", "--source", source, "--timeout", "5m", "-o", "json", "--log-format", "json")...),
	}
	want := 4
	if source == "rtsp" {
		runs = append(runs, h.start(h.round("well", debug...)...))
		want = 1 // how many decode at once depends on the processors
	}
	eventually(h.t, func() error {
		for _, c := range h.subnet.Cameras {
			if counts := c.Counts(); c.Temper() == camsim.MuteAtPlay && counts.Plays == 0 {
				return fmt.Errorf("%s was not asked to play: %+v\n%s", c.Name(), counts, runs[0].stderr)
			}
		}
		hung := h.alive()
		if source == "rtsp" { // an ffmpeg that is asked what it can lives too, and is gone in a moment
			hung = slices.DeleteFunc(hung, func(text string) bool { return !strings.HasSuffix(text, "(sleep 600)") })
		} else {
			hung = hung[min(len(hung), len(runs)):]
		}
		if len(hung) < want {
			return fmt.Errorf("%d children hang, want at least %d: %v\n%s", len(hung), want, h.alive(), runs[len(runs)-1].stderr)
		}
		return nil
	})
	if len(h.leases()) == 0 {
		h.t.Error("there is no lease to look into")
	}
	if n := h.processesOf(runs...); n < want {
		h.t.Errorf("looked at %d children, want at least %d", n, want)
	}
	h.files()
	for _, r := range runs {
		r.signal(syscall.SIGTERM)
	}
	for _, r := range runs {
		r.ends(128 + int(syscall.SIGTERM))
		h.said(r)
	}
	h.files()
	h.nothingLeft(runs...)
}

// afterwards looks into all that runs of every format say and leave.
func (h *hidden) afterwards(source string) {
	h.t.Helper()
	formats := []string{"table", "json", "yaml", "jsonl"}
	if !testkit.IsLong() && !testkit.IsSoak() {
		formats = formats[:2] // the other two are written by the same code as the second
	}
	for i, format := range formats {
		more := []string{"--source", source, "-o", format, "--log-level", "debug", "--log-format", []string{"text", "json"}[i%2], "-d", h.path("out")}
		r := h.ran(0, h.round("well", more...)...)
		if !strings.Contains(r.stdout.String(), "digest-env") {
			h.t.Errorf("no camera in the report: %s", r.stdout)
		}
		h.ran(1, h.round("refusing", more...)...)
		h.ran(0, h.snapshot("digest-option", more...)...)
		h.ran(1, h.snapshot("wrong-password-option", more...)...)
		h.ran(0, "camwarden", "config", "show", "-c", h.path("cameras.yaml"), "-o", format)
		h.ran(0, "camwarden", "config", "check", "-c", h.path("cameras.yaml"), "-o", format)
		if i < 2 { // an error is a line of text, or a document
			h.mistakes(format)
		}
	}
	more := []string{"--source", source, "--log-level", "debug", "-d", h.path("out")}
	doc := h.ran(1, h.round("refusing", more...)...).document()
	if doc.visit("wrong-password-config").class() != "auth" {
		h.t.Errorf("a refused log-in: %+v", doc)
	}
	// A visit that its time-out ends says more than one that a signal ends.
	h.ran(1, h.round("hanging", append(more, "--timeout", "3s")...)...)
	// ffmpeg's own words stand in messages; here they hold the password.
	h.write("talk", "")
	for _, format := range []string{"table", "json"} {
		r := h.ran(1, h.round("well", "--source", "ffmpeg", "-o", format, "--log-level", "debug", "-d", h.path("out"))...)
		if !strings.Contains(r.stdout.String(), "cannot open") {
			h.t.Errorf("ffmpeg's words are not in the report, so that nothing is shown: %s", r.stdout)
		}
		h.ran(1, h.snapshot("digest-option", "--source", "ffmpeg", "-o", format)...)
	}
	h.files()
	h.nothingLeft()
	for _, c := range h.subnet.Cameras {
		if counts := c.Counts(); c.Temper() == camsim.Digest && counts.Logins < len(formats) {
			h.t.Errorf("%s accepted %d log-ins: the password was not the one to look for", c.Name(), counts.Logins)
		}
	}
}

// mistakes are configurations and command lines that are wrong at the very place where a password stands.
func (h *hidden) mistakes(format string) {
	h.t.Helper()
	quoted, _ := json.Marshal(hiddenPassword("config"))
	for name, text := range map[string]string{
		"twice":   "cameras:\n  - {id: a, host: 127.0.0.1, password: " + string(quoted) + ", password_file: /nowhere}\n",
		"unknown": "cameras:\n  - {id: a, host: 127.0.0.1, passwort: " + string(quoted) + "}\n",
		"syntax":  "cameras:\n  - {id: a, host: 127.0.0.1, password: " + string(quoted) + " and more: [}\n",
		"type":    "cameras:\n  - {id: a, host: 127.0.0.1, password: [" + string(quoted) + "]}\n",
		"path":    "cameras:\n  - {id: a, host: 127.0.0.1, port: x, path: \"/live?user=viewer&password=HeadconfigTailconfig\"}\n",
		"env":     "cameras:\n  - {id: a, host: 127.0.0.1, password_env: " + string(quoted) + "}\n",
	} {
		file := h.write(name+".yaml", text)
		for _, line := range [][]string{{"config", "check"}, {"round", "all", "--state-dir", h.path("state"), "-d", h.path("out"), "--log-level", "debug"}} {
			h.ran(2, append(append([]string{"camwarden"}, line...), "-c", file, "-o", format)...)
		}
	}
	// What stands on the command line everybody can read, and is told so; what is said of it must not repeat it.
	escaped := url.UserPassword(login, hiddenPassword("option")).String()
	refused := h.subnet.Camera("wrong-password-option").Address()
	for args, code := range map[string]int{
		fmt.Sprintf("rtsp://%s@%s/stream1", escaped, refused): 1,
		fmt.Sprintf("rtsp://%s@%s:bad/", escaped, refused):    2,
		fmt.Sprintf("rtsp://%s@/stream1", escaped):            2,
	} {
		r := h.startWith(func(cmd *exec.Cmd) {
			cmd.Env = slices.DeleteFunc(slices.Clone(cmd.Env), func(v string) bool { return v == h.secretEnv })
		},
			"camwarden", "snapshot", args, "--state-dir", h.path("state"), "-d", h.path("out"), "-o", format, "--log-level", "debug", "--timeout", time.Minute.String())
		r.ends(code)
		h.clear("stdout of a snapshot by URL", r.stdout.String())
		h.clear("stderr of a snapshot by URL", r.stderr.String())
	}
}
