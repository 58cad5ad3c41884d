"""The part of the suite about edits, and about what conditions can name: values, and the units of a step."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from activities.adapters.base import Adapter, Edit, FrameworkDefinition, JsonObject
from omium_core.errors import InvalidInput
from tests.conformance.runs import Case, Change, Run, advance, run_to_the_end, to_bytes
from tests.conformance.setting import Setting
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

#: A name that no definition has.
_NOBODY = "no-such-name"


class Edits(Setting):
    """Needs `cases`; `Case.changes`, `wrong_edits`, `units` and `values` say what is special about one."""

    def test_an_empty_edit_changes_nothing(self, adapter: Adapter, definition: FrameworkDefinition, case: Case) -> None:
        state = adapter.start(case.definition, case.inputs)
        assert definition.edit(case.definition, state, Edit()) == (case.definition, state)

    def test_edits_of_unknown_names_are_refused(
        self, adapter: Adapter, definition: FrameworkDefinition, case: Case
    ) -> None:
        state = adapter.start(case.definition, case.inputs)
        wrong = [
            (f"prompts.{_NOBODY}", Edit(prompts={_NOBODY: "Do it."})),
            (f"models.{_NOBODY}", Edit(models={_NOBODY: "other"})),
            (f"values.{_NOBODY}", Edit(values={_NOBODY: 1})),
        ]
        for path, edit in (*wrong, *case.wrong_edits):
            before = copy.deepcopy((case.definition, state))
            with pytest.raises(InvalidInput) as refused:
                definition.edit(case.definition, state, edit)
            assert [problem.path for problem in refused.value.problems] == [path]
            assert all(problem.message for problem in refused.value.problems)
            assert (case.definition, state) == before

    def test_all_problems_of_an_edit_are_told_at_once(self, adapter: Adapter, definition: FrameworkDefinition) -> None:
        case = self.cases[0]
        state = adapter.start(case.definition, case.inputs)
        edit = Edit(prompts={_NOBODY: "Do it."}, models={_NOBODY: "other"})
        with pytest.raises(InvalidInput) as refused:
            definition.edit(case.definition, state, edit)
        assert {problem.path for problem in refused.value.problems} == {f"prompts.{_NOBODY}", f"models.{_NOBODY}"}

    async def test_all_models_can_be_changed(
        self, adapter: Adapter, definition: FrameworkDefinition, case: Case, server: ModelServer
    ) -> None:
        change = Change("all models", Edit(models={"*": "another-model"}), models=frozenset({"another-model"}))
        server.set_script(case.rules)
        await _changed(adapter, definition, case, change, server)

    async def test_edits_change_what_comes_next(
        self, adapter: Adapter, definition: FrameworkDefinition, case: Case, server: ModelServer
    ) -> None:
        for change in case.changes:
            server.set_script(case.rules)
            with ModelServer(case.rules) as undisturbed:
                run = Run(case, undisturbed)
                state = adapter.start(case.definition, case.inputs)
                for _ in range(change.before):
                    state = await advance(adapter, run, state)
                unchanged = len(undisturbed.calls)
                await advance(adapter, run, state)
                if change.shows:
                    assert change.shows not in "\n".join(run.requests(unchanged)), change.name
            requests, outputs = await _changed(adapter, definition, case, change, server)
            assert change.shows in requests, (change.name, requests)
            assert change.says in json.dumps(outputs, ensure_ascii=False), change.name

    async def test_units_are_known_before_a_step_and_told_after_it(
        self, adapter: Adapter, definition: FrameworkDefinition, case: Case, server: ModelServer
    ) -> None:
        server.set_script(case.rules)
        run = await run_to_the_end(adapter, case, server)
        names = definition.unit_names(case.definition)
        assert names
        assert "*" not in names
        befores = [to_bytes(adapter.start(case.definition, case.inputs)), *run.states[:-1]]
        for before, ran in zip(befores, run.units, strict=True):
            foreseen = definition.units(case.definition, json.loads(before))
            assert foreseen in ((), ran)
            assert ran
            assert names.issuperset(ran)
        assert definition.units(case.definition, json.loads(run.states[-1])) == ()
        if case.units:
            assert tuple(run.units) == case.units

    async def test_values_are_json_that_conditions_can_name(
        self, adapter: Adapter, definition: FrameworkDefinition, case: Case, server: ModelServer
    ) -> None:
        server.set_script(case.rules)
        run = await run_to_the_end(adapter, case, server)
        values: JsonObject = {}
        for state in (to_bytes(adapter.start(case.definition, case.inputs)), *run.states):
            given = json.loads(state)
            values = definition.values(given)
            assert json.loads(json.dumps(values, allow_nan=False)) == values
            assert to_bytes(given) == state
        assert case.values <= values.keys()


async def _changed(
    adapter: Adapter, definition: FrameworkDefinition, case: Case, change: Change, server: ModelServer
) -> tuple[str, Any]:
    """The requests of the step after an edit, and the outputs of the run (None where the change says nothing of them)."""
    run = Run(case, server)
    state = adapter.start(case.definition, case.inputs)
    for _ in range(change.before):
        state = await advance(adapter, run, state)
    before = copy.deepcopy((case.definition, state))
    edited, state = definition.edit(case.definition, state, change.edit)
    assert (case.definition, json.loads(to_bytes(before[1]))) == (before[0], before[1])
    assert definition.validate(edited, tools=MemoryToolBox().names) == []
    first = len(server.calls)
    state = await advance(adapter, run, json.loads(to_bytes(state)), edited)
    if change.models is not None:
        assert {call.body["model"] for call in server.calls[first:]} == change.models
    requests = "\n".join(run.requests(first))
    while change.says and run.result is not None and run.result.next_step is not None:
        state = await advance(adapter, run, state, edited)
    return requests, run.result.outputs if run.result is not None else None
