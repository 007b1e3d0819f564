package cmdline_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/camwarden/camwarden/pkg/cmdline"
)

// words splits a command line where the cases below need no blank inside an argument; "|" stands for one.
func words(line string) []string {
	args := strings.Fields(line)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "|", " ")
	}
	return args
}

func TestTheShapeIsToldByTheFramesOfEveryOutput(t *testing.T) {
	t.Parallel()
	const in = "ffmpeg -rtsp_transport tcp -i rtsp://10.0.0.1/s "
	for line, want := range map[string]cmdline.Shape{
		// One picture, in all the ways to say so.
		in + "-frames:v 1 out.jpg":                           cmdline.OneFrame,
		in + "-vframes 1 -f image2 -":                        cmdline.OneFrame,
		in + "-frames 1 out.jpg":                             cmdline.OneFrame,
		in + "-frames:v:0 1 -c:v mjpeg -f image2pipe pipe:1": cmdline.OneFrame,
		in + "-y -an -frames:v 1 -q:v 2 out.jpg":             cmdline.OneFrame,
		in + "-frames:v 1 a.jpg -vframes 1 b.jpg":            cmdline.OneFrame,
		in + "-frames:v 01 out.jpg":                          cmdline.OneFrame,
		in + "-frames:v 1 -update 1 out.jpg":                 cmdline.OneFrame,
		in + "-nostdin -frames:v 1 -- -odd.jpg":              cmdline.OneFrame,
		in + "-frames:v 25 -frames:v 1 out.jpg":              cmdline.OneFrame,
		in + "-vf select=eq(pict_type\\,I) -vframes 1 o.jpg": cmdline.OneFrame,
		// Recorders, time-lapses, relays.
		in + "-c copy out.mp4":                                               cmdline.Streaming,
		in + "-f image2 img%05d.jpg":                                         cmdline.Streaming,
		in + "-update 1 out.jpg":                                             cmdline.Streaming,
		in + "-vf fps=1/60 img%05d.jpg":                                      cmdline.Streaming,
		in + "-frames:v 10 out%d.jpg":                                        cmdline.Streaming,
		in + "-frames:v 1 -frames:v 25 o.jpg":                                cmdline.Streaming,
		in + "-frames:a 1 out.mp4":                                           cmdline.Streaming,
		in + "-vn -frames:v 1 out.m4a":                                       cmdline.Streaming,
		in + "-t 1 out.jpg":                                                  cmdline.Streaming,
		in + "-frames:v:1 1 -c copy out.mp4":                                 cmdline.Streaming,
		in + "-/frames:v count.txt out.jpg":                                  cmdline.Streaming,
		in + "-c copy -fix_sub_duration_heartbeat rec.mp4 -frames:v 1 a.jpg": cmdline.Streaming,
		in + "-frames:v 1 a.jpg -c copy rec.mp4":                             cmdline.Streaming,
		in + "-c copy rec.mp4 -frames:v 1 a.jpg":                             cmdline.Streaming,
		in + "-metadata -frames:v -metadata 1 out.mkv":                       cmdline.Streaming,
		"ffmpeg -frames:v 1 -i rtsp://10.0.0.1/s -c copy -":                  cmdline.Streaming,
		// No camera.
		"ffmpeg -i in.mp4 -frames:v 1 out.jpg":                     cmdline.NoCamera,
		"ffmpeg -i in.mp4 -c copy -f rtsp rtsp://10.0.0.9:8554/x":  cmdline.NoCamera,
		"ffmpeg -f lavfi -i testsrc -frames:v 1 -f null -":         cmdline.NoCamera,
		"ffmpeg -f concat -safe 0 -i pipe:0 -frames:v 1 -f null -": cmdline.NoCamera,
		"ffmpeg 600":         cmdline.NoCamera,
		"ffmpeg":             cmdline.NoCamera,
		"ffprobe in.mp4":     cmdline.NoCamera,
		"ffmpeg -frames:v 1": cmdline.NoCamera,
		// A camera, and nobody can say what for.
		"ffmpeg -i rtsp://10.0.0.1/s":        cmdline.Unknown,
		"ffprobe -v error rtsp://10.0.0.1/s": cmdline.Unknown,
		in + "-brandnew -frames:v 1 out.jpg": cmdline.Unknown,
	} {
		if got := cmdline.Read(words(line)).Shape(false); got != want {
			t.Errorf("%s\n is %s, want %s", line, got, want)
		}
	}
}

