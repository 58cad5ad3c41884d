"""AutoGen Studio: a team of its database, run in a session of its own.

Its REST interface keeps teams, sessions and runs; a run is started over a WebSocket, and the studio stops it when that
connection ends. So whoever kicked a run off holds the connection until the run is over: a run dies with the process that
started it, and then shows as stopped. The session is named after our key, by which a run is found again.

`options`: `team_id` (required), `user_id` (default: the studio's own guest). The input `task` is what the team is asked; without
one it is asked all inputs, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from activities.adapters.base import Json, JsonObject, ToolFailed
from activities.connections import reading
from activities.connections.base import Inputs, Kickoff, RemoteRefused, RemoteRun, RemoteUnavailable, Target, Tokens
from activities.connections.http import LONGEST_ANSWER, RemoteHttp, as_object, bearer
from activities.tools.guarded import HostNotFound, ssl_context

log = structlog.get_logger(__name__)

_GUEST: Final = "guestuser@gmail.com"
#: Messages of a run after which the studio has nothing more to say.
_LAST: Final = frozenset({"completion", "result"})
_NOT_STARTED: Final = "created"
_MOST_RESULT: Final = LONGEST_ANSWER


class AutoGenStudio:
    can_find = True

    def __init__(self, http: RemoteHttp) -> None:
        self._http = http
        #: The connections of runs that this process started, by connection and run, each with the task that holds it.
        self._held: dict[tuple[str, str], tuple[ClientConnection, asyncio.Task[None]]] = {}

    async def check(self, target: Target) -> str:
        team = await self._team(target)
        return f"The studio answers; the team is {team.get('label') or target.options.get('team_id')}."

    async def inputs(self, target: Target) -> Inputs:
        await self._team(target)
        schema = {"type": "object", "properties": {"task": {"type": "string"}}}
        return Inputs(("task",), schema)

    async def kickoff(self, target: Target, inputs: JsonObject, key: str) -> Kickoff:
        try:
            team = await self._team(target)
            session = await self._session(target, key) or await self._make_session(target, key)
            body = {"session_id": session, "user_id": _user(target)}
            made = _data(await self._ask(target, "POST", "/api/runs/", body=body), "run_id")
            run_id = str(_number(reading.id_of(made), "run"))
        except RemoteUnavailable as error:
            # a run that was not started does nothing
            raise RemoteUnavailable(
                error.message, arrived=False, retry_after=error.retry_after, status=error.status
            ) from None
        socket = await self._open(target, run_id)
        start = {"type": "start", "task": _task(inputs), "team_config": team.get("component") or team.get("config")}
        try:
            await socket.send(json.dumps(start))
        except WebSocketException:
            raise RemoteUnavailable("The studio broke the connection off.", arrived=True) from None
        self._hold(target, run_id, socket)
        return Kickoff(run_id, "active")

    async def find(self, target: Target, key: str) -> Kickoff | None:
        session = await self._session(target, key)
        if session is None:
            return None
        answer = await self._ask(target, "GET", f"/api/sessions/{session}/runs", query={"user_id": _user(target)})
        runs = _data(answer).get("runs")
        for run in runs if isinstance(runs, list) else ():
            if isinstance(run, dict) and reading.word_of(run).lower() != _NOT_STARTED and reading.id_of(run):
                return Kickoff(reading.id_of(run), reading.word_of(run))
        return None

    async def status(self, target: Target, kickoff_id: str) -> RemoteRun:
        run = _data(await self._ask(target, "GET", f"/api/runs/{_run_id(kickoff_id)}"))
        word = reading.word_of(run)
        if not word:
            raise RemoteUnavailable("The studio did not say how the run stands.", arrived=True)
        phase = reading.phase_of(word)
        result = run.get("team_result")
        task_result = result.get("task_result") if isinstance(result, dict) else None
        messages = _messages(task_result)
        tokens = reading.added(_usage(message) for message in messages)
        if phase == "succeeded":
            text = reading.text_of(messages[-1].get("content")) if messages else ""
            return RemoteRun(phase, word, text, task_result, tokens=tokens)
        said = ""
        if phase != "running":
            reason = task_result.get("stop_reason") if isinstance(task_result, dict) else None
            said = target.hidden(reading.text_of(run.get("error_message") or reason))
        return RemoteRun(phase, word, error=said, tokens=tokens)

    async def cancel(self, target: Target, kickoff_id: str) -> bool:
        run_id = _run_id(kickoff_id)
        held = self._held.get((target.id, run_id))
        # a connection of somebody who only asks for the end takes the place of the one that was held elsewhere
        socket = held[0] if held else await self._open(target, run_id)
        with contextlib.suppress(WebSocketException):
            await socket.send(json.dumps({"type": "stop", "reason": "Cancelled"}))
        if not held:
            await socket.close()
        return True

    async def close(self) -> None:
        """Lets go of all runs; the studio stops them."""
        tasks = [task for _, task in self._held.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hold(self, target: Target, run_id: str, socket: ClientConnection) -> None:
        key = (target.id, run_id)
        task = asyncio.create_task(_listen(socket, run_id))
        self._held[key] = (socket, task)
        task.add_done_callback(lambda _: self._held.pop(key, None))

    async def _open(self, target: Target, run_id: str) -> ClientConnection:
        url = httpx.URL(target.url.rstrip("/") + f"/api/ws/runs/{run_id}")
        url = url.copy_with(scheme="wss" if url.scheme == "https" else "ws")
        try:
            # the connection goes to an address that was judged, whatever the name means by then
            address = (await self._http.guard.judge(url, schemes=("ws", "wss")))[0]
            secure: dict[str, Any] = {"ssl": ssl_context(), "server_hostname": url.host} if url.scheme == "wss" else {}
            return await connect(
                str(url),
                host=str(address),
                port=url.port or (443 if secure else 80),
                proxy=None,
                compression=None,
                max_size=_MOST_RESULT,
                open_timeout=self._http.timeout,
                additional_headers=bearer(target.token),
                **secure,
            )
        except HostNotFound as error:
            raise RemoteUnavailable(str(error), arrived=False) from None
        except ToolFailed as error:
            raise RemoteRefused(str(error)) from None
        except (OSError, TimeoutError, WebSocketException, ValueError) as error:
            reason = f"{url.host} opens no WebSocket: {type(error).__name__}."
            raise RemoteUnavailable(reason, arrived=False) from None

    async def _team(self, target: Target) -> dict[str, Any]:
        team_id = target.options.get("team_id")
        if team_id is None:
            raise RemoteRefused("The connection names no team: set its `team_id`.")
        if not str(team_id).isdecimal():
            raise RemoteRefused("The `team_id` of a studio is a number.")
        answer = await self._ask(target, "GET", f"/api/teams/{team_id}", query={"user_id": _user(target)})
        return _data(answer)

    async def _session(self, target: Target, key: str) -> int | None:
        answer = await self._ask(target, "GET", "/api/sessions/", query={"user_id": _user(target)})
        listed = as_object(answer, target.url).get("data")
        for session in listed if isinstance(listed, list) else ():
            if isinstance(session, dict) and session.get("name") == _session_name(key):
                return _number(reading.id_of(session), "session")
        return None

    async def _make_session(self, target: Target, key: str) -> int:
        body = {"name": _session_name(key), "user_id": _user(target), "team_id": int(target.options["team_id"])}
        made = _data(await self._ask(target, "POST", "/api/sessions/", body=body))
        return _number(reading.id_of(made), "session")

    async def _ask(
        self, target: Target, method: str, path: str, *, body: Json = None, query: dict[str, str | int] | None = None
    ) -> Json:
        return await self._http.json(target, method, path, body=body, query=query, headers=bearer(target.token))


async def _listen(socket: ClientConnection, run_id: str) -> None:
    """Keeps a run's connection until the run is over. Nobody here can answer what a team asks a person."""
    try:
        async for raw in socket:
            with contextlib.suppress(ValueError, RecursionError):
                message = json.loads(raw)
                kind = message.get("type") if isinstance(message, dict) else None
                if kind == "input_request":
                    await socket.send(json.dumps({"type": "stop", "reason": "The team asks a person; none is there."}))
                if kind == "completion" or (kind in _LAST and await _is_told(socket)):
                    return
    except WebSocketException as error:
        log.info("the connection of a run ended", run_id=run_id, reason=type(error).__name__)
    finally:
        await socket.close()


