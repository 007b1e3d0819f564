package redact_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestRedact_namesOfSecrets(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://h/video?authbasic=YWRtaW46MTIz&x=1":                                                        "http://h/video?authbasic=***&x=1",
		"http://h/livestream.cgi?loginuse=boss&loginpas=Kette9":                                            "http://h/livestream.cgi?loginuse=***&loginpas=***",
		"rtsp://h/live?psw=Kette9&ch=1":                                                                    "rtsp://h/live?psw=***&ch=1",
		"rtsp://h/live?pas=Kette9&ch=1":                                                                    "rtsp://h/live?pas=***&ch=1",
		"rtsp://h/live?usr=a&pwd=Kette9":                                                                   "rtsp://h/live?usr=a&pwd=***",
		"http://h/image?user=a&pw=Kette9&w=1":                                                              "http://h/image?user=a&pw=***&w=1",
		"http://h/v.mjpg?key=Kette9":                                                                       "http://h/v.mjpg?key=***",
		"http://h/v.mjpg?ch=1&api=Kette9#x":                                                                "http://h/v.mjpg?ch=1&api=***",
		"http://h/webapi/entry.cgi?version=9&_sid=Kette9&id=3":                                             "http://h/webapi/entry.cgi?version=9&_sid=***&id=3",
		"http://h/v?sid=Kette9&session=Kette9":                                                             "http://h/v?sid=***&session=***",
		"http://h/v?sessionId=Kette9;x":                                                                    "http://h/v?sessionId=***",
		"http://h/v;JSESSIONID=Kette9":                                                                     "http://h/v;JSESSIONID=***",
		"http://h/v?PHPSESSID=Kette9&n=1":                                                                  "http://h/v?PHPSESSID=***&n=1",
		"http://h/v?access_key=Kette9&streamKey=Kette9":                                                    "http://h/v?access_key=***&streamKey=***",
		"https://h/v?X-Amz-Signature=Kette9&sig=Kette9&sign=ab1":                                           "https://h/v?X-Amz-Signature=***&sig=***&sign=***",
		"rtsps://h:443/v4/x?signInfo=Kette9":                                                               "rtsps://h:443/v4/x?signInfo=***",
		"http://h/v?verifyCode=KETTEN&ch=1":                                                                "http://h/v?verifyCode=***&ch=1",
		"http://h/v?u=boss&p=Kette9&ch=1":                                                                  "http://h/v?u=boss&p=***&ch=1",
		"http://h/v?p=Kette9&username=boss":                                                                "http://h/v?p=***&username=boss",
		"rtsp://h/user=boss&p=Kette9&channel=1.sdp":                                                        "rtsp://h/user=boss&p=***&channel=1.sdp",
		"src=http%3A%2F%2Fh%2Fv%3Fuser%3Da%26p%3DKette9%26n%3D1":                                           "src=http%3A%2F%2Fh%2Fv%3Fuser%3Da%26p%3D***%26n%3D1",
		"src=http%3A%2F%2Fh%2Fv%3Fkey%3DKette9%26n%3D1":                                                    "src=http%3A%2F%2Fh%2Fv%3Fkey%3D***%26n%3D1",
		`{"url":"http://h/v?a=1\u0026sid=Kette9\u0026n=1"}`:                                                `{"url":"http://h/v?a=1\u0026sid=***\u0026n=1"}`,
		"http://h/v?a=1&amp;key=Kette9&amp;n=1":                                                            "http://h/v?a=1&amp;key=***&amp;n=1",
		"srt://h:8890?streamid=publish:gate:boss:Kette9&n=1":                                               "srt://h:8890?streamid=publish:gate:***&n=1",
		"rtspsrc location=rtsp://h/x user-id=boss user-pw=Kette":                                           "rtspsrc location=rtsp://h/x user-id=boss user-pw=***",
		"Cookie: session=Kette9; a=b\r\nHost: h":                                                           "Cookie: ***\r\nHost: h",
		"X-Api-Key: Kette9\r\nHost: h":                                                                     "X-Api-Key: ***\r\nHost: h",
		"homekit://h:51827?client_private=Kette9&pin=123":                                                  "homekit://h:51827?client_private=***&pin=***",
		"rtmp://h/app playpath=Kette9 live=1":                                                              "rtmp://h/app playpath=*** live=1",
		"<wsse:Password Type=\"x#PasswordDigest\">Kette9=</wsse:Password><ProfileToken>P_1</ProfileToken>": "<wsse:Password Type=\"x#PasswordDigest\">***</wsse:Password><ProfileToken>P_1</ProfileToken>",
		"rtsps://h?egressToken=Kette9&userAgent=iOS":                                                       "rtsps://h?egressToken=***&userAgent=iOS",
		// Command lines that are one text.
		"ffmpeg -srtp_out_params Kette9+/= -f rtp srtp://h:1":  "ffmpeg -srtp_out_params *** -f rtp srtp://h:1",
		"ffmpeg -decryption_key 0123abcd -i in.mp4":            "ffmpeg -decryption_key *** -i in.mp4",
		"curl -u boss:Kette9 http://h/v":                       "curl -u boss:*** http://h/v",
		"curl --user 'boss:Kette 9' http://h/v":                "curl --user 'boss:*** 9' http://h/v",
		"openRTSP -V -u boss Kette9 rtsp://h/v":                "openRTSP -V -u boss *** rtsp://h/v",
		"docker run --user 1000:1000 -u 33:33 x":               "docker run --user 1000:1000 -u 33:33 x",
		"vlc --rtsp-user boss --rtsp-pwd Kette9 rtsp://h/":     "vlc --rtsp-user boss --rtsp-pwd *** rtsp://h/",
		`{"stream_key":"Kette9","session-id": "Kette9","n":1}`: `{"stream_key":"***","session-id": "***","n":1}`,
	} {
		if got := redact.String(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		} else if again := redact.String(got); again != got {
			t.Errorf("a second time changed %q to %q", got, again)
		}
	}
}