func TestCamera_toldByTheSocketOfAnInput(t *testing.T) {
	t.Parallel()
	for _, input := range []string{
		"-f concat -safe 0 -protocol_whitelist pipe,rtsp,rtp,tcp,udp -i pipe:0", "-i -", "-f concat -i list.ffconcat",
		"-i /dev/stdin", "-i http://films.example.org/video.mjpg", "-i cams.m3u8", "-i fd:", "-i live.sdp",
	} {
		l := cmdline.Read(words("ffmpeg -nostdin " + input + " -frames:v 1 -f image2 -c:v mjpeg pipe:1"))
		if !l.Hidden || len(l.Cameras) != 0 || l.Shape(true) != cmdline.OneFrame || l.Shape(false) != cmdline.NoCamera {
			t.Errorf("%s: %+v, %s", input, l, l.Shape(true))
		}
	}
	// A connection that no input explains says that there is something we do not know.
	if got := cmdline.Read(words("ffmpeg -i in.mp4 -frames:v 1 out.jpg")).Shape(true); got != cmdline.Unknown {
		t.Errorf("a file and a connection: %s", got)
	}
	if got := (cmdline.Line{}).Shape(true); got != cmdline.Unknown {
		t.Errorf("no command line, and a connection: %s", got)
	}
}

func TestTheCameraIsTheOneThatIsDialled(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"rtsp://192.168.125.19/stream1":                     "192.168.125.19:554",
		"rtsp://192.168.125.19:8554/stream1":                "192.168.125.19:8554",
		"RTSP://192.168.125.19":                             "192.168.125.19:554",
		"rtsps://192.168.125.19/x":                          "192.168.125.19:322",
		"rtsps://192.168.125.19:554/x":                      "192.168.125.19:554",
		"rtsp://admin:secret@192.168.125.19:554/stream1":    "192.168.125.19:554",
		"rtsp://admin:p@ss@192.168.125.19/stream1":          "192.168.125.19:554",
		"rtsp://admin:p@ss/w#rd%@192.168.125.19:1554/s":     "192.168.125.19:1554",
		"rtsp://admin:p%40ss%2Fw%23rd@192.168.125.19/s":     "192.168.125.19:554",
		"rtsp://[fd00::19]:8554/s":                          "[fd00::19]:8554",
		"rtsp://u:p@[fd00::19]/s":                           "[fd00::19]:554",
		"rtsp://[::ffff:192.168.125.19]/s":                  "192.168.125.19:554",
		"rtsp://gate.local/s":                               "gate.local:554",
		"rtsp://gate.local:8554/s":                          "gate.local:8554",
		"rtsp://192.168.125.19/user=admin_password=x_ch=1":  "192.168.125.19:554",
		"rtsp://192.168.125.19/live?user=a&password=b#hash": "192.168.125.19:554",
		"cache:rtsp://192.168.125.19/s":                     "192.168.125.19:554",
	} {
		l := cmdline.Read([]string{"/usr/bin/ffmpeg", "-i", url, "-frames:v", "1", "out.jpg"})
		if len(l.Cameras) != 1 || l.Cameras[0].String() != want || l.Program != "ffmpeg" {
			t.Errorf("%s: %v, want %s", url, l.Cameras, want)
		}
	}
	l := cmdline.Read(words("ffmpeg -i rtsp://10.0.0.1/a -i rtsp://10.0.0.2/a -i rtsp://10.0.0.1/b -map 0 a.mkv -map 1 b.mkv"))
	if len(l.Cameras) != 2 || l.Outputs != 2 {
		t.Errorf("two cameras, one of them twice: %+v", l)
	}
	l = cmdline.Read(words("ffmpeg -i rtsp://10.0.0.1/a -c copy -f rtsp rtsp://10.0.0.9:8554/x -f null -"))
	if len(l.Cameras) != 1 || len(l.Pushes) != 1 || l.Pushes[0].String() != "10.0.0.9:8554" || l.Outputs != 2 {
		t.Errorf("a relay: %+v", l)
	}
}

