"""Serve test pictures over RTSP by GStreamer, as H.264: a camera that nobody of camwarden wrote.

usage: server.py HOST PATTERN...     one stream a pattern of videotestsrc, at /PATTERN; +NAME takes one that is published at /NAME
       server.py --reference PATTERN the picture itself on stdout, RGB, as it is before the encoder sees it
       server.py --check             ends with 0 if everything needed is installed

With RTSP_USER and RTSP_PASSWORD in its environment every stream asks for a digest log-in. It prints HOST:PORT once it
listens, and answers each line on stdin by the number of clients that are connected. The end of stdin is its end.
"""
import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

SIZE = "width=640,height=480"
SOURCE = "videotestsrc pattern=%s"
STREAM = (
    "( " + SOURCE + " is-live=true ! video/x-raw,format=I420," + SIZE + ",framerate=10/1"
    " ! x264enc tune=zerolatency bitrate=4000 key-int-max=10 ! rtph264pay name=pay0 pt=96 )"
)
REFERENCE = SOURCE + " num-buffers=1 ! video/x-raw,format=I420," + SIZE + " ! videoconvert ! video/x-raw,format=RGB ! fdsink fd=1"


def check():
    needed = ("videotestsrc", "x264enc", "rtph264pay", "fdsink")
    missing = [name for name in needed if Gst.ElementFactory.find(name) is None]
    sys.exit("missing: " + " ".join(missing) if missing else 0)


def reference(pattern):
    pipeline = Gst.parse_launch(REFERENCE % pattern)
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(20 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    sys.exit(0 if message and message.type == Gst.MessageType.EOS else "no picture of " + pattern)


def log_in(user, password):
    auth = GstRtspServer.RTSPAuth.new()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, token)
    return auth


def serve(host, patterns):
    server = GstRtspServer.RTSPServer.new()
    server.set_address(host)
    server.set_service("0")
    user = os.environ.get("RTSP_USER")
    if user:
        server.set_auth(log_in(user, os.environ["RTSP_PASSWORD"]))
    for pattern in patterns:
        factory = GstRtspServer.RTSPMediaFactory.new()
        if pattern.startswith("+"):
            pattern = pattern[1:]
            factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
            factory.set_launch("( rtph264depay name=depay0 ! fakesink async=false )")
        else:
            factory.set_launch(STREAM % pattern)
        factory.set_shared(True)
        if user:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory("/" + pattern, factory)

    clients = set()

    def connected(_, client):
        clients.add(client)
        client.connect("closed", clients.discard)

    server.connect("client-connected", connected)
    server.attach(None)

    loop = GLib.MainLoop()

    def asked(stdin, _):
        if not stdin.readline():
            loop.quit()
            return False
        print(len(clients), flush=True)
        return True

    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, asked)
    print("%s:%d" % (host, server.get_bound_port()), flush=True)
    loop.run()


Gst.init(None)
if sys.argv[1] == "--check":
    check()
elif sys.argv[1] == "--reference":
    reference(sys.argv[2])
else:
    serve(sys.argv[1], sys.argv[2:])
