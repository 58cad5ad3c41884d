"""What steers a run without the API is in the log; what came through the API is there once."""

from __future__ import annotations

from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.consensus import ConsensusActivities
from activities.questions import Questions
from activities.records import Records
from activities.run_records import RunRecords
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.audit import AuditFilter, AuditRepository
from models.repositories.base import Page
from models.tables import AuditLog
from models.tables.base import new_id
from models.wire import AnswerInput, FinishInput, RoundInput, StateInput, Step
from models.wire_handoff import Proposal, Vote, Voter
from tests.support.tenants import Owned, add_execution
from workflows.handoff import address, cast, next_term, open_round


@pytest.fixture
def values(objects: FileStore) -> ValueStore:
    return ValueStore(objects, inline_bytes=1000)


@pytest.fixture
def records(database: Database, values: ValueStore) -> RunRecords:
    return RunRecords(database, values, Records(database))


async def entries(database: Database, tenant: UUID) -> list[AuditLog]:
    """The oldest first."""
    async with database.transaction(tenant) as session:
        return list((await AuditRepository(session, tenant).list(Page(limit=50), AuditFilter())).rows)[::-1]


async def record(records: RunRecords, row: Owned, status: str, reason: str, actor: str) -> None:
    state = StateInput(str(row.tenant_id), str(row.execution), 0, 0, status, reason, actor, "tired")
    await ActivityEnvironment().run(records.record_state, state)


async def test_a_plain_signal(database: Database, tenant: UUID, records: RunRecords) -> None:
    row = await add_execution(database, tenant, status="running")
    await record(records, row, "paused", "operator", "ann")
    await record(records, row, "running", "", "")
    end = FinishInput(str(tenant), str(row.execution), 0, "cancelled", message="no use", actor="ann")
    await records.finish(end)
    await records.finish(end)
    pause, resume, cancel = await entries(database, tenant)
    assert [entry.action for entry in (pause, resume, cancel)] == [
        "execution.pause",
        "execution.resume",
        "execution.cancel",
    ]
    assert {entry.resource_id for entry in (pause, resume, cancel)} == {row.execution}
    assert pause.new_values == {"by": "ann", "reason": "tired"}
    assert cancel.new_values == {"by": "ann", "reason": "no use"}
    assert (pause.user_id, pause.api_key_id, pause.meta) == (None, None, {"source": "run"})


async def test_a_command_of_the_api_has_its_entry_already(
    database: Database, tenant: UUID, records: RunRecords
) -> None:
    row = await add_execution(database, tenant, status="running")
    await record(records, row, "paused", "operator", f"user:{new_id()}")
    await record(records, row, "running", "", f"key:{new_id()}")
    assert await entries(database, tenant) == []


async def test_waiting_is_no_steering(database: Database, tenant: UUID, records: RunRecords) -> None:
    row = await add_execution(database, tenant, status="running")
    await record(records, row, "paused", "approval", "")
    await record(records, row, "running", "", "ann")
    assert await entries(database, tenant) == []


async def test_a_run_that_is_resumed_to_wait_for_an_answer(
    database: Database, tenant: UUID, records: RunRecords
) -> None:
    row = await add_execution(database, tenant, status="running")
    await record(records, row, "paused", "operator", "ann")
    await record(records, row, "paused", "approval", "ben")
    await record(records, row, "running", "", "ben")
    pause, resume = await entries(database, tenant)
    assert [(entry.action, entry.new_values) for entry in (pause, resume)] == [
        ("execution.pause", {"by": "ann", "reason": "tired"}),
        ("execution.resume", {"by": "ben"}),
    ]


async def test_what_temporal_ended(database: Database, tenant: UUID, records: RunRecords) -> None:
    row = await add_execution(database, tenant, status="running")
    end = FinishInput(str(tenant), str(row.execution), 0, "failed", None, "workflow_ended", "It was terminated.")
    await records.finish(end)
    [entry] = await entries(database, tenant)
    assert (entry.action, entry.new_values) == ("execution.terminate", {"reason": "It was terminated."})


async def test_an_answer_by_signal(database: Database, tenant: UUID, values: ValueStore) -> None:
    row = await add_execution(database, tenant, approval="pending")
    answer = AnswerInput(str(tenant), str(row.execution), str(row.approval), "approve", actor="ann")
    assert await ActivityEnvironment().run(Questions(database, values).record, answer)
    [entry] = await entries(database, tenant)
    assert (entry.action, entry.resource_type, entry.resource_id) == ("approval.answer", "approval", row.approval)
    assert entry.new_values == {"by": "ann", "decision": "approve", "execution_id": str(row.execution)}


async def test_votes_by_signal(database: Database, tenant: UUID, values: ValueStore) -> None:
    """One entry for each vote that somebody sent; none for what the run asked itself, and for what came through the API."""
    row = await add_execution(database, tenant, status="running")
    voters = [Voter("writer"), Voter("editor"), Voter("ann", "person"), Voter("ben", "person")]
    round_ = open_round(2, Proposal("planner", ["writer"], voters, "hash", quorum="all"))
    for voter, actor in (("writer", ""), ("editor", "ann"), ("ann", "ann"), ("ben", f"user:{new_id()}")):
        round_ = cast(round_, address(round_, Vote(voter, voter != "ben", actor=actor))).round
        if voter == "ann":
            # the votes of agents hold in the next term: nobody has sent them again
            after = next_term(round_, 1, "time is up")
    records = ConsensusActivities(database, Records(database), None, None)  # type: ignore[arg-type]  # nobody is asked
    log_id = new_id()
    for now in (round_, round_, after):
        told = RoundInput(str(tenant), str(row.execution), 0, Step(0, "write"), str(log_id), now)
        await ActivityEnvironment().run(records.record_round, told)
    by_editor, by_ann = await entries(database, tenant)
    assert {(entry.action, entry.resource_type, entry.resource_id) for entry in (by_editor, by_ann)} == {
        ("consensus.acknowledge", "consensus", log_id)
    }
    told_of = {"by": "ann", "valid": True, "execution_id": str(row.execution)}
    assert (by_editor.new_values, by_ann.new_values) == ({**told_of, "voter": "editor"}, {**told_of, "voter": "ann"})
