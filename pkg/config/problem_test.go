package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
)

// TestEveryProblemIsToldWithItsLine holds the texts of Load: want is the line number and the text of each problem.
func TestEveryProblemIsToldWithItsLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ yaml, want string }{
		"a key nobody knows": {"\ncolour: red", `2: there is no key "colour"; there are cameras, cooldown, defaults, doctor, ffmpeg, go2rtc, ` +
			`jpeg_quality, keep, output_dir, output_name, reap, sources, state_dir, subnets`},
		"a slip in a key":           {"cooldwon: 5m", `1: there is no key "cooldwon"; did you mean cooldown?`},
		"a slip in a section":       {"defaults:\n  max-connection: 2", `2: defaults: there is no key "max-connection"; did you mean max_connections?`},
		"a key given twice":         {"defaults:\n  port: 554\n  port: 555", `3: defaults: the key "port" is already given in line 2`},
		"a section given twice":     {"reap: {}\nreap: {}", `2: the key "reap" is already given in line 1`},
		"a key of several parts":    {"defaults:\n  ? [a]\n  : b", `2: defaults: a key must be a plain word`},
		"a merge":                   {"defaults:\n  <<: {port: 3}", `2: defaults: << is not supported; values for all cameras go under defaults`},
		"a list where keys belong":  {"- a", `1: keys with values are needed here, like port: 554`},
		"keys where a list belongs": {"cameras: {gate: 10.0.0.1}", `1: cameras: a list is needed here, of items like {id: gate, host: 192.168.125.19}`},
		"a tag":                     {"output_dir: !!str x", `1: output_dir: tags like !!str are not supported; use quotes`},

		"a duration without unit":      {"cooldown: 30", `1: cooldown: "30" has no unit; write it like 500ms, 10s or 5m`},
		"no duration":                  {"cooldown: soon", `1: cooldown: "soon" is not a duration like 500ms, 10s or 5m`},
		"a negative duration":          {"reap:\n  older_than: -5m", `2: reap: older_than: "-5m" is negative`},
		"a duration of nothing":        {"defaults: {timeout: 0s}", `1: defaults: timeout: "0s" must be more than 0`},
		"a duration beyond all clocks": {"cooldown: 9000h", `1: cooldown: "9000h" is longer than a year (8760h)`},
		"a missing value":              {"defaults:\n  timeout:\n  port: 554", `2: defaults: timeout: the value is missing; leave the key out for the default, or write ""`},
		"several values":               {"state_dir: [a]", `1: state_dir: one value is needed here, not several`},
		"a line break":                 {`output_dir: "a\nb"`, `1: output_dir: the value holds a line break or another control character`},
		"a tilde":                      {"output_dir: ~/pictures", `1: output_dir: ~ is not expanded here; write the path in full`},
		"a quality out of range":       {"jpeg_quality: 1", `1: jpeg_quality: "1" is not a number from 2 to 31`},
		"a source nobody knows":        {"sources:\n  - go2rtc\n  - rtps", `3: sources: "rtps" is none of go2rtc, http, rtsp, ffmpeg; did you mean rtsp?`},
		"a source twice":               {"sources: [rtsp, ffmpeg, rtsp]", `1: sources: "rtsp" is in the list twice`},
		"no source":                    {"sources: []", `1: sources: a list is needed here, of at least one item, like [a, b]`},
		"a program with its path":      {"reap: {programs: [/usr/bin/ffmpeg]}", `1: reap: programs: "/usr/bin/ffmpeg" is not the bare name of a program`},
		"no ffmpeg":                    {`ffmpeg: {path: ""}`, `1: ffmpeg: path: the name of the program is empty`},
		"thresholds in disorder":       {"doctor:\n  processes_warning: 30", `2: doctor: processes_critical (20) is less than processes_warning (30)`},

		"a port out of range":     {"defaults: {port: 70000}", `1: defaults: port: "70000" is not a number from 1 to 65535`},
		"port 0":                  {"defaults: {port: 0}", `1: defaults: port: "0" is not a number from 1 to 65535`},
		"a transport":             {"defaults: {transport: tpc}", `1: defaults: transport: "tpc" is none of tcp, udp, auto; did you mean tcp?`},
		"a brand":                 {"defaults: {brand: hikvison}", `1: defaults: brand: there is no brand "hikvison"; did you mean hikvision?`},
		"an unknown brand":        {"cameras: [{id: a, host: a, brand: no-such-maker}]", `1: camera a: brand: there is no brand "no-such-maker"; docs/cameras.md lists them; leave it out and say path`},
		"a smaller stream":        {"cameras: [{id: a, host: a, stream: sub}]", `1: camera a: stream: sub needs a sub_path, or a brand that is known to have one`},
		"nothing left for us":     {"defaults: {reserve: 2}", `1: defaults: reserve 2 leaves us none of max_connections 2; it must be less`},
		"a url as path":           {"defaults: {path: rtsp://x/y}", `1: defaults: path: it is what follows host and port; a whole URL goes under url`},
		"a fragment":              {"defaults: {path: /a#b}", `1: defaults: path: it has a # in its path; write %23 for it, and leave options of other programs out`},
		"two ways to a password":  {"defaults: {password_file: x, password_env: Y}", `1: defaults: only one of password, password_file and password_env can say where the password is`},
		"a password as variable":  {"defaults: {password_env: hunter2!}", `1: defaults: password_env: the name of an environment variable is needed here: letters, digits and _`},
		"a password elsewhere":    {"defaults: {port: hunter2, password: hunter2}", `1: defaults: port: "***" is not a number from 1 to 65535`},
		"a password of two lines": {`defaults: {password: "a\nb"}`, `1: defaults: password: the value holds a line break or another control character`},

		"a camera without anything": {"cameras:\n  - {}", "2: camera: it needs an id\n2: camera: it needs a host or a url"},
		"a camera of one word":      {"cameras:\n  - gate", `2: camera: keys with values are needed here, like port: 554`},
		"an id with a slash":        {"cameras:\n  - {id: a/b, host: 10.0.0.1}", `2: camera: id: "a/b" cannot be an id: it holds '/'; letters, digits, dot, underscore and dash are allowed`},
		"an id that hides":          {"cameras:\n  - {id: .x, host: 10.0.0.1}", `2: camera: id: ".x" cannot be an id: it begins with "."`},
		"an id twice": {"cameras:\n  - {id: gate, host: 10.0.0.1}\n  - {id: yard, host: 10.0.0.2}\n  - {id: gate, host: 10.0.0.3}",
			`4: the id "gate" is already that of the camera in line 2`},
		"a host with its port": {"cameras:\n  - {id: a, host: '10.0.0.3:8554'}", `2: camera a: host: "10.0.0.3:8554" holds a port; write port: 8554 instead`},
		"no host":              {"cameras:\n  - {id: a, host: 10.0.0.300}", `2: camera a: host: "10.0.0.300" is neither a host name nor an address`},
		"a host with a log-in": {"cameras:\n  - {id: a, host: 'u:hunter2@10.0.0.3'}", `2: camera a: host: the value is neither a host name nor an address`},
		"a url as host":        {"cameras:\n  - {id: a, host: 'rtsp://10.0.0.3'}", `2: camera a: host: it is a name or an address; a URL goes under url`},
		"a url and more": {"cameras:\n  - id: a\n    host: 10.0.0.1\n    url: rtsp://u:hunter2@10.0.0.9\n    port: 3\n    path: /x\n    username: u\n    password_env: X",
			"3: camera a: url: it holds the host; leave out host\n5: camera a: url: it holds the port; leave out port\n6: camera a: url: it holds the path; leave out path\n" +
				"7: camera a: url: it holds a user name; leave out username\n8: camera a: url: it holds a password; leave out password_env"},
		"an unquoted comma in a password": {"cameras:\n  - {id: a, host: 10.0.0.1, password: hun,ter2}",
			`2: camera a: there is no key like this; a value with a comma in it needs quotes`},
		"limits that differ": {"cameras:\n  - {id: gate, host: 10.0.0.1, max_connections: 4}\n  - {id: yard, host: 10.0.0.2}\n  - {id: door, url: 'rtsp://10.0.0.1:554/2', max_connections: 4, reserve: 1}",
			`4: the cameras gate (line 2) and door (line 4) share the address 10.0.0.1:554 but not its limits: max_connections 4 and 4, reserve 0 and 1`},
		"limits that differ at a name": {"cameras:\n  - {id: a, host: NVR.lan, port: 8554, max_connections: 4}\n  - {id: b, url: 'rtsp://nvr.lan:8554/2'}",
			`3: the cameras a (line 2) and b (line 3) share the address nvr.lan:8554 but not its limits: max_connections 4 and 2, reserve 0 and 0`},
		"nothing left of the default": {"cameras:\n  - {id: a, host: h, reserve: 2}", `2: camera a: reserve 2 leaves us none of max_connections 2; it must be less`},
		"the cause, not what follows": {"cameras:\n  - {id: a, host: h, max_connections: 4}\n  - {id: b, host: h, max_connections: four}",
			`3: camera b: max_connections: "four" is not a number from 1 to 1000`},

		"a host in a prefix":         {"subnets: {office: [10.0.0.7/24]}", `1: subnets: "office": "10.0.0.7/24" names a host inside a prefix; the prefix is 10.0.0.0/24`},
		"no prefix":                  {"subnets: {office: [10.0.0.0/33]}", `1: subnets: "office": "10.0.0.0/33" is no prefix: not an address and a length, like 192.168.125.0/24`},
		"an address":                 {"subnets: {office: [10.0.0.1]}", `1: subnets: "office": "10.0.0.1" is an address; write 10.0.0.1/32 for a prefix of one`},
		"a camera nobody knows":      {"cameras: [{id: gate, host: h}]\nsubnets:\n  office: [gaet]", `3: subnets: "office": "gaet" is neither a prefix nor the id of a camera; did you mean gate?`},
		"a name that means all":      {"cameras: [{id: gate, host: h}]\nsubnets: {all: [gate]}", `2: subnets: the name all stands for every camera and cannot mean something else`},
		"a name that means a camera": {"cameras: [{id: gate, host: h}]\nsubnets: {gate: [gate]}", `2: subnets: "gate" is the id of a camera too; commands that take both could not tell them apart`},
		"a name with a blank":        {"cameras: [{id: gate, host: h}]\nsubnets: {a b: [gate]}", `2: subnets: "a b" cannot be a name: it holds ' '; letters, digits, dot, underscore and dash are allowed`},

		"a go2rtc by ftp":           {"go2rtc: {url: 'ftp://x'}", `1: go2rtc: url: it begins with none of http://, https:// and unix:///`},
		"a go2rtc nowhere":          {"go2rtc: {url: 'http://'}", `1: go2rtc: url: it has no host; write it like http://127.0.0.1:1984`},
		"a go2rtc with a query":     {"go2rtc: {url: 'http://u:hunter2@x/?a'}", `1: go2rtc: url: it ends with its path; leave out what follows ? or #`},
		"a go2rtc unreadable":       {"go2rtc: {url: 'http://u:hun%ter2@x'}", `1: go2rtc: url: it cannot be read; write it like http://127.0.0.1:1984`},
		"a go2rtc with two log-ins": {"go2rtc:\n  url: http://u:hunter2@x\n  username: c\n  password_file: p", "3: go2rtc: username: the url holds a user name already\n4: go2rtc: password_file: the url holds a password already"},
		"no prefix for streams":     {"go2rtc: {stream_prefix: ''}", `1: go2rtc: stream_prefix: "" cannot be what stream names begin with: it is empty`},
		"a long prefix":             {"go2rtc: {stream_prefix: abcdefghijklmnopqrstuvwxy}", `1: go2rtc: stream_prefix: "abcdefghijklmnopqrstuvwxy" cannot be what stream names begin with: it is 25 bytes long, of at most 24`},
		"an accent in a prefix":     {"go2rtc: {stream_prefix: überwacht-}", `1: go2rtc: stream_prefix: "überwacht-" cannot be what stream names begin with: it holds a letter that is not one of a to z`},
		"go2rtc's other words":      {"go2rtc: {snapshot: stream, lifecycle: forever}", "1: go2rtc: snapshot: \"stream\" is none of frame, restream; did you mean restream?\n1: go2rtc: lifecycle: \"forever\" is none of ephemeral, standing"},

		"a snapshot by ftp":    {"cameras: [{id: gate, host: h, snapshot: 'ftp://x/y'}]", `1: camera gate: snapshot: it is neither a path nor an http:// or https:// URL`},
		"a snapshot by rtsp":   {"defaults: {snapshot: 'rtsp://x'}", `1: defaults: snapshot: it is neither a path nor an http:// or https:// URL`},
		"a snapshot of nobody": {"cameras: [{id: gate, host: h, snapshot: '://x/y'}]", `1: camera gate: snapshot: it is neither a path nor an http:// or https:// URL`},

		"an indentation": {"cooldown: 5m\ndefaults:\n  port: 1\n   path: x",
			`4: not YAML: mapping values are not allowed in this context; look at the indentation, and quote a value that holds a colon and a blank`},
		"a tab": {"cameras:\n\t- id: x",
			`2: not YAML: the line is indented with a tab; YAML wants blanks`},
		"an open bracket":          {"# a\ncooldown: 1s\nsources: [rtsp\njpeg_quality: 3", `3: not YAML around here: did not find expected ',' or ']'`},
		"an unquoted asterisk":     {"cooldown: 5m\ndefaults:\n  password: *hunter2", `3: not YAML: a value that begins with * needs quotes`},
		"two documents":            {"cooldown: 5m\n---\ncooldown: 6m", `2: a second document begins here; only the first would count`},
		"bytes that are no text":   {"cooldown: 5m\n# caf\xe9", `2: a byte that no text in UTF-8 holds`},
		"a character without face": {"cooldown: 5m\n\x01", `2: a byte that no text in UTF-8 holds`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, c.yaml)
			_, err := config.Load(path, noEnv)
			var problems config.Problems
			if fault.ClassOf(err) != fault.Usage || !errors.As(err, &problems) {
				t.Fatalf("got %v, want a usage fault with problems", err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, strings.TrimPrefix(p.String(), path+":"))
			}
			if diff := cmp.Diff(strings.Split(c.want, "\n"), got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2") {
				t.Errorf("it shows a password: %v", err)
			}
		})
	}
}