func TestRedact_argumentsOfEveryProgram(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ffmpeg|-decryption_key|00ff|-i|x.mp4":                   "ffmpeg|-decryption_key|***|-i|x.mp4",
		"ffmpeg|-srtp_in_params|a+b|-i|x.sdp":                    "ffmpeg|-srtp_in_params|***|-i|x.sdp",
		"ffmpeg|-cenc_decryption_key|00|-key|11|-i|crypto:x":     "ffmpeg|-cenc_decryption_key|***|-key|***|-i|crypto:x",
		"ffmpeg|-rtmp_playpath|Kette9|rtmp://h/live":             "ffmpeg|-rtmp_playpath|***|rtmp://h/live",
		"ffmpeg|-user|boss:Kette|-i|http://h/v":                  "ffmpeg|-user|***|-i|http://h/v",
		"curl|-u|boss:Kette 9|http://h/v":                        "curl|-u|***|http://h/v",
		"curl|-uboss:Kette9|http://h/v":                          "curl|-u***|http://h/v",
		"curl|--user=boss:Kette9|http://h/v":                     "curl|--user=***|http://h/v",
		"curl|--proxy-user|boss:Kette9|-b|session=Kette9|x":      "curl|--proxy-user|***|-b|session=***|x",
		"curl|-H|X-Api-Key: Kette9|-H|Cookie: Kette9|x":          "curl|-H|X-Api-Key: ***|-H|Cookie: ***|x",
		"wget|--http-password=Kette9|--header=X-Key: Kette9|x":   "wget|--http-password=***|--header=***|x",
		"/usr/bin/openRTSP|-4|-u|boss|Kette9|rtsp://h/v":         "/usr/bin/openRTSP|-4|-u|boss|***|rtsp://h/v",
		"openRTSP|-R|x|-k|boss|Kette9|rtsp://h/v":                "openRTSP|-R|x|-k|boss|***|rtsp://h/v",
		"gst-launch-1.0|rtspsrc|location=rtsp://h|user-pw=a b":   "gst-launch-1.0|rtspsrc|location=rtsp://h|user-pw=***",
		"mplayer|-user|boss|-passwd|Kette9|rtsp://h/v":           "mplayer|-user|boss|-passwd|***|rtsp://h/v",
		"cvlc|--rtsp-pwd=Kette9|rtsp://h/v":                      "cvlc|--rtsp-pwd=***|rtsp://h/v",
		"http|-a|boss:Kette9|http://h/v":                         "http|-a|***|http://h/v",
		"python3|-u|cam.py|rtsp://boss:Kette9@h/v":               "python3|-u|cam.py|rtsp://***@h/v",
		"python3|cam.py|--stream|rtsp://h/v|--password|Kette9":   "python3|cam.py|--stream|rtsp://h/v|--password|***",
		"sudo|-u|www-data|ffmpeg|-i|rtsp://h/v":                  "sudo|-u|www-data|ffmpeg|-i|rtsp://h/v",
		"docker|run|--user|1000:1000|-u|33:33|img":               "docker|run|--user|1000:1000|-u|33:33|img",
		"ffmpeg|-auth_type|basic|-i|rtsp://h/v|-g|1|-keyint|2":   "ffmpeg|-auth_type|basic|-i|rtsp://h/v|-g|1|-keyint|2",
		"ffmpeg|-f|lavfi|-i|movie=rtsp\\://boss\\:Kette9@h/v":    "ffmpeg|-f|lavfi|-i|movie=rtsp\\://***@h/v",
		"ffmpeg|-f|lavfi|-i|movie=rtsp\\\\://boss\\\\:Kette@h/v": "ffmpeg|-f|lavfi|-i|movie=rtsp\\\\://***@h/v",
	} {
		got := strings.Join(redact.Args(strings.Split(in, "|")), "|")
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
		if again := strings.Join(redact.Args(strings.Split(got, "|")), "|"); again != got {
			t.Errorf("a second time changed %s to %s", got, again)
		}
	}
}

