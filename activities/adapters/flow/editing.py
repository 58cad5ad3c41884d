"""Edits of a flow and of the wrapper of one of its nodes. Pure; what is given stays as it is.

A prompt or a model is named by an agent or a step (by id or name), or by something inside of an agent: `agent.inner`, or
`inner` alone where only one agent has it. Under the name of an agent, the prompt is that of the only thing in it that has one; under
that of a step, it is the step's `task`, where it has one. Values are those of the wrapper (`FlowDefinition.values`), also
as `step.name`. What concerns another node changes nothing in this one's wrapper.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from activities.adapters.base import BadDefinition, Edit, JsonObject
from activities.adapters.flow.agents import NOT_THE_FRAMEWORKS, half_of, inner_definition
from activities.adapters.flow.contracts import own_names
from activities.adapters.flow.paths import NothingThere, lookup
from activities.adapters.flow.planning import graph_of, used_names
from activities.adapters.flow.reading import Agent, FlowStep, did_you_mean, read_flow
from activities.adapters.flow.starting import made_names, task_text
from activities.adapters.registry import definition_for
from omium_core.errors import InvalidInput, Problem

#: The texts of a lone agent and of its step that can be edited.
_AGENT_TEXTS: Final = ("goal", "role", "backstory")
_STEP_TEXTS: Final = ("task", "expected_output")

Prompt = str | Mapping[str, str]


@dataclass
class _Inner:
    """The part of an edit that concerns one agent, in the words of its framework. `names`: inner name -> name in the edit."""

    prompts: dict[str, Prompt] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    values: JsonObject = field(default_factory=dict)
    inputs: JsonObject = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Place:
    """What a name in an edit means: an agent or one of its steps as a whole, or something inside of an agent."""

    agent: Agent
    step: FlowStep | None = None
    inner: str | None = None


def apply_edit(definition: JsonObject, wrapper: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject, set[str]]:
    """A definition, a wrapper, and the names in `values` that concern this wrapper. Raises `InvalidInput`."""
    editor = _Editor(definition, wrapper)
    editor.prompts(edit.prompts)
    editor.models(edit.models)
    editor.inputs(edit.inputs)
    concerned = editor.values(edit.values)
    editor.inside()
    if editor.problems:
        raise InvalidInput("The edit does not fit the flow.", editor.problems)
    return editor.definition, editor.wrapper, concerned


def problems_of(definition: JsonObject, edit: Edit, wrappers: Iterable[JsonObject]) -> list[Problem]:
    """What is wrong with an edit for all of these wrappers together: what one of them refuses, and values that none has."""
    problems: dict[Problem, None] = {}
    concerned: set[str] = set()
    states = list(wrappers)
    for wrapper in states:
        try:
            concerned |= apply_edit(definition, wrapper, edit)[2]
        except InvalidInput as error:
            problems |= dict.fromkeys(error.problems)
            concerned.update(edit.values)
    if not states:
        try:
            apply_edit(definition, {"node": None}, edit)
        except InvalidInput as error:
            problems |= dict.fromkeys(error.problems)
    known = [name for wrapper in states for name in value_names(wrapper)]
    for name in edit.values if states else ():
        if name not in concerned:
            problems[Problem(f"values.{name}", f"There is no value {name!r}{did_you_mean(name, known)}")] = None
    return list(problems)


def value_names(wrapper: JsonObject) -> list[str]:
    """The values of a wrapper that an edit may set."""
    if wrapper.get("outputs") is not None:
        return list(wrapper["outputs"])
    state = wrapper.get("state")
    values = {} if state is None else definition_for(wrapper["framework"]).values(state)
    return [*values, *wrapper.get("inputs", ())]


class _Editor:
    def __init__(self, definition: JsonObject, wrapper: JsonObject) -> None:
        self.definition, self.wrapper = copy.deepcopy(definition), copy.deepcopy(wrapper)
        self.problems: list[Problem] = []
        self._flow = read_flow(definition).flow
        self._step = self._flow.steps.get(wrapper["node"]) if wrapper["node"] is not None else None
        self._inner: dict[str, _Inner] = {}

    def _problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _of(self, agent: Agent) -> _Inner:
        return self._inner.setdefault(agent.id, _Inner())

    # Prompts and models

    def prompts(self, prompts: Mapping[str, Prompt]) -> None:
        for name, prompt in prompts.items():
            path = f"prompts.{name}"
            place = self._place(name, path)
            if place is None:
                continue
            if place.agent.is_lone:
                self._lone_prompt(place, prompt, path)
            elif place.inner is None and place.step is not None and place.step.task is not None:
                self._texts({id(place.step): self._body(place.step)}, ("task",), prompt, path)
            else:
                inner = place.inner or self._main_prompt(place.agent, path)
                if inner is not None:
                    self._of(place.agent).prompts[inner] = prompt
                    self._of(place.agent).names["prompts", inner] = name

    def _lone_prompt(self, place: _Place, prompt: Prompt, path: str) -> None:
        steps = [s for s in self._flow.steps.values() if s.part.agent == place.agent.id and place.step in (None, s)]
        texts = {_STEP_TEXTS[0]: prompt} if isinstance(prompt, str) else prompt
        if isinstance(texts, Mapping) and "description" in texts:
            texts = {"task" if key == "description" else key: text for key, text in texts.items()}
        if not isinstance(texts, Mapping):
            self._problem(path, "Must be a text, or an object of texts.")
            return
        of_agent = {key: text for key, text in texts.items() if key in _AGENT_TEXTS}
        of_step = {key: text for key, text in texts.items() if key not in _AGENT_TEXTS}
        self._texts({0: self._config(place.agent)}, _AGENT_TEXTS, of_agent, path)
        self._texts({id(s): self._body(s) for s in steps}, (*_STEP_TEXTS, *_AGENT_TEXTS), of_step, path)

    def _texts(self, bodies: Mapping[int, JsonObject], known: tuple[str, ...], prompt: Prompt, path: str) -> None:
        whole = isinstance(prompt, str)
        for key, text in ({known[0]: prompt} if isinstance(prompt, str) else prompt).items():
            where = path if whole else f"{path}.{key}"
            if key not in known:
                self._problem(where, f"There is no text {key!r} to edit, only: {', '.join(known)}.")
            elif not isinstance(text, str) or not text:
                self._problem(where, "Must be a text.")
            else:
                for body in bodies.values():
                    body[key] = text

    def _main_prompt(self, agent: Agent, path: str) -> str | None:
        """The name of the only thing inside of an agent that has a prompt; of its tasks, where it has tasks."""
        half, inner = half_of(agent), self._inner_definition(agent)
        named = half.unit_names(inner)
        agents = set(half.plan(inner, _inputs_for(agent, inner)).agents)
        for names in (sorted(named - agents), sorted(named & agents)):
            able = [name for name in names if self._has_prompt(agent, inner, name)]
            if len(able) == 1:
                return able[0]
            if able:
                options = ", ".join(f"{agent.id}.{name}" for name in able)
                self._problem(path, f"{agent.id!r} has several prompts: name one of {options}.")
                return None
        self._problem(path, f"{agent.id!r} has no prompt that can be edited.")
        return None

    def _has_prompt(self, agent: Agent, inner: JsonObject, name: str) -> bool:
        try:
            half_of(agent).edit(inner, _stand_in(agent, inner), Edit(prompts={name: "Go on."}))
        except InvalidInput:
            return False
        return True

    def models(self, models: Mapping[str, str]) -> None:
        for name, model in models.items():
            path = f"models.{name}"
            if name == "*":
                for agent in self._flow.agents.values():
                    if self._uses(agent):
                        self._set_model(agent, "*", model, name)
            elif (place := self._place(name, path)) is not None:
                self._set_model(place.agent, place.inner or "*", model, name)

    def _set_model(self, agent: Agent, inner: str, model: str, name: str) -> None:
        # an agent that is named keeps its model, whatever all others get
        if inner not in self._of(agent).models or name != "*":
            self._of(agent).models[inner] = model
            self._of(agent).names["models", inner] = name

    def _uses(self, agent: Agent) -> bool:
        return any(step.part.agent == agent.id for step in self._flow.steps.values())

    def _place(self, name: str, path: str) -> _Place | None:
        """What a name means; a problem where it means nothing, or several things."""
        wholes = dict(self._wholes())
        if name in wholes:
            return wholes[name]
        for prefix, whole in wholes.items():
            inner = name.removeprefix(f"{prefix}.")
            if inner != name and inner in self._names_inside(whole.agent):
                return _Place(whole.agent, whole.step, inner)
        agents = [a for a in self._flow.agents.values() if self._uses(a) and name in self._names_inside(a)]
        if len(agents) == 1:
            return _Place(agents[0], inner=name)
        if agents:
            options = ", ".join(f"{agent.id}.{name}" for agent in agents)
            self._problem(path, f"Several agents have a {name!r}: name one of {options}.")
        else:
            self._problem(path, f"There is no agent and no step {name!r}{did_you_mean(name, wholes)}")
        return None

    def _wholes(self) -> Iterator[tuple[str, _Place]]:
        """Steps and agents by their names; what comes later counts: ids before names, agents before steps."""
        steps = [s for s in self._flow.steps.values() if s.part.agent in self._flow.agents]
        agents = [agent for agent in self._flow.agents.values() if self._uses(agent)]
        yield from ((s.name, _Place(self._flow.agents[s.part.agent], s)) for s in reversed(steps))
        yield from ((agent.name, _Place(agent)) for agent in reversed(agents))
        yield from ((s.id, _Place(self._flow.agents[s.part.agent], s)) for s in steps)
        yield from ((agent.id, _Place(agent)) for agent in agents)

    def _names_inside(self, agent: Agent) -> frozenset[str]:
        return half_of(agent).unit_names(self._inner_definition(agent))

    # Inputs and values

    def inputs(self, inputs: JsonObject) -> None:
        """Lays new inputs of the run over what the node was given of them."""
        known = {name for step in self._flow.steps.values() for name, _ in used_names(step)}
        known |= {s.parts[1] for step in self._flow.steps.values() for s in step.sources or () if _of_run(s.parts)}
        takes_all = any(step.sources is None for step in self._flow.steps.values())
        for name, value in inputs.items():
            if name not in known and not takes_all:
                self._problem(f"inputs.{name}", f"No step uses this input{did_you_mean(name, known)}")
            elif self._step is not None and self.wrapper["outputs"] is None:
                for target, given in self._given(self._step, name, value):
                    self._give(target, given, ("inputs", name))

    def _given(self, step: FlowStep, name: str, value: Any) -> Iterator[tuple[str, Any]]:
        """What an input of the run becomes for a step: pairs of name and value."""
        made = made_names(self._flow, graph_of(self._flow), step)
        if step.sources is None:
            yield from [(name, value)] if name not in made else []
            return
        for source in step.sources:
            is_it = source.parts[:1] == (name,) and name not in made
            if is_it or source.parts[:2] == ("inputs", name):
                try:
                    yield source.target, lookup({name: value}, source.parts[0 if is_it else 1 :])
                except NothingThere as nothing:
                    self._problem(f"inputs.{name}", f"Step {step.id!r} needs {nothing.place!r}, which is not there.")

    def _give(self, target: str, value: Any, named: tuple[str, str]) -> None:
        assert self._step is not None
        inner = self._of(self._flow.agents[self._step.part.agent])
        self.wrapper["inputs"] = {**self.wrapper["inputs"], target: value}
        inner.inputs[target] = value
        inner.names["inputs", target] = f"{named[0]}.{named[1]}"

    def values(self, values: JsonObject) -> set[str]:
        """Sets those values that are this wrapper's; the names that are."""
        concerned: set[str] = set()
        if self._step is None:
            return concerned
        own = value_names(self.wrapper)
        for name, value in values.items():
            bare = self._unqualified(name, own)
            if bare is None:
                continue
            concerned.add(name)
            self._set_value(bare, value, name)
        if len(self._flow.steps) == 1:
            for name in values.keys() - concerned:
                self._problem(f"values.{name}", f"There is no value {name!r}{did_you_mean(name, own)}")
        return concerned

    def _unqualified(self, name: str, own: list[str]) -> str | None:
        if name in own:
            return name
        assert self._step is not None
        for prefix in own_names(self._flow, self._step):
            bare = name.removeprefix(f"{prefix}.")
            if bare != name and bare in own:
                return bare
        return None

    def _set_value(self, bare: str, value: Any, name: str) -> None:
        assert self._step is not None
        if self.wrapper["outputs"] is not None:
            self.wrapper["outputs"] = {**self.wrapper["outputs"], bare: value}
            return
        agent = self._flow.agents[self._step.part.agent]
        state = self.wrapper["state"]
        if state is not None and bare in half_of(agent).values(state):
            self._of(agent).values[bare] = value
            self._of(agent).names["values", bare] = name
        else:
            self._give(bare, value, ("values", name))

    # Inside of agents

    def inside(self) -> None:
        """Applies what concerns agents by the halves of their frameworks."""
        self._tell_task_anew()
        for agent in self._flow.agents.values():
            if agent.id in self._inner and not self.problems:
                self._apply(agent, self._inner[agent.id])

    def _tell_task_anew(self) -> None:
        """A task that was edited is told to the agent that has it already."""
        if self._step is None or self.wrapper["outputs"] is not None or "task" not in self.wrapper["inputs"]:
            return
        flow = read_flow(self.definition).flow
        step = flow.steps[self._step.id]
        if step.task == self._step.task:
            return
        given = {name: value for name, value in self.wrapper["inputs"].items() if name != "task"}
        try:
            self._give("task", task_text(flow.agents[step.part.agent], step, given, given), ("prompts", step.id))
        except BadDefinition as error:
            self._problem(f"prompts.{step.id}", str(error))

    def _apply(self, agent: Agent, change: _Inner) -> None:
        half, inner = half_of(agent), self._inner_definition(agent)
        is_ours = self._step is not None and self._step.part.agent == agent.id and self.wrapper["state"] is not None
        state = self.wrapper["state"] if is_ours else _stand_in(agent, inner)
        edit = Edit(change.prompts, change.models, change.values, change.inputs if is_ours else {})
        try:
            inner, after = half.edit(inner, state, edit)
        except InvalidInput as error:
            self.problems += [_outer(problem, change) for problem in error.problems]
            return
        if is_ours:
            self.wrapper["state"] = after
        config = self._config(agent)
        kept = {key: value for key, value in config.items() if key in NOT_THE_FRAMEWORKS}
        if change.prompts or change.models:
            config.clear()
            config.update({**(inner["agents"][agent.id] if agent.is_lone else inner), **kept})

    def _inner_definition(self, agent: Agent) -> JsonObject:
        """What the agent runs, as it has been edited so far."""
        flow = read_flow(self.definition).flow
        mine = self._step is not None and self._step.part.agent == agent.id
        step = self._step if mine else next(s for s in flow.steps.values() if s.part.agent == agent.id)
        assert step is not None
        return copy.deepcopy(inner_definition(flow.agents[agent.id], step))

    def _config(self, agent: Agent) -> dict[str, Any]:
        agents = self.definition["agents"]
        body = agents[agent.id] if isinstance(agents, dict) and agent.id in agents else None
        if body is None:
            found = agents.values() if isinstance(agents, dict) else agents
            body = next(one for one in found if one.get("id") == agent.id)
        config: dict[str, Any] = body["config"]
        return config

    def _body(self, step: FlowStep) -> dict[str, Any]:
        body: dict[str, Any] = self.definition["flow"][step.index]
        return body


