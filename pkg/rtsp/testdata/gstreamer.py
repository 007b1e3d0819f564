"""Serve one GStreamer pipeline over RTSP at /stream1, perhaps behind a digest log-in, perhaps with another pipeline beside it that runs
all the time. Prints host:port when it listens."""
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)
if sys.argv[1] == "--check":
    needed = "x264enc x265enc jpegenc rtph264pay rtph265pay rtpjpegpay videotestsrc".split()
    needed += "ivfparse mpeg4videoparse mpegvideoparse vp8enc vp9enc rtpvp8pay rtpvp9pay rtpmp4vpay rtpmpvpay".split()
    missing = [name for name in needed if Gst.ElementFactory.find(name) is None]
    sys.exit("no " + " ".join(missing) if missing else 0)

host, pipeline, user, password = sys.argv[1:5]
server = GstRtspServer.RTSPServer.new()
server.set_address(host)
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch("( " + pipeline + " )")
factory.set_shared(True)
if user:
    auth = GstRtspServer.RTSPAuth.new()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
if len(sys.argv) > 5:
    beside = Gst.parse_launch(sys.argv[5])
    beside.set_state(Gst.State.PLAYING)
server.get_mount_points().add_factory("/stream1", factory)
server.attach(None)
print("%s:%d" % (host, server.get_bound_port()), flush=True)
GLib.MainLoop().run()