func TestNoSecretIsInTheText(t *testing.T) {
	t.Parallel()
	const secret = "S3cr3t"
	for _, args := range [][]string{
		{"-i", "rtsp://admin:" + secret + "@10.0.0.1/s"},
		{"-i", "rtsp://admin:" + secret + "@x/y#z%@10.0.0.1/s"},
		{"-i", "rtsp://admin:a b " + secret + "'\"@10.0.0.1/s"},
		{"-i", "rtsp://10.0.0.1/live?user=a&password=" + secret + "&ch=1"},
		{"-i", "rtsp://10.0.0.1/user=admin&pwd=" + secret},
		{"-headers", "Authorization: Basic " + secret + "\r\nX: y", "-i", "rtsp://10.0.0.1/s"},
		{"-headers", "X-Key: " + secret, "-i", "rtsp://10.0.0.1/s"},
		{"-cookies", "session=" + secret, "-i", "rtsp://10.0.0.1/s"},
		{"-i", "http://10.0.0.1/mjpg?token=" + secret},
		{"-i", "in.mp4", "-f", "flv", "rtmp://user:" + secret + "@10.0.0.9/live"},
	} {
		l := cmdline.Read(append(append([]string{"ffmpeg"}, args...), "-frames:v", "1", "out.jpg"))
		if strings.Contains(l.Text, secret) || !strings.Contains(l.Text, "***") || !l.Secret {
			t.Errorf("%q shows it: %s", args, l.Text)
		}
	}
	if l := cmdline.Read(words("ffmpeg -i rtsp://10.0.0.1/s -frames:v 1 out.jpg")); l.Secret || l.Text != "ffmpeg -i rtsp://10.0.0.1/s -frames:v 1 out.jpg" {
		t.Errorf("nothing to hide: %+v", l)
	}
}

func TestText_canBeTypedAgain(t *testing.T) {
	t.Parallel()
	l := cmdline.Read([]string{"ffmpeg", "-i", "rtsp://10.0.0.1/a b", "-vf", "drawtext=text='it''s'", "", "out\x1b[31m\n.jpg", "門.jpg"})
	want := `ffmpeg -i 'rtsp://10.0.0.1/a b' -vf 'drawtext=text='\''it'\'''\''s'\''' '' 'out?[31m?.jpg' 門.jpg`
	if l.Text != want {
		t.Errorf("got  %s\nwant %s", l.Text, want)
	}
	many := strings.Split(strings.Repeat(strings.Repeat("ж", 500)+" ", 100), " ")
	if long := cmdline.Read(append(many, strings.Repeat("x", 1<<20))); len(long.Text) > 4200 || !utf8.ValidString(long.Text) || !strings.HasSuffix(long.Text, "...") {
		t.Errorf("a command line of megabytes has %d bytes left", len(long.Text))
	}
	if long := cmdline.Read([]string{"ffmpeg", "-vf", strings.Repeat("x", 1<<20)}); long.Text != "ffmpeg -vf '(1048576 bytes)'" {
		t.Errorf("an argument of a megabyte: %s", long.Text)
	}
}

