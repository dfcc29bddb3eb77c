"""An event collector that writes down what it is told, one JSON object a line.

    collector.py http|ws PORT FILE [CERTIFICATE KEY]

Over HTTP it takes POST requests of one object or a list of them, gzipped or not, and writes the
`Authorization` header of each request to FILE.credentials; over WebSocket it takes messages of the
sub-protocol `janus-event-handlers`. While there is a file FILE.refuse it keeps nothing: requests are
answered 500, WebSockets are not opened. With a certificate it speaks TLS.
"""

import asyncio
import json
import pathlib
import ssl
import sys

from aiohttp import web
from websockets.asyncio.server import serve

SUBPROTOCOL = "janus-event-handlers"


class Book:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.lines = self.path.open("a", encoding="utf-8")

    def is_refusing(self):
        return self.path.with_name(self.path.name + ".refuse").exists()

    def note(self, text):
        told = json.loads(text)
        for event in told if isinstance(told, list) else [told]:
            self.lines.write(json.dumps(event) + "\n")
        self.lines.flush()

    def note_credentials(self, header):
        self.path.with_name(self.path.name + ".credentials").write_text(header, encoding="utf-8")


async def take_posts(port, book, tls):
    async def take(request):
        text = await request.text()
        if book.is_refusing():
            return web.Response(status=500)
        book.note_credentials(request.headers.get("Authorization", ""))
        book.note(text)
        return web.Response()

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    await asyncio.Event().wait()


async def take_messages(port, book, tls):
    def admit(connection, _request):
        if book.is_refusing():
            return connection.respond(503, "not now\n")
        return None

    async def take(connection):
        async for message in connection:
            book.note(message)

    # pylint: disable-next=not-async-context-manager
    async with serve(
        take,
        "127.0.0.1",
        port,
        subprotocols=[SUBPROTOCOL],
        process_request=admit,
        max_size=None,
        ssl=tls,
    ):
        await asyncio.Event().wait()


def main():
    way, port, path, *pair = sys.argv[1:]
    take = {"http": take_posts, "ws": take_messages}[way]
    tls = None
    if pair:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*pair)
    asyncio.run(take(int(port), Book(path), tls))


if __name__ == "__main__":
    main()
