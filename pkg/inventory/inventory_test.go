package inventory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/camwarden/camwarden/pkg/inventory"
)

// read reads an inventory in an environment of pairs NAME=value.
func read(t *testing.T, name, content string, env ...string) (inventory.Result, error) {
	t.Helper()
	lookup := func(name string) (string, bool) {
		for _, pair := range env {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
	return inventory.Read(name, []byte(content), "", inventory.Env{Lookup: lookup, Secret: func(string) (string, bool) { return "", false }})
}

// lines are the cameras and reports, one a line, for comparison.
func lines(r inventory.Result) string {
	var out []string
	for _, c := range r.Cameras {
		out = append(out, fmt.Sprintf("%s %s://%s:%s@%s:%d%s sub=%s env=%s %s max=%d", c.ID, c.Scheme, c.Username, c.Password, c.Host, c.Port, c.Path, c.SubPath, c.PasswordEnv, c.Transport, c.MaxConnections))
	}
	for _, r := range r.Reports {
		out = append(out, fmt.Sprintf("%d %s %s", r.Line, r.About, r.Kind))
	}
	return strings.Join(out, "\n")
}

func TestRead_kinds(t *testing.T) {
	t.Parallel()
	frigate := func(head string, inputs ...string) string {
		text := head + "cameras:\n"
		for i, input := range inputs {
			text += fmt.Sprintf("  c%d: {ffmpeg: {inputs: [{path: %q, roles: [detect]}]}}\n", i, input)
		}
		return text
	}
	tests := []struct {
		about, file, content string
		env                  []string
		want                 string
	}{
		{
			"below cameras of a new Frigate a password is literal, to the last @", "config.yml",
			frigate("version: 0.14\n", "rtsp://viewer:p%40ss@127.1.0.1/a", "rtsp://viewer:p@s:s/w#1@127.1.0.2/a?x=1", "rtsp://vie%77er:p%40ss@127.1.0.3/a"), nil,
			"c0 rtsp://viewer:p%40ss@127.1.0.1:554/a sub= env=  max=0\nc1 rtsp://viewer:p@s:s/w#1@127.1.0.2:554/a?x=1 sub= env=  max=0\n" +
				"c2 rtsp://viewer:p@ss@127.1.0.3:554/a sub= env=  max=0\n3 c0 note",
		},
		{
			"an old Frigate decodes it", "config.yml", frigate("rtmp: {enabled: true}\n", "rtsp://viewer:p%40ss@127.1.0.1/a"), nil,
			"c0 rtsp://viewer:p@ss@127.1.0.1:554/a sub= env=  max=0",
		},
		{
			"its go2rtc decodes, whatever the version", "config.yml",
			"version: 0.17-0\ngo2rtc: {streams: {a: \"rtsp://viewer:p%40s+s@127.1.0.1/a\"}}\n" + frigate("", "rtsp://localhost:8554/a"), nil,
			"c0 rtsp://viewer:p@s+s@127.1.0.1:554/a sub= env=  max=0",
		},
		{
			"a variable that is set, in the file and in the environment", "config.yml",
			frigate("version: 0.17-0\nenvironment_vars: {FRIGATE_A: geheim1}\n", "rtsp://viewer:{FRIGATE_A}@127.1.0.1/a", "rtsp://viewer:{FRIGATE_B}@127.1.0.2/a", "rtsp://viewer:x{FRIGATE_C}@127.1.0.3/a", "rtsp://viewer:{HOME}@127.1.0.4/a"),
			[]string{"FRIGATE_B=p:@%41", "HOME=/root"},
			"c0 rtsp://viewer:geheim1@127.1.0.1:554/a sub= env=  max=0\nc1 rtsp://viewer:p:@%41@127.1.0.2:554/a sub= env=  max=0\nc3 rtsp://viewer:@127.1.0.4:554/a sub= env=HOME  max=0\n5 c1 note\n6 c2 left-out",
		},
		{
			"0.16 does not know environment_vars", "config.yml",
			frigate("version: 0.16-0\nenvironment_vars: {FRIGATE_A: geheim1}\n", "rtsp://viewer:{FRIGATE_A}@127.1.0.1/a"), nil,
			"c0 rtsp://viewer:@127.1.0.1:554/a sub= env=FRIGATE_A  max=0",
		},
		{
			"placeholders and templates are no log-ins", "config.yml",
			frigate("version: 0.14\n", "rtsp://viewer:__PASSWORD__@127.1.0.1/a", "rtsp://viewer:{{ pw }}@127.1.0.2/a", "rtsp://viewer:x@IP:PORT/a", "rtsp://USER:<password>@127.1.0.3/a"), nil,
			"3 c0 left-out\n4 c1 left-out\n5 c2 left-out\n6 c3 left-out",
		},
		{
			"a tag that stands for something else does not end the import", "config.yml",
			"version: 0.14\nmqtt: {password: !secret mqtt}\ncameras:\n  a: {ffmpeg: {inputs: [{path: !secret cam_a}]}}\n  b: {ffmpeg: {inputs: [{path: 'rtsp://127.1.0.1/b'}]}}\n", nil,
			"b rtsp://:@127.1.0.1:554/b sub= env=  max=0\n4 a left-out",
		},
		{
			"the default port of rtsps is that of the program that reads it", "config.yml",
			"version: 0.15-0\ngo2rtc: {streams: {a: \"rtspx://127.1.0.1/a\"}}\n" + frigate("", "rtsp://127.0.0.1:8554/a", "rtsps://127.1.0.2/a"), nil,
			"c0 rtsps://:@127.1.0.1:554/a sub= env=  max=0\nc1 rtsps://:@127.1.0.2:322/a sub= env=  max=0",
		},
		{
			"the nearest input_args say the transport", "config.yml",
			"version: 0.14\nffmpeg: {input_args: preset-rtsp-udp}\ncameras:\n" +
				"  a: {ffmpeg: {inputs: [{path: 'rtsp://127.1.0.1/a', input_args: preset-rtsp-generic}]}}\n" +
				"  b: {ffmpeg: {inputs: [{path: 'rtsp://127.1.0.2/b'}]}}\n" +
				"  c: {ffmpeg: {input_args: [-rtsp_transport, tcp], inputs: [{path: 'rtsp://127.1.0.3/c'}]}}\n", nil,
			"a rtsp://:@127.1.0.1:554/a sub= env=  max=0\nb rtsp://:@127.1.0.2:554/b sub= env= udp max=0\nc rtsp://:@127.1.0.3:554/c sub= env=  max=0",
		},
		{
			"streams of a recorder: pairs, twins and names", "go2rtc.yaml",
			"streams:\n  'Kanal 1': rtsp://a:b@127.1.0.1/1\n  'Kanal 1-Sub': rtsp://a:b@127.1.0.1:554/1s\n  no: rtsp://a:b@127.1.0.1/2\n  no_sub: rtsp://other:b@127.1.0.1/2s\n" +
				"  twin: rtsp://a:b@127.1.0.1:554/1#backchannel=0\n  '-x/y': rtsp://a:b@127.1.0.1/4\n  " + strings.Repeat("ü", 40) + ": rtsp://a:b@127.1.0.1/5\n", nil,
			"Kanal-1 rtsp://a:b@127.1.0.1:554/1 sub=/1s env=  max=0\nno rtsp://a:b@127.1.0.1:554/2 sub= env=  max=0\nno_sub rtsp://other:b@127.1.0.1:554/2s sub= env=  max=0\n" +
				"x-y rtsp://a:b@127.1.0.1:554/4 sub= env=  max=0\n" + strings.Repeat("ü", 32) + " rtsp://a:b@127.1.0.1:554/5 sub= env=  max=0\n6 twin note",
		},
		{
			"Milestone's table, tabs, UTF-16", "export.csv",
			utf16le("HardwareAddress\tHardwarePort\tHardwareUsername\tHardwarePassword\tHardwareDriverID\r\nhttp://127.1.0.1/\t80\troot\tGrün\t713\r\n127.1.0.2\t\t\t\t\r\n"), nil,
			"127.1.0.1 rtsp://root:Grün@127.1.0.1:554 sub= env=  max=0\n127.1.0.2 rtsp://:@127.1.0.2:554 sub= env=  max=0\n2 line 2 partly\n2 line 2 partly\n3 line 3 partly",
		},
		{
			"a table of Excel in the west, not UTF-8", "kameras.csv", "sep=;\r\nPfad;IP;Kennwort;Benutzer\r\n/a;127.1.0.1;Gr\xfcn;admin\r\n", nil,
			"127.1.0.1 rtsp://admin:Grün@127.1.0.1:554/a sub= env=  max=0\n1 kameras.csv note",
		},
		{
			"one limit said holds for all of its address", "a.csv", "name,ip,path,max_connections\na,127.1.0.1,/1,\nb,127.1.0.1,/2,6\nc,127.1.0.2,/1,viele\n", nil,
			"a rtsp://:@127.1.0.1:554/1 sub= env=  max=6\nb rtsp://:@127.1.0.1:554/2 sub= env=  max=6\nc rtsp://:@127.1.0.2:554/1 sub= env=  max=0\n4 c partly",
		},
		{
			"a masked password is none", "a.csv", "ip,username,password,path\n127.1.0.1,admin,******,/1\n", nil,
			"127.1.0.1 rtsp://:@127.1.0.1:554/1 sub= env=  max=0\n2 line 2 partly",
		},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			r, err := read(t, tt.file, tt.content, tt.env...)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(r); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestRead_snapshots(t *testing.T) {
	t.Parallel()
	r, err := read(t, "a.csv", "ip,username,password,path,snapshot_url\n127.1.0.1,u,p:w,/1,http://u:p%3Aw@127.1.0.1/snap.jpg?x=1\n127.1.0.2,u,pw,/1,http://other:x@127.1.0.2/s.jpg\n"+
		"127.1.0.3,u,pw,/1,rtsp://127.1.0.3/s\n127.1.0.4,u,pw,/1,http://127.1.0.4/s?pwd=geheim\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range r.Cameras {
		got = append(got, c.Snapshot)
	}
	if want := []string{"http://127.1.0.1/snap.jpg?x=1", "", "", ""}; !slices.Equal(got, want) || len(r.Reports) != 3 {
		t.Errorf("%q, reports %+v", got, r.Reports)
	}
}

func utf16le(text string) string {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return string(out)
}

func TestRead_unreadable(t *testing.T) {
	t.Parallel()
	tests := []struct{ about, file, content, want string }{
		{"a key twice", "a.yml", "cameras:\n  a: {}\n  b: {}\n  a: {}\n", "a.yml:4: the same key as in line 2"},
		{"a key twice in JSON", "a.json", "{\"cameras\": {\n\"a\": {},\n\"a\": {}}}", "a.json:3: the same key as in line 2"},
		{"an unknown anchor that may be a password", "a.yml", "cameras:\n  a: *geheim\n", "a.yml:2: not YAML: a value that begins with * needs quotes"},
		{"an alias of itself", "a.yml", "cameras: &a\n  b: *a\n", "a.yml:"},
		{"camwarden's own", "a.yml", "cameras:\n  - {id: a, host: 127.0.0.1}\n", "a configuration of camwarden itself"},
		{"another program's", "a.yml", "services: {}\n", "neither cameras"},
		{"no headings", "a.csv", "tor,127.0.0.1,geheim\n", "no line of headings"},
		{"empty", "a.csv", "", "no line of headings"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			r, err := read(t, tt.file, tt.content)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v with %v, want %s", r, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("a password is quoted: %v", err)
			}
		})
	}
}

// Merge keys that copy each other would need more memory than there is.
func TestRead_mergeKeysAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("streams: {}\nbase: &b\n")
	for i := range 3000 {
		fmt.Fprintf(&text, "  k%d: 1\n", i)
	}
	for i := range 3000 {
		fmt.Fprintf(&text, "m%d: {<<: *b}\n", i)
	}
	if _, err := read(t, "a.yml", text.String()); err == nil || !strings.Contains(err.Error(), "merge keys") {
		t.Errorf("read with %v", err)
	}
}

func TestFormats_named(t *testing.T) {
	t.Parallel()
	if got := inventory.Formats(); !slices.Equal(got, []string{"frigate", "go2rtc", "csv"}) {
		t.Errorf("formats %v", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("cameras:\n  a: {ffmpeg: {inputs: [{path: 'rtsp://u:p@127.0.0.1:8554/a'}]}}\ngo2rtc: {streams: {a: [ffmpeg:a#x, 'rtsp://h/p']}}\n")
	f.Add("streams: {a: 'ffmpeg:b', b: 'ffmpeg:a'}\n")
	f.Add("name;ip;password\na;127.0.0.1;\"x\ny\"\n")
	f.Fuzz(func(t *testing.T, content string) {
		for _, format := range append(inventory.Formats(), "") {
			r, err := inventory.Read("f", []byte(content), inventory.Format(format), inventory.Env{
				Lookup: func(string) (string, bool) { return "", false }, Secret: func(string) (string, bool) { return "", false },
			})
			ids := map[string]bool{}
			for _, c := range r.Cameras {
				if err != nil || ids[c.ID] || c.Host == "" || c.Port == 0 {
					t.Errorf("%+v with %v", c, err)
				}
				ids[c.ID] = true
			}
		}
	})
}