func TestRedact_tokensInPaths(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"rtsps://nvr:7441/vGiUVAvRD0ZuPxxz?enableSrtp":                      "rtsps://nvr:7441/***?enableSrtp",
		"rtsp://192.168.1.1:7447/short":                                     "rtsp://192.168.1.1:7447/***",
		"rtsp://[fd00::1]:7447/5ad8eb0be4b0be7f2a3b7b8c_0":                  "rtsp://[fd00::1]:7447/***",
		"rtspx://nvr:7441/vGiUVAvRD0ZuPxxz":                                 "rtspx://nvr:7441/***",
		"rtmp://a.rtmp.youtube.com/live2/kett-ekett-9":                      "rtmp://a.rtmp.youtube.com/live2/***",
		"rtmp://relay.example/live2/kette9":                                 "rtmp://relay.example/live2/***",
		"rtmps://live-api-s.facebook.com:443/rtmp/FB-1-0-Abc?s_bl=1":        "rtmps://live-api-s.facebook.com:443/rtmp/***?s_bl=1",
		"rtmp://live.twitch.tv/app/live_12345_Kette9?bandwidthtest=true":    "rtmp://live.twitch.tv/app/***?bandwidthtest=true",
		"rtmps://dc4-1.rtmp.t.me/s/1234:KetteKette":                         "rtmps://dc4-1.rtmp.t.me/s/***",
		"rtmp://10.0.0.9/live/abcd-1efg-h2ij-3klm-n4op":                     "rtmp://10.0.0.9/live/***",
		"rtsp://h/live/0f8fad5b-d9cb-469f-a165-70867728950e/main":           "rtsp://h/live/***/main",
		"rtsp://127.0.0.1:8554/0123456789abcdef0123456789abcdef":            "rtsp://127.0.0.1:8554/***",
		"http://h/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3/v.m3u8": "http://h/***/v.m3u8",
		"http://h/Xk7Qz92LmPw4/mjpeg/GroupKey/monitor1/s.mjpg":              "http://h/***/mjpeg/GroupKey/monitor1/s.mjpg",
		"http://h/YWRtaW46S2V0dGU5/v.mjpg":                                  "http://h/***/v.mjpg",
		"rtsp://h:554/0/admin:Kette9/main":                                  "rtsp://h:554/0/***/main",
		"http://h/v?anything=9f86d081884c7d659a2feaa0c55ad015&n=1":          "http://h/v?anything=***&n=1",
		"src=rtsps%3A%2F%2Fnvr%3A7441%2FvGiUVAvRD0ZuPxxz%3FenableSrtp&n=1":  "src=rtsps%3A%2F%2Fnvr%3A7441%2F***%3FenableSrtp&n=1",
		`{"url":"rtsps:\/\/nvr:7441\/vGiUVAvRD0ZuPxxz"}`:                    `{"url":"rtsps:\/\/nvr:7441\/***"}`,
		"rtsp://boss:Kette9@nvr:7447/vGiUVAvRD0ZuPxxz":                      "rtsp://***@nvr:7447/***",
		"-i rtsps://nvr:7441/vGiUVAvRD0ZuPxxz: Invalid data":                "-i rtsps://nvr:7441/***: Invalid data",
		"rtsps://a:7441/vGiUVAvRD0ZuPxxz,rtsps://b:7441/vGiUVAvRD0ZuPxxz":   "rtsps://a:7441/***,rtsps://b:7441/***",
	} {
		if got := redact.String(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		} else if again := redact.String(got); again != got {
			t.Errorf("a second time changed %q to %q", got, again)
		}
	}
}