func TestFFmpegOfGo2rtcIsKnownByItsWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"ffmpeg -hide_banner -user_agent go2rtc/ffmpeg -i rtsp://10.0.0.1/s -c copy out.mp4":                    true,
		"ffmpeg -i rtsp://10.0.0.1/s -f rtsp rtsp://127.0.0.1:8554/0123456789abcdef0123456789abcdef":            true,
		"ffmpeg -i rtsp://10.0.0.1/s -user_agent ffmpeg/go2rtc -f rtsp rtsp://127.0.0.1:8554/x":                 true,
		"ffmpeg -i rtsp://10.0.0.1/s -f rtsp rtsp://10.0.0.9:8554/0123456789abcdef0123456789abcdef":             false,
		"ffmpeg -i rtsp://10.0.0.1/s -c copy out.mp4":                                                           false,
		"ffmpeg -i rtsp://10.0.0.1/0123456789abcdef0123456789abcdef -frames:v 1 0123456789abcdef0123456789.jpg": false,
	} {
		if got := cmdline.Read(words(line)).Go2rtc; got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

func TestWhatChoosesItsFrameMayTakeLong(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]bool{
		"-vf select=gt(scene\\,0.4)": true, "-filter:v thumbnail": true, "-vf scale=320:-1,fps=1/60": true,
		"-filter_complex [0:v]select='eq(n,100)'[o]": true, "-ss 10": true, "-vf select@a=1": true, "-filter_script x": true,
		"-/vf choose.txt": true, "-/filter:v choose.txt": true, "-vf scdet,metadata=select:key=lavfi.scd.time": true, "-vf cue=1767651840000000": true,
		"-vf reverse": true, "-vf hwupload,thumbnail_cuda=50": true,
		"-vf scale=320:-1": false, "-q:v 2": false, "-vf fpsx=1": true, "-metadata title=select=1": false,
	} {
		if got := cmdline.Read(words("ffmpeg -i rtsp://10.0.0.1/s " + options + " -frames:v 1 out.jpg")).Waits; (got != "") != want {
			t.Errorf("%s: %v", options, got)
		}
	}
}

func FuzzReadNeverFailsNorShowsThePassword(f *testing.F) {
	f.Add("ffmpeg\x00-i\x00rtsp://a:%s@10.0.0.1/s\x00-frames:v\x001\x00out.jpg", "S3cr3tWord")
	f.Add("ffmpeg\x00-headers\x00%s\x00-i\x00-\x00-", "Authorization: x")
	f.Add("ffprobe\x00%s\x00\x00--\x00-/vf\x00-i", "p@ss/w#rd%25")
	f.Add("\x00\xff\x00-i\x00rtsp://[\x00rtsps://%zz", "")
	f.Fuzz(func(t *testing.T, line, password string) {
		args := strings.Split(line, "\x00")
		l := cmdline.Read(args)
		for _, connected := range []bool{true, false} {
			switch l.Shape(connected) {
			case cmdline.OneFrame, cmdline.Streaming, cmdline.NoCamera, cmdline.Unknown:
			default:
				t.Errorf("shape %q", l.Shape(connected))
			}
		}
		for _, text := range []string{l.Text, cmdline.Read([]string{"ffmpeg", "-i", "rtsp://u:" + password + "@10.0.0.1/s"}).Text} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("not fit to be shown: %q", text)
			}
		}
		const shown = "ffmpeg -i rtsp://***@10.0.0.1/s"
		if len(password) > 5 && !strings.ContainsAny(password, "\x00*") && !strings.Contains(shown, password) {
			if l := cmdline.Read([]string{"ffmpeg", "-i", "rtsp://u:" + password + "@10.0.0.1/s"}); strings.Contains(l.Text, password) {
				t.Errorf("%q shows %q", l.Text, password)
			}
		}
	})
}

