package ffmpeg

import (
	"fmt"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// order is one call of ffmpeg.
type order struct {
	args  []string
	stdin []byte // holds the URL with the password
	idle  time.Duration
	home  []string
	tool  Tool
}

// order words the call for a visit that may still take left. The output is one JPEG on stdout.
//
// What the odd options are for, measured at 15 pictures a second with a key frame every 2 s:
//   - fpsprobesize 0: do not collect 20 pictures to guess a frame rate that nobody needs (3.0 s become 1.7 s);
//   - max_ts_probe 0: nor pictures that tell how far decoding lags behind, once their size is known (where a key frame comes
//     at once: 1.0 s become 0.3 s at 25 pictures a second, 8.2 s become 1.3 s at one a second);
//   - filter_threads and threads 1: threads for one picture cost more than they give;
//   - nofind_stream_info: the concat reader has probed the camera already; probing again would double the wait for a
//     camera that is mute after PLAY, and take it beyond our limit, where ffmpeg leaves without TEARDOWN;
//   - skip_frame nokey: only a key frame is a clean picture;
//   - setpts: pictures probed before the first key frame have negative times, and ffmpeg would drop the key frame with them;
//   - loglevel verbose: at "error" it hides a redirect, and how far the conversation came.
func (t Tool) order(call Call, picturing Picturing, left time.Duration) (order, *fault.Error) {
	if left <= 0 {
		return order{}, fault.New(fault.Deadline, "", "not tried: no time was left to dial").WithHint("raise the timeout")
	}
	o := order{tool: t, home: homeOf(call.Camera.Address, call.Camera.Host, call.Camera.Port)}
	dial := call.Camera.DialURL(call.Password)
	if strings.ContainsAny(dial, "\r\n\x00") {
		return order{}, fault.New(fault.Usage, "", "the path of %s holds a line break", call.Camera.ID).
			WithHint("correct path of this camera in the configuration")
	}
	options := append([][2]string{{"allowed_media_types", "video"}, {"fpsprobesize", "0"}, {"max_ts_probe", "0"}}, transportOf(call.Camera)...)
	if t.idle != "" {
		o.idle = idleFor(left)
		options = append(options, [2]string{t.idle, fmt.Sprint(o.idle.Microseconds())})
	}
	o.args = []string{"-nostdin", "-hide_banner", "-nostats", "-loglevel", "verbose", "-filter_threads", "1",
		"-protocol_whitelist", protocols(call.Camera, t.script), "-threads", "1", "-skip_frame", "nokey"}
	if t.script {
		o.args = append(o.args, "-nofind_stream_info", "-f", "concat", "-safe", "0", "-i", "pipe:0")
		o.stdin = script(dial, options)
	} else {
		for _, option := range options {
			o.args = append(o.args, "-"+option[0], option[1])
		}
		o.args = append(o.args, "-i", dial)
	}
	o.args = append(o.args, "-an", "-sn", "-dn", "-threads", "1", "-vf", "setpts=PTS-STARTPTS,"+picturing.filter())
	o.args = append(o.args, picturing.output("pipe:1")...)
	return o, nil
}

// idleFor is ffmpeg's own time-out within left: enough earlier that ffmpeg can start, say TEARDOWN and end by itself.
func idleFor(left time.Duration) time.Duration {
	return max(left-min(max(left/6, 400*time.Millisecond), 2*time.Second), left/2)
}

func transportOf(c camera.Camera) [][2]string {
	switch c.Transport {
	case camera.UDP:
		return [][2]string{{"rtsp_transport", "udp"}}
	case camera.Auto:
		return [][2]string{{"rtsp_flags", "prefer_tcp"}}
	}
	return [][2]string{{"rtsp_transport", "tcp"}}
}

// protocols is the shortest list that works. Without tls a plain camera cannot lead ffmpeg to a TLS one, nor anywhere
// that is not RTSP.
func protocols(c camera.Camera, script bool) string {
	list := "rtsp,tcp"
	if script {
		list = "pipe," + list
	}
	if c.Scheme == "rtsps" {
		list += ",rtsps,tls"
	}
	if c.Transport == camera.UDP || c.Transport == camera.Auto {
		list += ",rtp,udp"
	}
	return list
}

// script is the ffconcat script that names the URL (ffmpeg-formats, "concat"). Inside quotes every byte but the quote stands
// for itself.
func script(dial string, options [][2]string) []byte {
	var b strings.Builder
	b.WriteString("ffconcat version 1.0\nfile '" + strings.ReplaceAll(dial, "'", `'\''`) + "'\n")
	for _, option := range options {
		b.WriteString("option " + option[0] + " " + option[1] + "\n")
	}
	return []byte(b.String())
}

// evidence gathers what classify and mayLinger need about how the call ended.
func (o order) evidence(ending supervise.Ending) evidence {
	return evidence{
		account: read(ending.Stderr), elapsed: ending.Duration, idle: o.idle, script: o.tool.script, home: o.home,
	}
}
