"""GStreamer's own RTSP server at /x: arguments are the port, what it plays or records, and which of the two."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, launch, mode = sys.argv[1:]
Gst.init(None)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(launch)
if mode == "records":
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
server.get_mount_points().add_factory("/x", factory)
server.attach(None)
GLib.MainLoop().run()