func TestGrammar_ofNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]cmdline.Grammar{
		"ffmpeg": cmdline.FFmpeg, "/usr/bin/ffmpeg": cmdline.FFmpeg, "ffprobe": cmdline.FFprobe, "ffmpeg7": cmdline.FFmpeg, "ffmpeg5.1": cmdline.FFmpeg,
		"ffmpeg.real": cmdline.FFmpeg, ".ffmpeg-wrapped": cmdline.FFmpeg, "ffmpeg-linux-x86_64-v7.0.2": cmdline.FFmpeg, "ffmpeg-linux-x8": cmdline.FFmpeg,
		"ffmpeg-7.1": cmdline.FFmpeg, "ffmpeg_static": cmdline.FFmpeg, "ffmpeg-n6.1-latest-linux64-gpl-6.1": cmdline.FFmpeg, "ffmpeg-n6.1-lat": cmdline.FFmpeg,
		"ffmpeg.bin": cmdline.FFmpeg, "ffprobe.real": cmdline.FFprobe, "/opt/ffmpeg (deleted)": cmdline.FFmpeg, "ffmpeg-git-20260101-amd64-static": cmdline.FFmpeg,
		"ffmpegthumbnailer": cmdline.Foreign, "ffmpeg-exporter": cmdline.Foreign, "ffmpeg2theora": cmdline.Foreign, "ffmpeg_supervisor.py": cmdline.Foreign,
		"ffmpeg-watch.sh": cmdline.Foreign, "myffmpeg": cmdline.Foreign, "python3": cmdline.Foreign, "ffplay": cmdline.Foreign, "": cmdline.Foreign, "ffmpeg-linux-runner": cmdline.Foreign,
	} {
		if got := cmdline.GrammarOf(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// What the kernel calls it counts where the arguments do not say.
	if l := cmdline.Read(words("cam-front -i rtsp://10.0.0.1/s -frames:v 1 a.jpg"), "/usr/bin/ffmpeg", "ffmpeg"); l.Shape(true) != cmdline.OneFrame || !l.Understood() {
		t.Errorf("renamed by exec -a: %+v", l)
	}
}

func TestLine_camerasOfEveryKind(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"ffmpeg -i http://192.168.1.9/video.mjpg -frames:v 1 a.jpg":                               "192.168.1.9:80",
		"ffmpeg -i https://192.168.1.9/snap -frames:v 1 a.jpg":                                    "192.168.1.9:443",
		"ffmpeg -i rtmp://192.168.1.9/bcs/channel0_main.bcs?user=a&password=b -frames:v 1 a.jpg":  "192.168.1.9:1935",
		"ffmpeg -i tcp://192.168.1.9:5000 -frames:v 1 a.jpg":                                      "192.168.1.9:5000",
		"ffmpeg -i http://gate.local:8080/v -frames:v 1 a.jpg":                                    "gate.local:8080",
		"ffmpeg -i http://camera1/v -frames:v 1 a.jpg":                                            "camera1:80",
		"ffmpeg -f lavfi -i movie=rtsp\\://192.168.1.9\\:8554/s -frames:v 1 a.jpg":                "192.168.1.9:8554",
		"ffmpeg -f lavfi -i movie='rtsp\\://192.168.1.9/s'[out] -frames:v 1 a.jpg":                "192.168.1.9:554",
		"ffmpeg -f lavfi -i movie=filename=rtsp\\://192.168.1.9/s,scale=320:-1 -frames:v 1 a.j":   "192.168.1.9:554",
		"ffmpeg -filter_complex movie=rtsp\\://192.168.1.9/s[a] -map [a] -frames:v 1 a.jpg":       "192.168.1.9:554",
		"ffmpeg -flags -global_header -i rtsp://192.168.1.9/s -flags -global_header -vframes 1 a": "192.168.1.9:554",
		"ffmpeg -i rtsp://192.168.1.9/s -frames:0 1 a.jpg":                                        "192.168.1.9:554",
	} {
		l := cmdline.Read(words(line))
		if len(l.Cameras) != 1 || l.Cameras[0].String() != want || l.Shape(false) != cmdline.OneFrame || l.Waits != "" {
			t.Errorf("%s: %+v, want %s", line, l, want)
		}
	}
	for _, line := range []string{"ffmpeg -i https://films.example.org/a.mp4 -frames:v 1 a.jpg", "ffmpeg -i tcp://0.0.0.0:9000?listen=1 -frames:v 1 a.jpg", "ffmpeg -i http://8.8.8.8/a a.mp4"} {
		if l := cmdline.Read(words(line)); len(l.Cameras) != 0 || !l.Hidden {
			t.Errorf("%s has cameras: %+v", line, l)
		}
	}
}

