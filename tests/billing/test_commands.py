"""`omium billing grant | adjust | prices | rebuild`, on the database of the suite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from omium.cli import build_app
from sqlalchemy import text
from typer.testing import CliRunner, Result

from models.database import Database
from models.repositories.audit import AuditRepository
from models.repositories.base import Page
from tests.support.database import PostgresServer, database_at
from tests.support.sampling import sampled
from tests.support.tenants import add_tenant
from workers.cli import add_commands

T = TypeVar("T")

NONSENSE = [
    ("grant", "--credits", "0"),
    ("grant", "--credits", "-1"),
    ("grant", "--credits", "NaN"),
    ("grant", "--credits", "1e12"),
    ("grant", "--credits", "0.0000001"),
    ("grant", "--credits", "1", "--source", "theft"),
    ("grant", "--credits", "1", "--expires-at", "2020-01-01"),
    ("grant", "--credits", "1", "--expires-at", "soon"),
    ("grant", "--credits", "1", "--idempotency-key", ""),
    ("adjust", "--credits", "0", "--note", "n"),
    ("adjust", "--credits", "-1"),
    ("prices", "remove"),
    ("prices", "remove", "--step", "--model", "m"),
]
WRONG_PRICES = [
    ('{"model": "m", "per_call": 1, "currency": "EUR"}', "currency"),
    ('{"model": "m", "per_call": -1}', "per_call"),
    ('{"model": "m", "input_per_1m": NaN}', "input_per_1m"),
    ('{"model": "m", "output_per_1m": Infinity}', "output_per_1m"),
    ('{"model": "m", "cached_per_1m": "one"}', "cached_per_1m"),
    ('{"model": "m", "cached_per_1m": null}', "per_call"),
    ('{"model": "m", "per_call": true}', "per_call"),
    ('{"model": "m", "per_call": 0.0000001}', "per_call"),
    ('{"model": "m", "per_call": 1e300}', "per_call"),
    ('{"model": "m", "per_call": 1, "per_call": 2}', "per_call"),
    ('{"model": "m"}', "per_call"),
    ('{"model": "", "per_call": 1}', "model"),
    ('{"model": " m", "per_call": 1}', "model"),
    ('{"model": 5, "per_call": 1}', "model"),
    ('{"per_call": 1}', "model"),
    ('{"model": "m", "tool": "t", "per_call": 1}', "tool"),
    ('{"step": "s", "per_call": 1}', "step"),
    ('{"tool": "t", "per_call": 1, "input_per_1m": 1}', "input_per_1m"),
    ('{"model": "m", "per_call": 1, "max_output_tokens": 0}', "max_output_tokens"),
    ('{"model": "m", "per_call": 1, "effective_from": "soon"}', "effective_from"),
    ('{"model": "m", "per_call": 1, "tenant": 5}', "tenant"),
    ("[]", "A price is a JSON object"),
    ("{", "A price is a JSON object"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_what_makes_no_sense_is_refused:
        metafunc.parametrize("arguments", sampled(metafunc.config, NONSENSE, 5))
    if metafunc.function is test_price_that_is_wrong_is_refused_with_its_field:
        metafunc.parametrize(("price", "field"), sampled(metafunc.config, WRONG_PRICES, 8))


class Installation:
    """The commands of the server, with the settings of a server, and its database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.id = self.work(add_tenant)
        self.tenant = str(self.id)

    def work(self, work: Callable[[Database], Awaitable[T]]) -> T:
        async def connected() -> T:
            database = database_at(self._url, pool_size=1)
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(connected())

    def damage(self, statement: str) -> None:
        async def change(database: Database) -> None:
            async with database.transaction(self.id) as db:
                await db.execute(text(statement))

        self.work(change)

    def run(self, *arguments: str) -> Result:
        app = build_app()
        add_commands(app)
        return CliRunner().invoke(app, ["billing", *arguments], prog_name="omium")

    def done(self, *arguments: str) -> dict[str, Any]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer


