"""A wire to PostgreSQL that counts, holds what is sent, and breaks: a TCP proxy in the loop of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class Wire:
    """`url` leads through it. `turns` counts how often a client spoke after the server had: round trips."""

    def __init__(self, server_url: str) -> None:
        parts = urlsplit(server_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._held_back: bytes | None = None
        self._cut_after: bytes | None = None
        self._free = asyncio.Event()
        self.arrived = asyncio.Event()
        self.turns = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        login = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{login}@{host}:{port}"))

    def hold(self, words: bytes) -> None:
        """What clients say with these words in it waits until `release`; `arrived` is set when it is there."""
        self._held_back, self._free, self.arrived = words, asyncio.Event(), asyncio.Event()

    def release(self) -> None:
        self._held_back = None
        self._free.set()

    def cut_after(self, words: bytes) -> None:
        """Once: the server hears these words, and the connection breaks before its answer arrives."""
        self._cut_after = words

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Wire]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self.release()
            self._server.close()
            for writer in self._writers:
                writer.close()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*self._target)
        self._writers |= {to_client, to_server}
        spoke_last: list[str] = []
        cut = asyncio.Event()
        try:
            await asyncio.gather(
                self._forward(client, to_server, "client", spoke_last, cut),
                self._forward(server, to_client, "server", spoke_last, cut),
            )
        except ConnectionError:
            pass  # as a wire does
        finally:
            for writer in (to_client, to_server):
                self._writers.discard(writer)
                writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str, last: list[str], cut: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if who == "client":
                self.turns += last[-1:] != ["client"]
                if self._held_back is not None and self._held_back in data:
                    self.arrived.set()
                    await self._free.wait()
                if self._cut_after is not None and self._cut_after in data:
                    self._cut_after = None
                    cut.set()
            elif cut.is_set():
                break
            last.append(who)
            writer.write(data)
            await writer.drain()
        if cut.is_set():
            raise ConnectionResetError
        writer.close()