// The paths that makers and servers really use; what differs from them is for the eye of an operator.
func TestRedact_ordinaryPathsStay(t *testing.T) {
	t.Parallel()
	for path := range strings.FieldsSeq(ordinaryPaths) {
		for _, host := range []string{"rtsp://192.168.1.9:554", "http://gate.local:8080", "rtmp://10.0.0.9", "rtsp://[fd00::1]"} {
			if url := host + path; redact.String(url) != url {
				t.Errorf("%s became %s", url, redact.String(url))
			}
		}
		if redact.String(path) != path {
			t.Errorf("%s became %s", path, redact.String(path))
		}
	}
	for _, text := range []string{
		"-vf scdet,metadata=select:key=lavfi.scd.time", "-force_key_frames expr:gte(t,n_forced*2)", "-x264-params keyint=50:min-keyint=50",
		"-show_entries frame=key_frame,pict_type", "signal=TERM", "code=404", "the session was not found", "exit code 1 (key=value)",
		"http://127.0.0.1:1984/api/frame.jpeg?src=camwarden-gate-1a2b3c4d", "rtsp://127.0.0.1:8554/camwarden-haustuer-1a2b3c4d",
		"camwarden --password-file yard.pw snapshot gate", "-pass-through none", "python3 -u cam.py rtsp://h/v", "file:///tmp/9f86d081884c7d659a2feaa0c55ad015",
	} {
		if got := redact.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

const ordinaryPaths = `
/h264Preview_01_main /h264Preview_12_sub /h265Preview_01_main /Preview_01_autotrack /Streaming/Channels/101 /Streaming/channels/1/picture
/cam/realmonitor?channel=1&subtype=0 /cam/realmonitor?channel=16&subtype=1&unicast=true&proto=Onvif /ISAPI/Streaming/channels/101/picture
/ISAPI/ContentMgmt/StreamingProxy/channels/101/picture /ISAPI/Streaming/channels/101/?transportmode=unicast /PSIA/streaming/channels/101
/0/profile2/media.smp /H264/ch1/main/av_stream /h264/ch33/sub/av_stream /LAPI/V1.0/Channels/0/Media/Video/Streams/0/Snapshot
/LiveChannel/0/media.smp /MediaInput/h264/stream_1 /Src/MediaInput/stream_1 /SnapshotJPEG?Resolution=640x480 /axis-cgi/jpg/image.cgi
/axis-media/media.amp?videocodec=h264&resolution=1920x1080&camera=1 /bcs/channel0_main.bcs?channel=0&stream=0 /bubble/live?ch=0&stream=0
/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2 /cgi-bin/api.cgi?cmd=Snap&channel=0&rs=4711 /ch0_0.h264 /chID=1&streamType=main
/defaultPrimary?streamType=u /flv?port=1935&app=bcs&stream=channel0_main.bcs /live/profile.0/video /mpeg/720p/media.amp
/nphMpeg4/nil-640x480 /nphMpeg4/g726-640x480 /onvif-media/media.amp?profile=profile_1_h264&sessiontimeout=60&streamtype=unicast
/onvif/profile2/media.smp /onvifsnapshot/media_service/snapshot?channel=1&subtype=0 /proxy/protect/api/cameras /rtsp_tunnel?inst=1&line=1
/stw-cgi/video.cgi?msubmenu=snapshot&action=view /stw-cgi/bypass.cgi?msubmenu=bypass&action=control&Channel=1 /tcp/av0_0 /unicast/c1/s0/live
/videoMain /web/tmpfs/snap.jpg /webcam/?action=snapshot /stream0/mobotix.mjpeg /videoinput_1:0/h264_1/media.stm /rtsph2641080p /ucast/11
/mpeg4cif /udpstream_ch1_stream2_h264 /MainStreamProfileToken /MediaProfile00001 /PROFILE_000 /ProfileToken001 /Profile_1 /VideoInput/1/h264/1
/img/video.sav /CH001.sdp /profile1=r /media/video1/trackID=1 /live/ch00_0 /user1/live.sdp /stander/livestream/0/0 /11 /mjpeg4/Media.amp
/api/camera_proxy_stream/camera.front_door /api/hls/front_door/index.m3u8 /birdseye /front_door_sub /Haustuer_Nordseite_HD /Garageneinfahrt2
/einfahrt-kamera-01-main /camera01frontdoor1080p /FrontDoorCamera2MainStream /BackYardPTZ4K /genkan_kamera_1 /chushajo-kita-02 /entree_principale_720p
/GarageDoorHDR30fps /nvr/cam01/main/20260105T220000Z /rec/20260105/220000.mp4 /starttime=20260105T220000Z&endtime=20260105T230000Z
/cam/playback?channel=1&starttime=2026_01_05_22_00_00 /Streaming/tracks/101?starttime=20260105T220000Z /ec71dbc0ffee /serial/00408cabcdef/live
/doc/page/preview.asp /mediamtx/some/path /axis-media/media.amp?streamprofile=Quality /live?camera=1&fps=30&resolution=1280x720&compression=25
/image.cgi?type=motion&camera=10 /snapshot/1/snapshot.jpg /oneshotimage1 /GetData.cgi?CH=1 /jpg/1/image.jpg?timestamp=1767651840000
/mjpg/video.mjpg?resolution=640x480&fps=5 /hls/streams/camera_driveway/playlist_1080p.m3u8 /whep/front_door /ws/preview01
`

// A token that nobody told us about is told by its looks alone: all of those that are long, and nearly all of the rest.
func TestRedact_tokensByLot(t *testing.T) {
	t.Parallel()
	lots := rand.New(rand.NewPCG(14, 6))
	times := 1000
	if testkit.IsLong() {
		times = 10_000
	}
	const letters, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "0123456789"
	for _, kind := range []struct {
		name, alphabet string
		length         int
		missed         int // of 10,000, at most
	}{
		{"hex", "abcdef" + digits, 16, 50}, {"hex", "abcdef" + digits, 24, 5}, {"hex", "ABCDEF" + digits, 32, 1}, {"hex", "abcdef" + digits, 64, 0},
		{"base62", letters + digits, 12, 500}, {"base62", letters + digits, 16, 400}, {"base62", letters + digits, 22, 30}, {"base62", letters + digits, 32, 5},
		{"base64url", letters + digits + "-_", 22, 100}, {"base64url", letters + digits + "-_", 43, 2},
		{"base36", letters[26:] + digits, 20, 60}, {"base36", letters[26:] + digits, 32, 5}, {"base32", letters[:26] + "234567", 32, 30},
	} {
		missed, example := 0, ""
		for range times {
			token := make([]byte, kind.length)
			for i := range token {
				token[i] = kind.alphabet[lots.IntN(len(kind.alphabet))]
			}
			if redact.Tokens("rtsp://h/live/"+string(token)+"/v", func(string) string { return "" }) != "rtsp://h/live//v" {
				missed, example = missed+1, string(token)
			}
		}
		if most := (kind.missed*times + 9999) / 10_000; missed > most {
			t.Errorf("%s of %d: %d of %d were not seen, %s for one, want at most %d", kind.name, kind.length, missed, times, example, most)
		}
	}
}

func FuzzRedactTokens(f *testing.F) {
	f.Add("rtsps://nvr:7441/vGiUVAvRD0ZuPxxz?enableSrtp", "curl\x00-u\x00a:b\x00x")
	f.Add("src=rtsps%3A%2F%2Fnvr%3A7441%2Fv%3Fu%3Da%26p%3Db&n", "openRTSP\x00-u\x00a\x00b")
	f.Add("-user 'a:b' key=a&p=b?u=1 -key \\u0026sid=1", "ffmpeg\x00-key\x00\x00-user=a:b\x00-ua:b")
	f.Fuzz(func(t *testing.T, text, line string) {
		got := redact.String(text)
		if again := redact.String(got); again != got {
			t.Errorf("a second time changed %q to %q", got, again)
		}
		args := strings.Split(line, "\x00")
		shown := redact.Args(args)
		if again := redact.Args(shown); len(shown) != len(args) || strings.Join(again, "\x00") != strings.Join(shown, "\x00") {
			t.Errorf("a second time changed %q to %q", shown, again)
		}
		_ = redact.Tokens(text, func(token string) string {
			if token == "" {
				t.Errorf("an empty token in %q", text)
			}
			return "x"
		})
		if got := redact.String("rtsps://nvr:7441/" + strings.Map(word, line) + "Kette9"); strings.Contains(got, "Kette9") {
			t.Errorf("%q shows the token", got)
		}
	})
}

func word(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return -1
}
