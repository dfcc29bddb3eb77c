"""An EchoTest call of aiortc, over HTTP and with all the strictness that its Janus example has.

    aiortc_echo.py BASE_URL

That client polls with maxev=1 and expects a bare object, reads an answer as JSON only where it is
labelled so, wants an ack for a message and then, on that handle, the event with its transaction.
"""

import asyncio
import json
import sys
import urllib.request
import uuid

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

BINARY = bytes(range(256))
PATIENCE = 20


class Failure(Exception):
    """What the gateway did that this client does not accept."""


def exchange(url, message=None):
    data = None if message is None else json.dumps(message).encode()
    headers = {} if data is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=45) as answer:
        kind = answer.headers.get("Content-Type", "")
        body = answer.read()
    if kind.lower() != "application/json":
        raise Failure(f"Content-Type is {kind!r} for {url}")
    value = json.loads(body)
    if not isinstance(value, dict):
        raise Failure(f"not a bare object for {url}: {body[:200]!r}")
    return value


class Session:
    def __init__(self, base):
        self.base = base
        self.url = None
        self.handle = None
        self.events = asyncio.Queue()
        self.poller = None

    async def post(self, url, **message):
        return await asyncio.to_thread(exchange, url, {"transaction": uuid.uuid4().hex[:12], **message})

    async def open(self):
        created = await self.post(self.base, janus="create")
        self.url = f"{self.base}/{created['data']['id']}"
        attached = await self.post(self.url, janus="attach", plugin="janus.plugin.echotest")
        self.handle = attached["data"]["id"]
        self.poller = asyncio.create_task(self.poll())

    async def poll(self):
        while True:
            event = await asyncio.to_thread(exchange, f"{self.url}?maxev=1")
            if event["janus"] == "event" and event["sender"] == self.handle:
                await self.events.put(event)

    async def send(self, body, jsep):
        transaction = uuid.uuid4().hex[:12]
        url = f"{self.url}/{self.handle}"
        ack = await self.post(url, janus="message", transaction=transaction, body=body, jsep=jsep)
        if ack["janus"] != "ack":
            raise Failure(f"no ack for a message: {ack}")
        event = await asyncio.wait_for(self.events.get(), PATIENCE)
        if event.get("transaction") != transaction:
            raise Failure(f"not the event of the message: {event}")
        return event

    async def close(self):
        if self.poller:
            self.poller.cancel()
        if self.url:
            await self.post(self.url, janus="destroy")


async def count_frames(track, counts):
    try:
        while True:
            await track.recv()
            counts[track.kind] += 1
    except MediaStreamError:
        pass


async def call(base):
    """Makes the call; returns what came back."""
    session = Session(base)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    counts = {"audio": 0, "video": 0}
    echoes = []
    tasks = []
    peer.addTrack(AudioStreamTrack())
    peer.addTrack(VideoStreamTrack())
    channel = peer.createDataChannel("JanusDataChannel")
    channel.on("message", echoes.append)
    peer.on("track", lambda track: tasks.append(asyncio.create_task(count_frames(track, counts))))

    @channel.on("open")
    def greet():
        channel.send("hello")
        channel.send(BINARY)

    try:
        await session.open()
        await peer.setLocalDescription(await peer.createOffer())
        jsep = {"type": "offer", "sdp": peer.localDescription.sdp, "trickle": False}
        event = await session.send({"audio": True, "video": True}, jsep)
        if event["plugindata"]["data"].get("result") != "ok":
            raise Failure(f"the plugin did not agree: {event}")
        answer = event["jsep"]
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        for _ in range(PATIENCE * 10):
            if session.poller.done():
                session.poller.result()
            if counts["audio"] >= 50 and counts["video"] >= 10 and len(echoes) >= 2:
                break
            await asyncio.sleep(0.1)
    finally:
        await peer.close()
        for task in tasks:
            task.cancel()
        await session.close()
    return counts, echoes


def main():
    base = sys.argv[1]
    problems = []
    try:
        counts, echoes = asyncio.run(call(base))
        if counts["audio"] < 50:
            problems.append(f"audio frames: {counts['audio']}")
        if counts["video"] < 10:
            problems.append(f"video frames: {counts['video']}")
        if "Janus EchoTest here! You wrote: hello" not in echoes:
            problems.append(f"no text came back: {echoes}")
        if BINARY not in echoes:
            problems.append("no binary message came back")
    except Exception as error:  # noqa: BLE001: whatever it is, the call did not work
        problems.append(f"{type(error).__name__}: {error}")
    print("\n".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