func TestLine_ofOtherPrograms(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"python3 x.py rtsp://a:b@192.168.1.9/s", "gst-launch-1.0 rtspsrc location=rtsp://192.168.1.9/s ! fakesink", "mplayer rtsp://192.168.1.9/s",
		"openRTSP -u a b rtsp://192.168.1.9/s", "node index.js --stream=rtsp://192.168.1.9:554/s", "vlc -I dummy rtsp://192.168.1.9/s :sout=#std{dst=rtsp://a}",
	} {
		l := cmdline.Read(words(line))
		if l.Grammar != cmdline.Foreign || len(l.Cameras) == 0 || l.Cameras[0].String() != "192.168.1.9:554" || len(l.Pushes) != 0 || l.Shape(true) != cmdline.Unknown || l.Idle() {
			t.Errorf("%s: %+v", line, l)
		}
	}
}

func TestLine_limitsAndProbes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]time.Duration{
		"-i rtsp://10.0.0.1/s -t 10 a.mp4": 10 * time.Second, "-t 00:01:30 -i rtsp://10.0.0.1/s a.mp4": 90 * time.Second, "-i rtsp://10.0.0.1/s -to 500ms a.mp4": 500 * time.Millisecond,
		"-i rtsp://10.0.0.1/s -t 10 a.mp4 -c copy b.mp4": 0, "-i rtsp://10.0.0.1/s a.mp4": 0, "-i rtsp://10.0.0.1/s -t x a.mp4": 0, "-i rtsp://10.0.0.1/s -t 5 a.mp4 -t 9 b.mp4": 9 * time.Second,
	} {
		if l := cmdline.Read(words("ffmpeg " + line)); l.For != want || l.Idle() {
			t.Errorf("%s: for %s, want %s", line, l.For, want)
		}
	}
	for line, want := range map[string]bool{
		"ffprobe -v error rtsp://10.0.0.1/s": true, "ffprobe -i rtsp://10.0.0.1/s -show_frames": true, "ffmpeg -i rtsp://10.0.0.1/s": true,
		"ffmpeg -hide_banner -rtsp_transport tcp -i rtsp://10.0.0.1/s": true, "ffmpeg -i rtsp://10.0.0.1/s -f null -": false, "ffplay rtsp://10.0.0.1/s": false,
	} {
		if l := cmdline.Read(words(line)); l.Idle() != want || len(l.Cameras) != 1 {
			t.Errorf("%s: idle %v, want %v: %+v", line, l.Idle(), want, l)
		}
	}
}

func TestLine_audioAloneIsNoPicture(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"-map 0:a -frames:v 1 a.mkv", "-map 0:a:0 -map 0:s? -vframes 1 a.mkv", "-frames:v 1 a.mp3", "-frames:v 1 -f wav -"} {
		if got := cmdline.Read(words("ffmpeg -i rtsp://10.0.0.1/s " + options)).Shape(true); got != cmdline.Streaming {
			t.Errorf("%s is %s", options, got)
		}
	}
	for _, options := range []string{"-map 0 -frames:v 1 a.jpg", "-map 0:v -frames:v 1 a.jpg", "-map 0:a -map 0:v:0 -frames:v 1 a.mkv", "-map [o] -frames:v 1 a.jpg"} {
		if got := cmdline.Read(words("ffmpeg -i rtsp://10.0.0.1/s " + options)).Shape(true); got != cmdline.OneFrame {
			t.Errorf("%s is %s", options, got)
		}
	}
}