def _of_run(parts: tuple[str, ...]) -> bool:
    return parts[:1] == ("inputs",) and len(parts) > 1


def _outer(problem: Problem, change: _Inner) -> Problem:
    """A framework's problem with the name that the edit has for it."""
    section, _, rest = problem.path.partition(".")
    for (of, inner), name in sorted(change.names.items(), key=lambda item: -len(item[0][1])):
        if of == section and (rest == inner or rest.startswith((f"{inner}.", f"{inner}["))):
            outer = name if section == "inputs" else f"{section}.{name}"
            return Problem(outer + rest.removeprefix(inner), problem.message)
    return problem


def _inputs_for(agent: Agent, inner: JsonObject) -> JsonObject:
    """Something for each input that the agent needs."""
    return {problem.path: "" for problem in half_of(agent).validate_inputs(inner, {})}


def _stand_in(agent: Agent, inner: JsonObject) -> JsonObject:
    """A state for edits of an agent that has none here: prompts and models are in its definition alone."""
    inputs = _inputs_for(agent, inner)
    rest: dict[str, JsonObject] = {
        "crewai": {"outputs": []},
        "langgraph": {"format": 1, "values": {}, "next": []},
        "semantic_kernel": {"messages": [], "results": {}, "next": []},
    }
    return {"inputs": inputs, **rest.get(agent.framework, {})}
