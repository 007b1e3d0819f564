package inventory

import "strings"

// foreign says why an address that is not RTSP gives no camera. It names the scheme if it is a known one, and quotes nothing.
func foreign(address string) string {
	scheme, rest, ok := strings.Cut(strings.ToLower(address), ":")
	switch scheme {
	case "http", "https", "httpx":
		if strings.Contains(rest, "/flv") || strings.Contains(rest, ".flv") {
			return "it is HTTP-FLV; the camera may speak RTSP, but the file does not say at which path: ask it with camwarden discover"
		}
		return "it is HTTP and no RTSP; if it gives single pictures, it can be the snapshot of a camera, by hand"
	case "onvif":
		return "it is ONVIF: ask the camera for its path with camwarden discover"
	case "tapo", "vigi", "kasa":
		return scheme + ": its password is that of the maker's account, and not the camera account that RTSP wants; make one in the maker's app"
	case "exec", "echo", "expr":
		return scheme + ": its address is what a program puts out"
	case "rtmp", "rtmps", "rtmpt":
		return scheme + ": the camera may speak RTSP, but the file does not say at which path: ask it with camwarden discover"
	case "dvrip", "bubble", "wyze", "xiaomi", "homekit", "webrtc", "hass", "nest", "ring", "roborock", "gopro", "ivideon", "doorbird",
		"eseecloud", "tuya", "yandex", "flussonic", "isapi", "multitrans", "alsa", "v4l2", "tcp", "udp", "srt", "mjpeg", "hls",
		"wss", "ws", "whep", "pinggy", "rawvideo", "unix", "file", "ffmpeg":
		return scheme + ": not a protocol that camwarden speaks"
	}
	switch {
	case strings.HasPrefix(address, "/dev/"):
		return "it is a device of that host, and no camera in the network"
	case strings.Contains(address, "{"):
		return "it is a template"
	case ok && strings.HasPrefix(rest, "//"):
		return "its scheme is not known here"
	case unset(address) != "":
		return unset(address) + " is not set here, and stands for more than the password"
	default:
		return "it has no scheme, like rtsp://"
	}
}
