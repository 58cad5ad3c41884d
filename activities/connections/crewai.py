"""CrewAI AMP ("AOP" in older documents): a deployed crew or flow at an address of its own.

`GET /inputs`, `POST /kickoff`, `GET /status/{kickoff_id}`. The service has no way to be asked for a run by a key of ours, nor
to stop a run. Field names and words for a status differ between its versions, so both are read liberally.
"""

from __future__ import annotations

from typing import Final

from activities.adapters.base import JsonObject
from activities.connections import reading
from activities.connections.base import Inputs, Kickoff, RemoteRun, RemoteUnavailable, Target
from activities.connections.http import RemoteHttp, bearer, segment

_SOURCE: Final = "omium"


class CrewAI:
    can_find = False

    def __init__(self, http: RemoteHttp) -> None:
        self._http = http

    async def check(self, target: Target) -> str:
        names = (await self.inputs(target)).names
        return f"The crew answers; its inputs are: {', '.join(names)}." if names else "The crew answers."

    async def inputs(self, target: Target) -> Inputs:
        answer = await self._http.json(target, "GET", "/inputs", headers=bearer(target.token))
        found = answer.get("inputs", answer) if isinstance(answer, dict) else answer
        if isinstance(found, dict):
            return Inputs(tuple(str(name) for name in found))
        given = found if isinstance(found, list) else [found]
        names = [item.get("name") if isinstance(item, dict) else item for item in given]
        return Inputs(tuple(str(name) for name in names if name is not None))

    async def kickoff(self, target: Target, inputs: JsonObject, key: str) -> Kickoff:
        given = target.options.get("meta")
        meta = {"requestId": key, "source": _SOURCE, **(given if isinstance(given, dict) else {})}
        headers = {**bearer(target.token), "Idempotency-Key": key}
        answer = await self._http.json(
            target, "POST", "/kickoff", body={"inputs": inputs, "meta": meta}, headers=headers
        )
        found = reading.id_of(answer)
        if not found:
            raise RemoteUnavailable("The crew did not say by which id its run is known.", arrived=True)
        return Kickoff(found, reading.word_of(answer))

    async def find(self, target: Target, key: str) -> Kickoff | None:
        raise NotImplementedError("A crew cannot be asked which runs it started.")

    async def status(self, target: Target, kickoff_id: str) -> RemoteRun:
        answer = await self._http.json(target, "GET", f"/status/{segment(kickoff_id)}", headers=bearer(target.token))
        word = reading.word_of(answer)
        if not word:
            raise RemoteUnavailable("The crew did not say how its run stands.", arrived=True)
        phase = reading.phase_of(word)
        tokens = reading.tokens_of(answer)
        if phase == "succeeded":
            text, data = reading.result_of(answer)
            return RemoteRun(phase, word, text, data, tokens=tokens)
        error = "" if phase == "running" else target.hidden(reading.error_of(answer))
        return RemoteRun(phase, word, error=error, tokens=tokens)

    async def cancel(self, target: Target, kickoff_id: str) -> bool:
        return False
