"""Makes one zip of the parts of an export while it is being fetched, so that nothing ever holds all of it."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from itertools import groupby
from typing import IO, Any
from uuid import UUID

from activities.maintenance.exports import pieces
from activities.stores.base import ObjectStore


class _Pipe(io.RawIOBase):
    """What the zip is written to: it cannot be gone back in, and gives away what it has."""

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._data)
        self._data.clear()
        return taken


async def zipped(
    objects: ObjectStore, tenant_id: UUID, request_id: UUID, about: Mapping[str, Any]
) -> AsyncIterator[bytes]:
    """The bytes of the zip: `export.json` says what it is, then a file of JSON lines for each table, then the blobs."""
    pipe = _Pipe()
    found = [piece async for piece in pieces(objects, tenant_id, request_id)]
    # a stream that cannot be gone back in: sizes follow the files
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export.json", json.dumps(about, indent=2))
        for name, parts in groupby(found, key=lambda piece: piece.file):
            with archive.open(name, "w", force_zip64=True) as file:
                for piece in parts:
                    await asyncio.to_thread(_write, file, await objects.get(piece.key))
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()


def _write(file: IO[bytes], data: bytes) -> None:
    file.write(data)
