"""Money in the whole platform: a run that cannot pay parks, is topped up through Stripe, and ends; and whoever is killed at
whatever moment, each call is paid once and each payment comes in once."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import asyncpg
import httpx
import pytest

from models.database import Database
from models.repositories.ledger import LedgerRepository, Movement
from models.tables import Price
from omium_core.credits import MICRO
from tests.notifications.receiver import Receiver, listening
from tests.support.database import first_tenant
from tests.support.platform import Platform, running_platform
from tests.support.quick_worker import NO_FRAMEWORKS, QuickWorker
from tests.support.sampling import sampled
from tests.support.stack import wait_until
from tests.support.stripe_double import StripeDouble, StripeServer
from tests.support.stripe_double.server import KEY, SECRET, signed

T = TypeVar("T")

#: A call costs one credit, whatever it says.
CALLS, COVERED = 20, 7
#: When somebody dies in the life of a call, and who does.
MOMENTS = (
    "before the hold",
    "before the first byte",
    "at the model",
    "before the write",
    "after the write",
    "in the release",
    "while the hold is taken over",
)
DEATHS = [(moment, dying) for moment in MOMENTS for dying in (("worker",), ("worker", "api"))]


class Money:
    """A platform that wants to be paid, Stripe, and what the tenant's books say. Every test begins with no credits."""

    def __init__(self, platform: Platform, worker: QuickWorker, stripe: StripeDouble, receiver: Receiver) -> None:
        self.platform, self.worker, self.stripe, self.receiver = platform, worker, stripe, receiver
        self.run(self._price)

    def run(self, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
        async def worked() -> T:
            database = self.platform.database()
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(worked())

    @staticmethod
    async def _price(database: Database) -> None:
        price: dict[str, Any] = {"kind": "model", "name": "test-model", "per_call": 1}
        async with database.system() as db:
            db.add(Price(**price))

    def query(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        async def ask() -> list[asyncpg.Record]:
            connection = await _connect(self.platform)
            try:
                rows: list[asyncpg.Record] = await connection.fetch(statement, *values)
                return rows
            finally:
                await connection.close()

        return asyncio.run(ask())

    def has(self, credits: int) -> None:
        """Makes the balance this many credits."""

        async def work(database: Database) -> None:
            tenant = await first_tenant(database)
            async with database.transaction(tenant) as db:
                ledger = LedgerRepository(db, tenant)
                there = (await ledger.account()).available
                if there:
                    await ledger.take(Movement(f"away:{uuid.uuid4()}", there, "manual"), kind="adjust")
                if credits:
                    await ledger.grant(Movement(f"given:{uuid.uuid4()}", credits * MICRO, "manual"))

        self.run(work)

    def charges(self, execution_id: str) -> int:
        """How many calls of a run were settled; each for a credit, which was paid, and once."""
        rows = self.query(
            "SELECT idempotency_key, spent, unpaid FROM ledger_entries WHERE execution_id = $1 AND kind = 'settle'",
            uuid.UUID(execution_id),
        )
        assert len({row["idempotency_key"] for row in rows}) == len(rows)
        assert {(row["spent"], row["unpaid"]) for row in rows} <= {(MICRO, 0)}
        return len(rows)

    def assert_balanced(self, credits: int) -> None:
        """Nothing is held, so much is left, and all entries of all time sum to zero, which is what the account says."""
        (row,) = self.query("""
            SELECT sum(e.available) AS available, sum(e.held) AS held, sum(e.spent) AS spent, sum(e.outside) AS outside,
                   count(*) AS entries, max(e.number) AS number, a.available AS there, a.held AS held_there,
                   a.spent AS spent_there, (SELECT count(*) FROM credit_holds) AS holds
            FROM ledger_entries e JOIN credit_accounts a USING (tenant_id) GROUP BY a.tenant_id
        """)
        assert row["available"] + row["held"] + row["spent"] + row["outside"] == 0
        assert (row["available"], row["held"], row["spent"]) == (row["there"], row["held_there"], row["spent_there"])
        assert row["entries"] == row["number"]
        assert (row["holds"], row["held"]) == (0, 0)
        assert row["available"] == credits * MICRO

    def pay(self, dollars: int) -> list[dict[str, Any]]:
        """Asks for a top-up and pays for it. What Stripe then has to tell."""
        answer = self.platform.http.post("/billing/topup", json={"amount_usd": dollars})
        assert answer.status_code == 200, answer.text
        told = len(self.stripe.account.events)
        self.stripe.account.confirm(answer.json()["payment_intent_id"])
        return [event for event in self.stripe.account.events[told:] if event["type"] == "payment_intent.succeeded"]

    def tell(self, event: dict[str, Any]) -> None:
        """As Stripe does: again, until it is taken."""
        body, signature = signed(event)
        url = f"{self.platform.stack['api_url']}/api/v1/webhooks/stripe"

        def taken() -> bool:
            try:
                answer = httpx.post(url, content=body, headers={"Stripe-Signature": signature}, timeout=10)
            except httpx.TransportError:
                return False
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 200

        wait_until(taken, "the event is taken", 60)

    def grants(self, event: dict[str, Any]) -> int:
        """How often a payment came in."""
        query = "SELECT count(*) FROM ledger_entries WHERE kind = 'grant' AND reference = $1"
        return int(self.query(query, event["data"]["object"]["id"])[0][0])

    @contextmanager
    def locked(self, statement: str) -> Iterator[None]:
        """What the statement locks stays locked inside the block."""
        with asyncio.Runner() as runner:
            connection = runner.run(_connect(self.platform))
            transaction = connection.transaction()
            runner.run(transaction.start())
            runner.run(connection.execute(statement))
            try:
                yield
            finally:
                runner.run(transaction.rollback())
                runner.run(connection.close())

    def kill(self, *parts: str) -> None:
        """The worker of the runs is another one than that of everything else."""
        for part in parts:
            if part == "worker":
                self.worker.kill()
            else:
                self.platform.stack.kill(part)

    def wait_for_blocked(self) -> None:
        """Returns when somebody waits for a lock."""
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: self.query(query)[0][0] > 0, "somebody waits for a lock", 30)


async def _connect(platform: Platform) -> asyncpg.Connection:
    return await asyncpg.connect(platform.stack["database_url"])


@pytest.fixture(scope="module")
def money(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Money]:
    with StripeServer() as stripe, listening() as receiver:
        env = {
            **NO_FRAMEWORKS,
            "OMIUM_BILLING_ENFORCED": "true",
            "OMIUM_STRIPE_SECRET_KEY": KEY,
            "OMIUM_STRIPE_WEBHOOK_SECRET": SECRET,
            "OMIUM_STRIPE_API_URL": stripe.url,
        }
        with (
            running_platform(tmp_path_factory.mktemp("money") / "data", env=env) as platform,
            QuickWorker(platform.stack, ["langgraph"]) as worker,
        ):
            yield Money(platform, worker, stripe.double, receiver)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        chosen = sampled(metafunc.config, DEATHS, 1)
        names = [f"{moment}: {' and '.join(dying)}" for moment, dying in chosen]
        metafunc.parametrize(("moment", "dying"), chosen, ids=names)


def asking(calls: int, name: str) -> dict[str, Any]:
    """A workflow of so many steps, each of which asks the model once."""
    nodes = [
        {"id": f"ask_{n}", "type": "llm", "prompt": f"{name}: question {n} about {{{{ topic }}}}", "output": "text"}
        for n in range(calls)
    ]
    names = ["START", *(node["id"] for node in nodes), "END"]
    edges = [{"from": before, "to": after} for before, after in itertools.pairwise(names)]
    state = {"topic": {"type": "string"}, "text": {"type": "string"}}
    definition = {"nodes": nodes, "edges": edges, "state": state}
    return {"name": name, "framework": "langgraph", "workflow_definition": definition}


def test_a_run_out_of_credits_is_topped_up_and_ends(money: Money) -> None:
    """Twenty calls, and credits for seven."""
    platform = money.platform
    platform.model.set_script([])
    seen = len(platform.model.calls)
    money.has(COVERED)
    endpoint = {"url": money.receiver.url, "events": ["credits.exhausted"]}
    assert platform.http.post("/webhooks", json=endpoint).status_code == 201
    workflow_id = platform.register(asking(CALLS, "story"))
    execution_id = platform.start(workflow_id, {"topic": "money"})

    def parked() -> bool:
        execution = platform.get(execution_id)
        assert execution["status"] in ("pending", "running", "paused"), execution
        return (execution["status"], execution["reason"]) == ("paused", "credits")

    wait_until(parked, "the run waits for credits", 60)
    assert len(platform.model.calls) - seen == money.charges(execution_id) == COVERED
    refused = platform.http.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": "more"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "CREDITS_EXHAUSTED")
    wait_until(lambda: bool(money.receiver.arrived), "the tenant is told", 30)

    (paid,) = money.pay(10)
    money.tell(paid)
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    assert len(platform.model.calls) - seen == money.charges(execution_id) == CALLS
    # told again, nothing more comes of it
    money.tell(paid)
    assert money.grants(paid) == 1
    money.assert_balanced(COVERED + 1000 - CALLS)


def test_death_between_reserve_and_settle(money: Money, moment: str, dying: tuple[str, ...]) -> None:
    """Somebody dies in one of three calls."""
    platform, model, calls = money.platform, money.platform.model, 3
    seen = len(model.calls)
    money.has(calls)
    held, account = {"after the write": 3}.get(moment, 2), "SELECT FROM credit_accounts FOR UPDATE"
    fails_once = {"when": {"any": "question 1"}, "reply": {"error": {"status": 503}}, "times": 1}
    model.set_script([fails_once] if moment == "in the release" else [], hold_call=seen + held)
    workflow_id, gate = platform.register(asking(calls, moment)), f"call-{seen + held}"

    def start() -> str:
        return platform.start(workflow_id, {"topic": f"the death of {dying}"})

    match moment:
        case "before the hold":
            model.release(gate)
            with money.locked(account):
                execution_id = start()
                money.wait_for_blocked()
                money.kill(*dying)
        case "before the first byte":
            model.release(gate)
            with model.deaf() as wait_for_unheard:
                execution_id = start()
                wait_for_unheard()
                money.kill(*dying)
        case _:
            execution_id = start()
            model.wait_until_held()
            wait_until(lambda: money.charges(execution_id) == held - 1, "the calls before are settled", 30)
            match moment:
                case "before the write" | "in the release":
                    statement = account if "release" in moment else "LOCK TABLE call_journal IN EXCLUSIVE MODE"
                    with money.locked(statement):
                        model.release(gate)
                        money.wait_for_blocked()
                        money.kill(*dying)
                case "while the hold is taken over":
                    with money.locked(account):
                        money.kill("worker")
                        money.wait_for_blocked()
                        money.kill(*dying)
                        model.release(gate)
                case _:
                    money.kill(*dying)
                    model.release(gate)
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    assert money.charges(execution_id) == calls
    if "api" in dying:
        platform.stack.wait_ready("api")
    money.assert_balanced(0)
    # only the call in flight may have been asked a second time
    asked = [str(call.body["messages"]) for call in model.calls[seen:]]
    assert len(set(asked)) == calls
    assert len(asked) <= calls + 1


def test_payment_comes_in_once_whoever_dies(money: Money) -> None:
    """The API dies when it has stored what Stripe told, the worker in the middle of booking it."""
    platform = money.platform
    money.has(0)
    (paid,) = money.pay(25)
    with money.locked("SELECT FROM credit_accounts FOR UPDATE"):
        money.tell(paid)
        money.kill("api")
        money.wait_for_blocked()
        # whichever of the two is at it
        money.kill("worker")
        platform.stack.kill("worker")
    wait_until(lambda: money.grants(paid) > 0, "the payment comes in", 90)
    platform.stack.wait_ready("api")
    money.tell(paid)
    query = "SELECT processed FROM stripe_webhook_events WHERE stripe_event_id = $1"
    wait_until(lambda: money.query(query, paid["id"])[0][0] is True, "the event is worked off", 60)
    assert money.grants(paid) == 1
    money.assert_balanced(2500)


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_runs_at_once_share_one_balance(money: Money) -> None:
    """64 runs of three calls, and credits for half of them; topped up, all of them end."""
    platform, runs, calls = money.platform, 64, 3
    platform.model.set_script([])
    seen = len(platform.model.calls)
    money.has(runs * calls // 2)
    workflow_id = platform.register(asking(calls, "crowd"))
    started = []
    for number in range(runs):
        answer = platform.http.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": str(number)}})
        if answer.status_code == 201:
            started.append(str(answer.json()["execution_id"]))
        else:
            # those before have spent it already
            assert answer.json()["error"]["code"] == "CREDITS_EXHAUSTED"
    (paid,) = money.pay(10)
    money.tell(paid)
    for execution_id in started:
        assert platform.finish(execution_id, timeout=400)["status"] == "completed"
        assert money.charges(execution_id) == calls
    assert len(platform.model.calls) - seen == len(started) * calls
    money.assert_balanced(runs * calls // 2 + 1000 - len(started) * calls)
