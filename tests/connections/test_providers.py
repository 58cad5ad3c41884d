"""Tenants' own model providers: which calls go to them, with which key, and what they may reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from sqlalchemy import delete
from sqlmodel import col

from activities.connections import book
from activities.connections.base import Target
from activities.connections.book import Provider
from activities.gateway.providers import choose
from models.repositories.connections import ConnectionRepository
from models.tables import ExternalConnection
from models.tables.base import now
from tests.connections.doubles import TOKEN, Double, Odd
from tests.gateway.support import Scene, chat, running_scene, text_of
from tests.support.database import PostgresServer, Rows
from tests.support.loopback import wait_until
from tests.support.model_server import ModelServer
from tests.support.tenants import add_tenant

Connect = Callable[..., ExternalConnection]


@pytest.fixture(scope="module")
def rows(postgres: PostgresServer) -> Iterator[Rows]:
    rows = Rows(postgres.url)
    yield rows
    rows.close()


@pytest.fixture(scope="module")
def platforms() -> Iterator[ModelServer]:
    """The platform's own provider."""
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def scene(rows: Rows, platforms: ModelServer, postgres: PostgresServer) -> Iterator[Scene]:
    settings: dict[str, Any] = {
        "http_allow_private": "127.0.0.1",
        "model_prices": {"own-model": {"input": "1", "output": "2"}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "MEMORY_SECONDS", 0.05)
        with running_scene(rows, platforms, postgres.url, **settings) as scene:
            yield scene


@pytest.fixture
def connect(rows: Rows, double: Double, platforms: ModelServer) -> Iterator[Connect]:
    platforms.log.clear()
    cipher = rows.wait(rows.database.keys.cipher(rows.tenant_id))

    def make(token: str = TOKEN, url: str = "", **meta: Any) -> ExternalConnection:
        row = ExternalConnection(
            tenant_id=rows.tenant_id,
            connection_type="model_provider",
            connection_name="mine",
            crew_url=url or double.url,
            bearer_token_encrypted=cipher.seal_token(token),
            meta=meta,
        )
        rows.run(lambda db: ConnectionRepository(db, rows.tenant_id).add(row))
        return row

    async def clear(db: Any) -> None:
        await db.execute(delete(ExternalConnection).where(col(ExternalConnection.tenant_id) == rows.tenant_id))

    yield make
    rows.run(clear)


def forget(scene: Scene) -> None:
    """What the gateway remembers of connections is gone."""
    wait_until(lambda: not len(scene.gateway._door.book._providers), seconds=60, what="the memory")


def ask(scene: Scene, model: str, **options: Any) -> str:
    forget(scene)
    with scene.step() as (_, session):
        return text_of(chat(scene.client(session, max_retries=0), model=model, **options))


def test_the_platforms_provider_without_one(scene: Scene, double: Double, platforms: ModelServer) -> None:
    ask(scene, "own-model")
    assert double.models == []
    assert len(platforms.calls) >= 1


def test_chosen_by_the_models_name(scene: Scene, double: Double, platforms: ModelServer, connect: Connect) -> None:
    connect(models=["own-model"])
    assert ask(scene, "own-model") == "from my own"
    assert double.models == [{"model": "own-model", "key": f"Bearer {TOKEN}"}]
    ask(scene, "another")
    assert [call.body["model"] for call in platforms.calls] == ["another"]
    assert len(double.models) == 1


def test_the_default_takes_all_others(scene: Scene, double: Double, platforms: ModelServer, connect: Connect) -> None:
    connect(models=["own-model"], default=True)
    # the platform's default model means nothing to it
    for model in ("default-model", "another", "own-model"):
        ask(scene, model)
    assert [one["model"] for one in double.models] == ["own-model", "another", "own-model"]
    assert len(platforms.calls) == 0


def test_what_the_tenant_pays_itself_costs_it_nothing_here(scene: Scene, connect: Connect) -> None:
    connect(models=["own-model"])
    forget(scene)
    with scene.step() as (step, session):
        chat(scene.client(session), model="own-model")
    [entry] = scene.wait_for_journal(step)
    assert (entry.input_tokens, entry.output_tokens, entry.cost) == (3, 4, 0)


def test_a_key_that_changes_is_used_at_once(scene: Scene, double: Double, rows: Rows, connect: Connect) -> None:
    row = connect(models=["own-model"])
    ask(scene, "own-model")
    cipher = rows.wait(rows.database.keys.cipher(rows.tenant_id))

    async def rotate(db: Any) -> None:
        found = await ConnectionRepository(db, rows.tenant_id).get(row.id)
        found.bearer_token_encrypted, found.updated_at = cipher.seal_token("rotated-key"), now()
        db.add(found)

    rows.run(rotate)
    double.token = "rotated-key"
    ask(scene, "own-model")
    assert [one["key"] for one in double.models] == [f"Bearer {TOKEN}", "Bearer rotated-key"]


def test_a_wrong_key_is_told_without_it(scene: Scene, connect: Connect) -> None:
    connect(token="canary-of-a-wrong-key", models=["own-model"])
    forget(scene)
    with scene.step() as (_, session):
        with pytest.raises(openai.AuthenticationError) as raised:
            chat(scene.client(session, max_retries=0), model="own-model")
        assert "canary" not in str(raised.value)
        assert session.rejection is not None
        assert "mine" in str(session.rejection)
        assert "canary" not in str(session.rejection)


@pytest.mark.parametrize("url", ["http://127.0.0.2:9/v1", "http://169.254.169.254/v1", "http://[::1]:9/v1"])
def test_a_private_address_is_refused(scene: Scene, connect: Connect, url: str) -> None:
    connect(url=url, models=["own-model"])
    forget(scene)
    with scene.step() as (_, session), pytest.raises(openai.BadRequestError, match="not a public address"):
        chat(scene.client(session, max_retries=0), model="own-model")


def test_a_redirect_takes_the_key_nowhere(scene: Scene, double: Double, connect: Connect) -> None:
    connect(models=["own-model"])
    double.script["POST /v1/chat/completions"].append(Odd(307, headers={"location": "http://127.0.0.2:9/"}))
    forget(scene)
    with scene.step() as (_, session), pytest.raises(openai.BadRequestError, match="redirects"):
        chat(scene.client(session, max_retries=0), model="own-model")


def test_the_list_of_models_is_the_tenants(scene: Scene, connect: Connect) -> None:
    connect(default=True)
    forget(scene)
    with scene.step() as (_, session):
        assert [model.id for model in scene.client(session).models.list()] == ["own-model"]


def provider(name: str, *models: str, default: bool = False) -> Provider:
    return Provider(Target(name, name, "model_provider", "", "", {}), name, models, default)


def test_choosing() -> None:
    named, default, anything = provider("n", "a", "b"), provider("d", "c", default=True), provider("x")
    assert choose((), "a") is None
    assert choose((named,), "z") is None
    assert choose((named, default, anything), "a") == named
    assert choose((named, default, anything), "z") == default
    assert choose((named, anything), "z") == anything
    assert choose((provider("old", "a"), provider("new", "a")), "a") == provider("new", "a")
    assert choose((named,), "") is None


def test_another_tenants_provider_is_nobodys_business(scene: Scene, rows: Rows, connect: Connect) -> None:
    connect(default=True)
    known = book.ConnectionBook(rows.database)
    assert len(rows.wait(known.providers(rows.tenant_id))) == 1
    assert rows.wait(known.providers(rows.wait(add_tenant(rows.database)))) == ()


@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (Odd(body=b"[" * 100_000 + b"]" * 100_000), "no JSON object"),
        (Odd(body=b"null"), "no JSON object"),
        (Odd(400, body=b"[" * 100_000), "[["),
        (Odd(body=b'{"choices": [], "usage": {"prompt_tokens": 1e999, "completion_tokens": -3}}'), ""),
    ],
    ids=["deep", "null", "deep-refusal", "endless-tokens"],
)
def test_odd_answers_leave_the_gateway_whole(
    scene: Scene, double: Double, connect: Connect, odd: Odd, error: str
) -> None:
    connect(models=["own-model"])
    double.script["POST /v1/chat/completions"].append(odd)
    forget(scene)
    with scene.step() as (_, session):
        client = scene.client(session, max_retries=0)
        if error:
            with pytest.raises(openai.APIStatusError) as raised:
                chat(client, model="own-model")
            assert error in str(raised.value)
        else:
            chat(client, model="own-model")
    assert ask(scene, "own-model") == "from my own"
