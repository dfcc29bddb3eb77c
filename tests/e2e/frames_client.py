"""Plays the table of frames as the Python package `websockets`: frames_client.py URL < TABLE

Prints what was heard in each case, as a list in JSON.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

PATIENCE = 5
MASK = bytes.fromhex("37fa213d")


def payload(said):
    if isinstance(said, str):
        return said.encode()
    if isinstance(said, list):
        return said[0].encode() * said[1]
    return bytes.fromhex(said["hex"])


def frame(step):
    first, said = step["frame"]
    data = payload(said)
    if "length" in step:
        length = bytes.fromhex(step["length"])
    elif len(data) < 126:
        length = bytes([len(data)])
    else:
        length = b"\x7e" + len(data).to_bytes(2, "big")
    if step.get("unmasked"):
        return bytes([first]) + length + data
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))
    return bytes([first, length[0] | 0x80]) + length[1:] + MASK + masked


async def take(socket, step, heard):
    """Takes one step; pongs are heard at once, because this client waits for them by name."""
    if "text" in step:
        await socket.send(payload(step["text"]).decode())
    elif "binary" in step:
        await socket.send(payload(step["binary"]))
    elif "ping" in step:
        await ping(socket, payload(step["ping"]), heard)
    elif "parts" in step:

        async def parts():
            for at, part in enumerate(step["parts"]):
                if at > 0 and "between" in step:
                    await ping(socket, payload(step["between"]), heard)
                yield part

        await socket.send(parts())
    elif "close" in step:
        await socket.close(*step["close"])
    else:
        socket.transport.write(frame(step))


async def ping(socket, data, heard):
    await asyncio.wait_for(await socket.ping(data), PATIENCE)
    heard["pongs"].append(data.hex())


async def play(url, case):
    heard = {"messages": [], "pongs": [], "close": None, "reason": ""}
    expected = case["heard"]
    async with connect(url, compression=None, ping_interval=None, close_timeout=PATIENCE) as socket:
        try:
            for step in case["say"]:
                await take(socket, step, heard)
            while "close" in expected or len(heard["messages"]) < len(expected.get("messages", [])):
                message = await asyncio.wait_for(socket.recv(), PATIENCE)
                kind = "text" if isinstance(message, str) else "binary"
                data = message.encode() if kind == "text" else message
                heard["messages"].append([kind, data.hex()])
        except ConnectionClosed:
            pass
        except TimeoutError:
            heard["reason"] = "nothing more came"
        if "close" in expected:
            await asyncio.wait_for(socket.wait_closed(), PATIENCE)
            closed = socket.protocol.close_rcvd
            heard["close"] = closed.code if closed else 1006
            heard["reason"] = heard["reason"] or (closed.reason if closed else "")
    return heard


async def main():
    cases = json.load(sys.stdin)["cases"]
    print(json.dumps([await play(sys.argv[1], case) for case in cases]))


asyncio.run(main())
