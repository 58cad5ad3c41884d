"""LangGraph Platform: an assistant of a deployment, run in the background on a thread of its own.

The thread's id is made from our key, and the run carries the key in its metadata: what was started is found again without
having heard of it. A kickoff's id is `<thread id>:<run id>`. `options`: `assistant_id` (default: `agent`), `config`, `context`,
`metadata`, and `auth`: `bearer` for deployments that want the token as an Authorization header instead of `x-api-key`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Final

from activities.adapters.base import Json, JsonObject
from activities.connections import reading
from activities.connections.base import Inputs, Kickoff, RemoteRefused, RemoteRun, RemoteUnavailable, Target, Tokens
from activities.connections.http import RemoteHttp, as_object, bearer, segment

_NAMESPACE: Final = uuid.UUID("6b0c1c56-6a0a-5a52-9a7e-8f1f2d2f6a11")
_KEY: Final = "omium_key"
_DEFAULT_ASSISTANT: Final = "agent"
_MOST_RUNS: Final = 100


class LangGraph:
    can_find = True

    def __init__(self, http: RemoteHttp) -> None:
        self._http = http

    async def check(self, target: Target) -> str:
        assistant = await self._assistant(target)
        return f"The deployment answers; its assistant is {assistant.get('name') or assistant.get('graph_id')}."

    async def inputs(self, target: Target) -> Inputs:
        found = str((await self._assistant(target)).get("assistant_id"))
        answer = as_object(await self._ask(target, "GET", f"/assistants/{segment(found)}/schemas"), target.url)
        schema = answer.get("input_schema")
        if not isinstance(schema, dict):
            return Inputs(())
        properties = schema.get("properties")
        return Inputs(tuple(properties) if isinstance(properties, dict) else (), schema)

    async def kickoff(self, target: Target, inputs: JsonObject, key: str) -> Kickoff:
        thread = str(uuid.uuid5(_NAMESPACE, key))
        given = target.options.get("metadata")
        metadata = {**(given if isinstance(given, dict) else {}), _KEY: key}
        body = {"thread_id": thread, "if_exists": "do_nothing", "metadata": metadata}
        try:
            await self._ask(target, "POST", "/threads", body=body)
        except RemoteUnavailable as error:
            # a thread without a run does nothing
            raise RemoteUnavailable(
                error.message, arrived=False, retry_after=error.retry_after, status=error.status
            ) from None
        run: JsonObject = {
            "assistant_id": _assistant_id(target),
            "input": inputs,
            "metadata": metadata,
            "multitask_strategy": "reject",
        }
        run |= {name: target.options[name] for name in ("config", "context") if target.options.get(name)}
        try:
            answer = await self._ask(target, "POST", f"/threads/{thread}/runs", body=run, key=key)
        except RemoteRefused as refused:
            # the thread is ours alone: when it is busy, an earlier request of ours did arrive
            earlier = await self.find(target, key) if refused.status in (409, 422) else None
            if earlier is None:
                raise
            return earlier
        found = as_object(answer, target.url)
        run_id = reading.id_of(found.get("run_id"))
        if not run_id:
            raise RemoteUnavailable("The deployment did not say by which id the run is known.", arrived=True)
        return Kickoff(f"{thread}:{run_id}", reading.word_of(found))

    async def find(self, target: Target, key: str) -> Kickoff | None:
        thread = str(uuid.uuid5(_NAMESPACE, key))
        try:
            runs = await self._ask(target, "GET", f"/threads/{thread}/runs", query={"limit": _MOST_RUNS})
        except RemoteRefused as error:
            if error.status == 404:
                return None
            raise
        for run in runs if isinstance(runs, list) else ():
            metadata = run.get("metadata") if isinstance(run, dict) else None
            if isinstance(metadata, dict) and metadata.get(_KEY) == key and run.get("run_id"):
                return Kickoff(f"{thread}:{run['run_id']}", reading.word_of(run))
        return None

    async def status(self, target: Target, kickoff_id: str) -> RemoteRun:
        thread, run_id = _ids(kickoff_id)
        run = as_object(await self._ask(target, "GET", f"/threads/{thread}/runs/{run_id}"), target.url)
        word = reading.word_of(run)
        if not word:
            raise RemoteUnavailable("The deployment did not say how the run stands.", arrived=True)
        phase = reading.phase_of(word)
        if phase == "running":
            return RemoteRun(phase, word)
        state = await self._ask(target, "GET", f"/threads/{thread}/state")
        values = state.get("values") if isinstance(state, dict) else None
        tokens = reading.added(_usage(message) for message in _messages(values))
        if phase != "succeeded":
            said = next(_task_errors(state), "") or reading.error_of({**run, "message": None, "result": None})
            return RemoteRun(phase, word, error=target.hidden(said), tokens=tokens)
        if isinstance(state, dict) and state.get("next"):
            asked = "The graph stopped to ask a person, who must answer it at the deployment."
            return RemoteRun("failed", word, error=asked, tokens=tokens)
        return RemoteRun(phase, word, _text(values), values, tokens=tokens)

    async def cancel(self, target: Target, kickoff_id: str) -> bool:
        thread, run_id = _ids(kickoff_id)
        query: dict[str, str | int] = {"wait": 0, "action": "interrupt"}
        await self._ask(target, "POST", f"/threads/{thread}/runs/{run_id}/cancel", query=query)
        return True

    async def _assistant(self, target: Target) -> dict[str, Any]:
        """The assistant that the connection names, by its id or by the name of its graph."""
        wanted = _assistant_id(target)
        found = await self._ask(target, "POST", "/assistants/search", body={"limit": _MOST_RUNS})
        known = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        for assistant in known:
            if wanted in (assistant.get("assistant_id"), assistant.get("graph_id")):
                return assistant
        there = ", ".join(sorted({str(one.get("graph_id")) for one in known})) or "none"
        raise RemoteRefused(f"The deployment has no assistant {wanted!r}; there are: {there}.", 404)

    async def _ask(
        self,
        target: Target,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: dict[str, str | int] | None = None,
        key: str = "",
    ) -> Json:
        as_bearer = target.options.get("auth") == "bearer"
        headers = bearer(target.token) if as_bearer else {"x-api-key": target.token} if target.token else {}
        if key:
            headers = {**headers, "Idempotency-Key": key}
        return await self._http.json(target, method, path, body=body, query=query, headers=headers)


def _assistant_id(target: Target) -> str:
    return str(target.options.get("assistant_id") or _DEFAULT_ASSISTANT)


def _ids(kickoff_id: str) -> tuple[str, str]:
    thread, separator, run_id = kickoff_id.partition(":")
    if not separator or not thread or not run_id:
        raise RemoteRefused("The id of a run on LangGraph Platform is <thread id>:<run id>.", 404)
    return segment(thread), segment(run_id)


def _messages(values: Json) -> list[dict[str, Any]]:
    found = values.get("messages") if isinstance(values, dict) else None
    return [message for message in found if isinstance(message, dict)] if isinstance(found, list) else []


def _usage(message: dict[str, Any]) -> Tokens | None:
    return reading.tokens_of({"usage_metadata": message.get("usage_metadata")})


def _text(values: Json) -> str:
    """The last message of a conversation, the result by one of its usual names, or all values."""
    messages = _messages(values)
    if messages:
        content = messages[-1].get("content")
        if isinstance(content, list):
            parts = [part.get("text", "") if isinstance(part, dict) else str(part) for part in content]
            return "".join(str(part) for part in parts)
        return reading.text_of(content)
    text, _ = reading.result_of(values)
    return text or reading.text_of(values)


def _task_errors(state: Json) -> Iterator[str]:
    tasks = state.get("tasks") if isinstance(state, dict) else None
    for task in tasks if isinstance(tasks, list) else ():
        if isinstance(task, dict) and task.get("error"):
            yield reading.text_of(task["error"])
