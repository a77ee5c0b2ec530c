"""A WebRTC peer that shares no code with Aerial: publishes or watches with aiortc.

Says what happens as one JSON object per line, and leaves when its standard input ends.

Each picture shows its number as sixteen bars, black or white, so that a watcher can tell which
picture it has decoded.
"""

import argparse
import asyncio
import fractions
import json
import math
import sys
import time
import urllib.request
from array import array

import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc import RTCRtpReceiver, rtcdtlstransport
from aiortc.mediastreams import MediaStreamError, VideoStreamTrack

WIDTH, HEIGHT, BARS = 320, 192, 16
RATE, SAMPLES = 48_000, 960
TONE = array("h", (int(12_000 * math.sin(2 * math.pi * 500 * at / RATE)) for at in range(SAMPLES))).tobytes()

# aioice leaves the loopback address out; these tests use nothing else.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def say(**what):
    print(json.dumps(what), flush=True)


class Numbers(VideoStreamTrack):
    """Thirty numbered pictures a second."""

    number = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        bits = [(self.number >> bar) & 1 for bar in range(BARS)]
        row = b"".join(bytes([235 if bit else 16]) * (WIDTH // BARS) for bit in bits)
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        frame.planes[0].update(row * HEIGHT)
        for plane in frame.planes[1:]:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        self.number += 1
        return frame


class Tone(MediaStreamTrack):
    """A tone without end."""

    kind = "audio"
    begun = None
    samples = 0

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        self.begun = self.begun or time.time()
        await asyncio.sleep(self.begun + self.samples / RATE - time.time())
        frame = av.AudioFrame("s16", "mono", SAMPLES)
        frame.planes[0].update(TONE)
        frame.sample_rate, frame.pts = RATE, self.samples
        frame.time_base = fractions.Fraction(1, RATE)
        self.samples += SAMPLES
        return frame


def read_number(frame):
    """The number that a picture shows."""
    plane = frame.planes[0]
    row = bytes(plane)[(HEIGHT // 2) * plane.line_size :]
    bar = WIDTH // BARS
    return sum((row[at * bar + bar // 2] > 125) << at for at in range(BARS))


class Watched:
    """What has been decoded so far."""

    def __init__(self):
        self.video = self.audio = self.loudest = self.disorder = 0
        self.number = -1

    async def decode(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "video":
                self.video += 1
                number = read_number(frame)
                self.disorder += number <= self.number
                self.number = number
                say(**vars(self))
            else:
                self.audio += 1
                samples = memoryview(bytes(frame.planes[0])).cast("h")
                self.loudest = max(self.loudest, *samples)


def request(method, url, body=None):
    headers = {"Content-Type": "application/sdp"} if body else {}
    wanted = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(wanted, timeout=20) as reply:
        return reply.headers.get("Location"), reply.read().decode()


def prefer(connection, codec):
    """Offers this video codec only, and RTX."""
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            capabilities = RTCRtpReceiver.getCapabilities("video").codecs
            wanted = (f"video/{codec}".lower(), "video/rtx")
            transceiver.setCodecPreferences([c for c in capabilities if c.mimeType.lower() in wanted])


async def main(arguments):
    if arguments.srtp:
        profiles = [p for p in rtcdtlstransport.SRTP_PROFILES if p.openssl_profile.decode() == arguments.srtp]
        assert profiles, f"aiortc has no {arguments.srtp}"
        rtcdtlstransport.SRTP_PROFILES[:] = profiles
    connection = RTCPeerConnection()
    watched = Watched()
    tasks = []
    if arguments.role == "publish":
        connection.addTransceiver(Numbers(), direction="sendonly")
        connection.addTransceiver(Tone(), direction="sendonly")
    else:
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")

        @connection.on("track")
        def _(track):
            tasks.append(asyncio.ensure_future(watched.decode(track)))

    prefer(connection, arguments.codec)

    @connection.on("connectionstatechange")
    def _():
        transport = connection.getTransceivers()[0].sender.transport
        profile = transport._ssl.get_selected_srtp_profile() if transport._ssl else b""
        say(state=connection.connectionState, srtp=profile.decode())

    await connection.setLocalDescription(await connection.createOffer())
    loop = asyncio.get_running_loop()
    offer = connection.localDescription.sdp.encode()
    location, answer = await loop.run_in_executor(None, request, "POST", arguments.url, offer)
    say(session=location)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await loop.run_in_executor(None, sys.stdin.read)
    origin = "/".join(arguments.url.split("/")[:3])
    await loop.run_in_executor(None, request, "DELETE", origin + location)
    await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["publish", "watch"])
    parser.add_argument("url")
    parser.add_argument("--codec", default="VP8")
    parser.add_argument("--srtp", help="the only SRTP profile to use, by its name in OpenSSL")
    asyncio.run(main(parser.parse_args()))