func TestProblems_allAtOnceInOrder(t *testing.T) {
	t.Parallel()
	path := write(t, "cooldown: 5\nsubnets: {office: [nobody]}\nreap: {older_than: x}\ncameras:\n  - {id: a, host: h, port: 0}\n")
	_, err := config.Load(path, noEnv)
	want := fmt.Sprintf(`4 problems in %[1]s:
%[1]s:1: cooldown: "5" has no unit; write it like 500ms, 10s or 5m
%[1]s:2: subnets: "office": "nobody" is neither a prefix nor the id of a camera
%[1]s:3: reap: older_than: "x" is not a duration like 500ms, 10s or 5m
%[1]s:5: camera a: port: "0" is not a number from 1 to 65535`, path)
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if hint := fault.From(err, "", "").Hint; hint != "correct the file, then try: camwarden -c "+path+" config check" {
		t.Errorf("hint %q", hint)
	}
}

func TestAFileFullOfProblemsDoesNotFillTheScreen(t *testing.T) {
	t.Parallel()
	_, err := config.Load(write(t, "cameras:\n"+strings.Repeat("  - {}\n", 1000)), noEnv)
	if text := err.Error(); !strings.HasPrefix(text, "2000 problems in ") || !strings.HasSuffix(text, "\nand 1970 more") || strings.Count(text, "\n") != 31 {
		t.Errorf("it is told in %d lines", strings.Count(text, "\n")+1)
	}
}

// TestIDsWhoseStreamNamesCollideAreRefused takes two ids of which no ASCII is kept and whose hashes are the same.
func TestIDsWhoseStreamNamesCollideAreRefused(t *testing.T) {
	t.Parallel()
	a, b := collision(t)
	_, err := config.Load(write(t, fmt.Sprintf("cameras:\n  - {id: %s, host: h}\n  - {id: %s, host: i}\n", a, b)), noEnv)
	if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf(":3: the id %q makes the same stream name as %q in line 2; change one of them", b, a)) {
		t.Errorf("%v", err)
	}
}
