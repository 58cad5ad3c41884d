"""The database is killed under running calls: nothing is lost, and nothing is paid for twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from activities.adapters.base import StorageUnavailable
from activities.gateway import journal
from tests.gateway.support import Scene, chat, in_thread, streamed_text, text_of
from tests.support.database import PostgresServer


@pytest.fixture(autouse=True)
def _server_runs_afterwards(postgres: PostgresServer) -> Iterator[None]:
    yield
    if not postgres.is_running:
        postgres.start()


@pytest.mark.parametrize("stream", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_while_answers_are_on_their_way(scene: Scene, postgres: PostgresServer, stream: bool) -> None:
    scene.model.set_script([{"gate": "g", "reply": {"content": "kept"}}])
    step = scene.new_step()
    texts: list[str] = []

    def ask(text: str) -> None:
        answer = chat(client, text, stream=stream)
        texts.append(streamed_text(answer) if stream else text_of(answer))

    with scene.attempt(step) as session:
        client = scene.client(session)
        # more than the pool has connections
        asking = [in_thread(lambda n=n: ask(f"q{n}")) for n in range(30)]  # type: ignore[misc]
        scene.model.wait_until_held(30)
        postgres.kill()
        scene.model.release("g")
        scene.model.wait_for(lambda calls: all(call.state == "finished" for call in calls))
        assert texts == []
        postgres.start()
        for thread in asking:
            thread.join(60)
        assert texts == ["kept"] * 30
        assert session.outcome is None
    with scene.attempt(step) as session:
        client = scene.client(session)
        ask("q7")
    assert len(scene.model.calls) == 30
    assert len(scene.journal(step)) == 30


def test_while_a_look_up_is_made(scene: Scene, postgres: PostgresServer) -> None:
    with scene.step() as (step, session):
        client = scene.client(session)
        chat(client, "before")
        postgres.kill()
        asking = in_thread(lambda: chat(client, "during"))
        scene.wait_for_request(session, 2)
        assert scene.asked() == ["before"]
        postgres.start()
        asking.join(60)
        assert scene.asked() == ["before", "during"]
        assert session.outcome is None
    assert len(scene.journal(step)) == 2


def test_for_too_long(scene: Scene, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LOOK_UP_PATIENCE", 0.2)
    with scene.step() as (_, session):
        client = scene.client(session)
        postgres.kill()
        with pytest.raises(Exception, match="cannot be reached"):
            chat(client)
        assert isinstance(session.outcome, StorageUnavailable)
    assert scene.model.calls == []
