"""Debian's gst-rtsp-server as a camera that none of our code is part of; run by /usr/bin/python3.

Usage: gst_camera.py [--profile main|baseline] [--username U --password P]
Prints {"event": "ready", "url": …}.
"""

import argparse
import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - versions come first

DIGEST = 2  # GST_RTSP_AUTH_DIGEST
PIPELINE = (
    "( videotestsrc is-live=true pattern=ball"
    " ! video/x-raw,width=640,height=360,framerate=25/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=50"
    " ! video/x-h264,profile={profile} ! h264parse config-interval=-1"
    " ! rtph264pay name=pay0 pt=96 config-interval=-1"
    " audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=8000,channels=1 ! alawenc"
    " ! rtppcmapay name=pay1 pt=8 )"
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", default="main")
    parser.add_argument("--username")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(profile=options.profile))
    factory.set_shared(True)
    if options.username:
        protect(server, factory, options.username, options.password)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    port = server.get_bound_port()
    ready = {"event": "ready", "url": f"rtsp://127.0.0.1:{port}/cam"}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def protect(server: object, factory: object, username: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(username, password, token)
    server.set_auth(auth)
    role = Gst.Structure.new_empty("viewer")
    role.set_value("media.factory.access", True)
    role.set_value("media.factory.construct", True)
    factory.add_role_from_structure(role)


if __name__ == "__main__":
    main()
