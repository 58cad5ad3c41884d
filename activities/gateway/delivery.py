"""The way of an answer back to the client that asked: at once as it comes, its end only when it is in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from activities.gateway.journal import Answer

EVENT_STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]


class Chunks:
    """The events of a streamed answer that may be given out before its end; empty bytes say that no more will come."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.add = self._queue.put_nowait

    def end(self) -> None:
        self._queue.put_nowait(b"")

    async def next(self) -> bytes:
        return await self._queue.get()


class Delivery(Response):
    """Waits for `work` and sends its answer. The client may go at any moment; then `on_gone` is called.

    `on_failure` turns the error of `work` into a response, as long as nothing of the answer has been sent.
    """

    def __init__(
        self,
        work: asyncio.Task[Answer],
        chunks: Chunks,
        *,
        on_gone: Callable[[], None],
        on_failure: Callable[[BaseException], Response],
    ) -> None:
        super().__init__()
        self._work = work
        self._chunks = chunks
        self._on_gone = on_gone
        self._on_failure = on_failure
        self._delivered = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.create_task(self._watch(receive))
        try:
            first = await self._chunks.next()
            if first:
                await self._stream(first, send)
            else:
                await self._whole()(scope, receive, send)
        finally:
            watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._delivered:
            self._on_gone()

    def _whole(self) -> Response:
        self._delivered = True
        error = _error_of(self._work)
        if error is not None:
            return self._on_failure(error)
        answer = self._work.result()
        return Response(answer.body, media_type=answer.content_type)

    async def _stream(self, chunk: bytes, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM_HEADERS})
        sent = 0
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            sent += len(chunk)
            chunk = await self._chunks.next()
        self._delivered = True
        if _error_of(self._work) is not None:
            # without its end the server breaks the connection off: half an answer must not pass for a whole one
            return
        await send({"type": "http.response.body", "body": self._work.result().body[sent:]})


def _error_of(work: asyncio.Task[Answer]) -> BaseException | None:
    return asyncio.CancelledError() if work.cancelled() else work.exception()
