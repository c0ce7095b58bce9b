#!/usr/bin/python3
"""Runs on the way between a gateway and its key server. Without their keys it can read and change nothing,
but what passes it passes late, twice, or not at all, and what has passed is kept.

    relay.py pass PORT SERVER FOLDER     FOLDER/delays says how many seconds late
    relay.py say SERVER FILE             what a gateway has said, once more to the key server
    relay.py answer PORT FILE            what a key server has answered, once more to whoever connects

SERVER is host:port. SIGUSR1 cuts every connection, SIGUSR2 lets the next piece of each way pass twice.
FOLDER/record gets a line of JSON for each piece, which FILE consists of, too.
"""

import asyncio
import itertools
import json
import signal
import sys
from pathlib import Path

WAYS = ("questions", "answers")
PIECE = 65536
# Between the pieces of a recording: a key server that takes them has the time to answer.
PAUSE = 0.1


def tell(line):
    print(line, flush=True)


class Relay:
    def __init__(self, port, server, folder):
        self.port, self.server, self.folder = port, ends_of(server), Path(folder)
        self.numbers, self.open, self.twice = itertools.count(1), set(), set()

    async def serve(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.cut)
        loop.add_signal_handler(signal.SIGUSR2, self.twice.update, WAYS)
        listener = await asyncio.start_server(self.connected, None, self.port)
        tell("listening")
        await listener.serve_forever()

    def cut(self):
        for writer in self.open:
            writer.transport.abort()
        tell("cut")

    async def connected(self, reader, writer):
        number, ends = next(self.numbers), {writer}
        # From when it is told of, it can be cut: its other half may not be there yet.
        self.open.add(writer)
        tell(f"connection {number}")
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.server)
            ends.add(far_writer)
            self.open.add(far_writer)
            ways = (reader, far_writer), (far_reader, writer)
            await asyncio.gather(*(self.carry(number, name, *way) for name, way in zip(WAYS, ways)))
        except OSError:
            pass  # Either end has gone: so does the other.
        finally:
            self.open -= ends
            for end in ends:
                end.transport.abort()

    async def carry(self, number, way, source, sink):
        waiting = asyncio.Queue()
        late = asyncio.create_task(self.deliver(waiting, sink))
        while piece := await source.read(PIECE):
            due = asyncio.get_running_loop().time() + self.delays()[way]
            self.keep(number, way, piece)
            waiting.put_nowait((due, piece))
            if way in self.twice:
                self.twice.discard(way)
                waiting.put_nowait((due, piece))
                tell(f"twice {way}")
        waiting.put_nowait((0, b""))
        await late

    async def deliver(self, waiting, sink):
        loop = asyncio.get_running_loop()
        while (item := await waiting.get())[1]:
            await asyncio.sleep(item[0] - loop.time())
            sink.write(item[1])
            await sink.drain()
        sink.transport.abort()

    def delays(self):
        return json.loads((self.folder / "delays").read_text())

    def keep(self, number, way, piece):
        with (self.folder / "record").open("a", encoding="ascii") as record:
            print(json.dumps({"connection": number, "way": way, "data": piece.hex()}), file=record)


def ends_of(server):
    host, port = server.rsplit(":", 1)
    return host, int(port)


def pieces(file):
    return [bytes.fromhex(json.loads(line)["data"]) for line in Path(file).read_text().splitlines()]


async def say(server, file):
    """Prints how much came back. The key server may end it at any time."""
    reader, writer = await asyncio.open_connection(*ends_of(server))
    heard = asyncio.create_task(reader.read())
    try:
        for piece in pieces(file):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(PAUSE)
        writer.write_eof()
    except OSError:
        pass
    try:
        tell(json.dumps({"heard": len(await heard)}))
    except OSError:
        tell(json.dumps({"heard": 0}))


async def answer(port, file):
    async def connected(reader, writer):
        tell("connection")
        try:
            for piece in pieces(file):
                await reader.read(PIECE)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
    listener = await asyncio.start_server(connected, None, port)
    tell("listening")
    await listener.serve_forever()


def main(role, *argv):
    roles = {"pass": lambda port, *rest: Relay(port, *rest).serve(), "say": say, "answer": answer}
    asyncio.run(roles[role](*argv))


if __name__ == "__main__":
    main(*sys.argv[1:])