// Whatever may read on while bytes come, and the ordinary things that do not.
func TestFilters_thatMayReadOn(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"-filter_complex showwavespic=s=640x120": "showwavespic", "-lavfi showspectrumpic": "showspectrumpic", "-vf palettegen": "palettegen", "-vf tmedian=radius=9": "tmedian",
		"-vf random=frames=500": "random", "-bsf:v noise=drop=1": "noise", "-filter_complex [0:v][1:v]concat=n=2": "concat", "-vf thumbnail=n=1000": "thumbnail",
		"-vf scale=320:-1,brandnewfilter": "brandnewfilter", "-vf [in]scale=2:2[a];[a]tile=3x3[out]": "tile", "-vf drawtext=text='a,b;select',eq": "",
		"-vf sws_flags=bilinear;scale=2:2": "", "-vf crop=10:10:0:0,format=yuvj420p,hflip;": "", "-bsf:v h264_mp4toannexb": "", "-af silencedetect": "",
		"-filter:a loudnorm": "", "-filter_complex [0:v]split[a][b]": "", "-vf b%d": "that it names", "-analyzeduration 600M": "10m0s", "-vf yadif,hwdownload,format=nv12": "",
		"-filter_complex [0:v][1:v]overlay=10:10": "overlay", "-vf freezedetect": "freezedetect", "-bsf:v filter_units=remove_types=6": "filter_units",
	} {
		l := cmdline.Read(words("ffmpeg -i rtsp://10.0.0.1/s " + options + " -frames:v 1 out.png"))
		if (want == "") != (l.Waits == "") || !strings.Contains(l.Waits, want) || l.Shape(true) != cmdline.OneFrame {
			t.Errorf("%s: %q, %s", options, l.Waits, l.Shape(true))
		}
	}
	if l := cmdline.Read(words("ffmpeg -analyzeduration 2147483647 -probesize 2147483647 -i rtsp://10.0.0.1/s -frames:v 1 o.jpg")); !strings.Contains(l.Waits, "35m47s") {
		t.Errorf("a probe of half an hour: %q", l.Waits)
	}
}

// An option that is newer than our list may take no value, and then what we take for its value is an output.
func TestLine_optionsThatAreNew(t *testing.T) {
	t.Parallel()
	const in = "ffmpeg -i rtsp://10.0.0.1/s "
	for _, line := range []string{
		in + "-frames:v 1 a.jpg -c copy -brandnew rec.mkv", in + "-frames:v 1 -brandnew a.jpg -c copy rec.mkv", in + "-c copy -brandnew rec.mkv",
		in + "-frames:v 1 a.jpg -brandnew rtsp://10.0.0.9/x", in + "-brandnew -",
	} {
		l := cmdline.Read(words(line))
		if got := l.Shape(true); got == cmdline.OneFrame || l.Idle() {
			t.Errorf("%s is %s, idle %v", line, got, l.Idle())
		}
	}
	for _, line := range []string{
		in + "-frames:v 1 -brandnew 5 a.jpg", in + "-progress pipe:5 -frames:v 1 a.jpg", in + "-frames:v 1 -f image2 - -hide_banner -loglevel error", in + "-frames:v 1 -passlogfile x.jpg a.jpg",
	} {
		if got := cmdline.Read(words(line)).Shape(true); got != cmdline.OneFrame {
			t.Errorf("%s is %s", line, got)
		}
	}
	if l := cmdline.Read(words("ffmpeg -f lavfi -i movie=rtsp\\\\://10.0.0.1/s,thumbnail=n=1000 -frames:v 1 a.jpg")); !strings.Contains(l.Waits, "thumbnail") || len(l.Cameras) != 1 {
		t.Errorf("a filter behind movie: %+v", l)
	}
}