@pytest.fixture
def installation(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setenv("OMIUM_DATABASE_URL", postgres.url)
    return Installation(postgres.url)


def test_credits_are_granted_once_for_each_key(installation: Installation) -> None:
    grant = ("grant", "--tenant", installation.tenant, "--credits", "12.5", "--idempotency-key", "k")
    first = installation.done(*grant, "--note", "for the trial", "--expires-in-days", "30")
    assert (first["credits"], first["balance"], first["repeated"]) == (12.5, 12.5, False)
    again = installation.done(*grant)
    assert again == {**first, "repeated": True}
    other = installation.run("grant", "--tenant", installation.tenant, "--credits", "1", "--idempotency-key", "k")
    assert (other.exit_code, "moved 12.5 credits before" in other.output) == (1, True)
    assert installation.done("grant", "--tenant", installation.tenant, "--credits", "1")["balance"] == 13.5

    async def audited(database: Database) -> list[Any]:
        async with database.transaction(installation.id) as db:
            found = await AuditRepository(db, installation.id).list(Page())
            return [(row.action, row.new_values, row.meta) for row in found.rows]

    entries = installation.work(audited)
    assert len(entries) == 2
    noted = {"credits": 12.5, "source": "manual", "note": "for the trial"}
    assert entries[1] == ("billing.grant", noted, {"source": "operator"})


def test_balance_is_corrected_down_to_nothing(installation: Installation) -> None:
    installation.done("grant", "--tenant", installation.tenant, "--credits", "10")
    adjust = ("adjust", "--tenant", installation.tenant, "--note", "a mistake")
    assert installation.done(*adjust, "--credits", "-4.5")["balance"] == 5.5
    last = installation.done(*adjust, "--credits", "-100", "--idempotency-key", "k")
    assert (last["credits"], last["balance"]) == (-5.5, 0)
    assert installation.done(*adjust, "--credits", "-100", "--idempotency-key", "k")["repeated"]
    assert installation.done(*adjust, "--credits", "3")["balance"] == 3


def test_what_makes_no_sense_is_refused(installation: Installation, arguments: tuple[str, ...]) -> None:
    assert installation.run(*arguments).exit_code == 2


def test_tenant_must_be_there(installation: Installation) -> None:
    result = installation.run("grant", "--credits", "1", "--tenant", "nobody")
    assert (result.exit_code, "There is no tenant 'nobody'" in result.output) == (1, True)


def prices_of(installation: Installation, name: str) -> list[dict[str, Any]]:
    found = installation.done("prices", "list", "--tenant", installation.tenant)["prices"]
    return [price for price in found if price.get("model") == name]


def test_prices_are_set_changed_and_withdrawn(installation: Installation) -> None:
    name = f"model of {installation.tenant}"
    price = {"model": name, "input_per_1m": 15, "output_per_1m": 60.25, "cached_per_1m": 1.000001, "per_call": 0}
    made = installation.done("prices", "set", json.dumps({**price, "output_per_1m": "60.25", "tenant": None}))
    assert {field: made[field] for field in price} == price
    installation.done("prices", "set", json.dumps({"model": name, "per_call": 2, "tenant": installation.tenant}))
    installation.done("prices", "set", json.dumps({"model": name, "per_call": 3, "effective_from": "2099-01-01"}))
    told = [(price["per_call"], price["tenant_id"], price["current"]) for price in prices_of(installation, name)]
    assert told == [(3, None, False), (2, installation.tenant, True), (0, None, True)]
    assert name in installation.run("prices", "list").output
    installation.done("prices", "remove", "--model", name, "--tenant", installation.tenant)
    assert [price["current"] for price in prices_of(installation, name)] == [False, False, False, True]
    gone = installation.run("prices", "remove", "--model", name, "--tenant", installation.tenant)
    assert (gone.exit_code, "There is no price of model" in gone.output) == (1, True)


def test_price_that_is_wrong_is_refused_with_its_field(installation: Installation, price: str, field: str) -> None:
    result = installation.run("prices", "set", price)
    assert (result.exit_code, f"omium: {field}" in result.output) == (1, True), result.output


def test_rebuild_names_what_differs_and_repairs_it(installation: Installation) -> None:
    installation.done("grant", "--tenant", installation.tenant, "--credits", "7")
    rebuild = ("rebuild", "--tenant", installation.tenant)
    clean = installation.done(*rebuild)
    assert (clean["valid"], clean["tenants"][0]["entries"], clean["tenants"][0]["available_micro"]) == (
        True,
        1,
        7_000_000,
    )
    installation.damage("UPDATE credit_grants SET remaining = remaining - 1")
    found = installation.run(*rebuild)
    assert found.exit_code == 1
    assert all(word in found.output for word in ("remaining", "7000000", "6999999"))
    differences = json.loads(installation.run(*rebuild, "--json").stdout)["tenants"][0]["differences"]
    assert [(each["expected_micro"], each["found_micro"]) for each in differences] == [(7_000_000, 6_999_999)]
    assert installation.run(*rebuild, "--write").exit_code == 0
    repaired = installation.run(*rebuild)
    assert (repaired.exit_code, "The tables say what the entries do" in repaired.output) == (0, True)


def test_client_and_operator_share_one_group(installation: Installation) -> None:
    words = installation.run("--help").output
    assert all(name in words for name in ("balance", "transactions", "usage", "costs", "grant", "adjust", "rebuild"))
    assert all(name in installation.run("prices", "--help").output for name in ("list", "set", "remove"))
    assert installation.run("prices", "--tenant", installation.tenant).exit_code == 0


def test_database_that_is_away_is_told_in_a_sentence(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMIUM_DATABASE_URL", "postgresql+asyncpg://u:p@127.0.0.1:1/none")
    result = installation.run("rebuild")
    assert (result.exit_code, "does not answer" in result.output) == (1, True)