async def _is_told(socket: ClientConnection) -> bool:
    """After its result the studio writes the run down; a connection that ends before that stops the run."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5.0):
            await socket.wait_closed()
    return True


def _session_name(key: str) -> str:
    return f"omium {key}"


def _user(target: Target) -> str:
    return str(target.options.get("user_id") or _GUEST)


def _run_id(kickoff_id: str) -> str:
    if not (kickoff_id.isascii() and kickoff_id.isdecimal()):
        raise RemoteRefused("The id of a run of AutoGen Studio is a number.", 404)
    return kickoff_id


def _number(found: str, what: str) -> int:
    """The id of a session or a run as the studio gives it."""
    if not (found.isascii() and found.isdecimal()):
        raise RemoteUnavailable(f"The studio did not say by which id the {what} is known.", arrived=False)
    return int(found)


def _data(answer: Json, name: str | None = None) -> dict[str, Any]:
    """What an answer of the studio holds: `{"status": true, "data": {...}}`."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise RemoteUnavailable("The studio answered with something that holds no data.", arrived=True)
    return {"id": data.get(name)} if name else data


def _task(inputs: JsonObject) -> str:
    task = inputs.get("task")
    return task if isinstance(task, str) and task else json.dumps(inputs, ensure_ascii=False)


def _messages(task_result: Json) -> list[dict[str, Any]]:
    found = task_result.get("messages") if isinstance(task_result, dict) else None
    return [message for message in found if isinstance(message, dict)] if isinstance(found, list) else []


def _usage(message: dict[str, Any]) -> Tokens | None:
    return reading.tokens_of({"usage": message.get("models_usage")})
