"""Judges a graph in JSON beyond its shape: names, state fields, templates, conditions, tools. Pure.

Problems are told all at once; a part that cannot be read is left out of the further checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from activities import expressions, templates
from activities.adapters.langgraph import values
from activities.adapters.langgraph.shape import Shape, join, read_graph, suggest
from activities.adapters.langgraph.spec import (
    END,
    RESERVED_FIELDS,
    AnyNode,
    ApprovalNode,
    FieldType,
    LlmNode,
    SubgraphNode,
    TemplateNode,
    ToolNode,
    endpoint,
)
from activities.adapters.langgraph.topology import Topology
from omium_core.errors import Problem

MAX_DEPTH = 8
#: More are not told at once.
MAX_PROBLEMS = 100
#: Types of a field that can take what a person answered.
_ANSWER_TYPES: tuple[FieldType, ...] = ("object", "boolean", "array", "any")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def graph_problems(raw: Any, *, tools: frozenset[str] | None, path: str = "", depth: int = 0) -> list[Problem]:
    """All problems of a graph and of the graphs inside it; `path` is where it lies in the whole definition."""
    if not isinstance(raw, dict):
        return [Problem(path, "Must be an object.")]
    if depth > MAX_DEPTH:
        return [Problem(path, f"Graphs are nested more than {MAX_DEPTH} deep.")]
    shape, problems = read_graph(raw)
    judge = _Judge(shape, tools)
    found = chain(problems, judge.fields(), judge.ids(), Topology(shape).problems(), judge.edges(), judge.nodes())
    # They come one by one, so that a definition full of mistakes costs no more than one with a few.
    problems = [Problem(join(path, p.path) if path else p.path, p.message) for p in islice(found, MAX_PROBLEMS)]
    for index, (key, nested) in shape.nested.items():
        if len(problems) < MAX_PROBLEMS:
            problems += graph_problems(nested, tools=tools, path=join(path, "nodes", index, key), depth=depth + 1)
    return problems[:MAX_PROBLEMS]


class _Judge:
    def __init__(self, shape: Shape, tools: frozenset[str] | None) -> None:
        self._shape = shape
        self._tools = tools
        self._fields = frozenset(shape.state)
        #: Nodes that choose among their edges.
        self._choosing = {endpoint(edge.source) for edge in shape.edges.values() if edge.when}
        #: Nodes that run once per item: only these see `item` and `index`.
        self._per_item = {endpoint(edge.to) for edge in shape.edges.values() if edge.each}

    def fields(self) -> Iterator[Problem]:
        for name, field in self._shape.state.items():
            path = f"state.{name}"
            if not _FIELD_NAME.fullmatch(name):
                yield Problem(path, "A field's name consists of letters, digits and _, and begins with no digit.")
            elif name in RESERVED_FIELDS or name.startswith("__"):
                yield Problem(path, f"The name {name!r} is reserved.")
            fitting = values.REDUCER_TYPES.get(field.reducer)
            if fitting is not None and field.kind not in fitting:
                kinds = " or ".join(values.wanted(kind) for kind in sorted(fitting, reverse=True))
                yield Problem(f"{path}.reducer", f"{field.reducer!r} needs {kinds}, but the type is {field.kind!r}.")
            elif field.default is not None and (wrong := values.mismatch(field, field.default)):
                yield Problem(f"{path}.default", wrong)

    def ids(self) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index, name in self._shape.ids.items():
            if endpoint(name) != name or name in ("START", END) or name.startswith("__"):
                yield Problem(f"nodes[{index}].id", f"The id {name!r} is reserved.")
            elif name in first:
                yield Problem(f"nodes[{index}].id", f"The id {name!r} is taken by nodes[{first[name]}].")
            first.setdefault(name, index)

    def edges(self) -> Iterator[Problem]:
        for index, edge in self._shape.edges.items():
            path = f"edges[{index}]"
            if edge.when is not None:
                extra = {"item", "index"} if edge.each else set()
                yield from self._condition(f"{path}.when", edge.when, extra)
            if edge.each is None:
                continue
            if endpoint(edge.to) == END:
                yield Problem(f"{path}.each", "END does not run once per item.")
            yield from self._field(f"{path}.each", edge.each, ("array", "any"))
        yield from self._clashes()

    def nodes(self) -> Iterator[Problem]:
        for index, node in self._shape.nodes.items():
            path = f"nodes[{index}]"
            match node:
                case LlmNode():
                    yield from self._llm(path, node)
                case ToolNode():
                    yield from self._tool(f"{path}.tool", node.tool)
                    yield from self._templates(f"{path}.args", node.args, node)
                    if node.output is not None:
                        yield from self._field(f"{path}.output", node.output)
                case TemplateNode():
                    yield from self._template_node(path, node)
                case SubgraphNode():
                    yield from self._templates(f"{path}.inputs", node.inputs or {}, node)
                    yield from self._subgraph_outputs(path, node, index)
                case ApprovalNode():
                    yield from self._templates(f"{path}.question", node.question, node)
                    if node.output is not None:
                        yield from self._field(f"{path}.output", node.output, _ANSWER_TYPES)

    def _llm(self, path: str, node: LlmNode) -> Iterator[Problem]:
        yield from self._templates(f"{path}.prompt", node.prompt, node)
        yield from self._templates(f"{path}.system", node.system, node)
        yield from self._field(f"{path}.output", node.output)
        for position, tool in enumerate(node.tools):
            yield from self._tool(f"{path}.tools[{position}]", tool)
        if node.messages is not None:
            yield from self._field(f"{path}.messages", node.messages, ("array",))
            field = self._shape.state.get(node.output)
            if node.output == node.messages and field is not None and field.reducer != "append":
                yield Problem(f"{path}.output", f"The field {node.output!r} needs the reducer 'append'.")
        if node.output_schema is not None:
            try:
                Draft202012Validator.check_schema(node.output_schema)
            except SchemaError as error:
                yield Problem(join(f"{path}.output_schema", *error.absolute_path), f"No JSON Schema: {error.message}")

    def _template_node(self, path: str, node: TemplateNode) -> Iterator[Problem]:
        one = node.output is not None or "template" in node.model_fields_set
        if one == bool(node.set):
            yield Problem(path, "A template node has either `template` and `output`, or `set`.")
        elif one and (node.output is None or "template" not in node.model_fields_set):
            missing = "output" if node.output is None else "template"
            yield Problem(f"{path}.{missing}", "Is required.")
        yield from self._templates(f"{path}.template", node.template, node)
        if node.output is not None:
            yield from self._field(f"{path}.output", node.output)
        for name, template in node.set.items():
            yield from self._field(f"{path}.set.{name}", name)
            yield from self._templates(f"{path}.set.{name}", template, node)

    def _subgraph_outputs(self, path: str, node: SubgraphNode, index: int) -> Iterator[Problem]:
        raw = self._shape.nested[index][1]
        inner = raw.get("state", {}) if isinstance(raw, dict) else {}
        inner_fields = frozenset(inner) if isinstance(inner, dict) else frozenset()
        for name, source in (node.outputs or {}).items():
            yield from self._field(f"{path}.outputs.{name}", name)
            if source not in inner_fields:
                hint = suggest(source, inner_fields)
                yield Problem(f"{path}.outputs.{name}", f"The inner graph has no state field {source!r}.{hint}")
        if inner_fields and not node.outputs and not self._fields & inner_fields:
            yield Problem(f"{path}.outputs", "Nothing comes out: the inner graph shares no state field with this one.")

    def _field(self, path: str, name: str, kinds: Sequence[FieldType] = ()) -> Iterator[Problem]:
        """A state field that must exist, and be of one of these types where any are given."""
        field = self._shape.state.get(name)
        if not self._shape.has_state:
            return
        if field is None:
            yield Problem(path, f"There is no state field {name!r}.{suggest(name, self._fields)}")
        elif kinds and field.kind not in kinds:
            fitting = " or ".join(values.wanted(kind) for kind in kinds if kind != "any")
            yield Problem(path, f"The state field {name!r} must be {fitting}, but its type is {field.kind!r}.")

    def _tool(self, path: str, name: str) -> Iterator[Problem]:
        if self._tools is not None and name not in self._tools:
            yield Problem(path, f"There is no tool {name!r}.{suggest(name, self._tools)}")

    def _templates(self, path: str, value: Any, node: AnyNode) -> Iterator[Problem]:
        """All texts inside a value are templates."""
        if isinstance(value, dict):
            for key, item in value.items():
                yield from self._templates(f"{path}.{key}", item, node)
        elif isinstance(value, list):
            for position, item in enumerate(value):
                yield from self._templates(f"{path}[{position}]", item, node)
        elif isinstance(value, str):
            if error := templates.check(value):
                yield Problem(path, error)
                return
            extra = {"item", "index"} if node.id in self._per_item else set()
            yield from self._unknown_names(path, templates.variables(value), extra)

    def _condition(self, path: str, source: str, extra: set[str]) -> Iterator[Problem]:
        if error := expressions.check(source):
            yield Problem(path, error)
            return
        yield from self._unknown_names(path, expressions.variables(source), extra)

    def _unknown_names(self, path: str, names: Iterable[str], extra: set[str]) -> Iterator[Problem]:
        known = self._fields | {"inputs", "state"} | extra
        if not self._shape.has_state:
            return
        for name in sorted(set(names) - known):
            if name in ("item", "index"):
                yield Problem(path, f"{name!r} is known only behind an edge with `each`.")
            else:
                hint = suggest(name, known) or f" An input is read as {'inputs.' + name!r}."
                yield Problem(path, f"{name!r} is no state field.{hint}")

    def _clashes(self) -> Iterator[Problem]:
        """Branches of one step that write the same `replace` field: the second write would be an error when it runs."""
        written = {node.id: set(_outputs(node)) for node in self._shape.nodes.values()}
        replaced = {name for name, field in self._shape.state.items() if field.reducer == "replace"}
        writers: dict[tuple[str, str], str] = {}
        for index, edge in self._shape.edges.items():
            source, target = endpoint(edge.source), endpoint(edge.to)
            for name in sorted(written.get(target, set()) & replaced):
                other = target
                if edge.each:
                    who = f"{target!r} runs once per item and"
                elif source not in self._choosing:
                    other = writers.setdefault((source, name), target)
                    who = f"{target!r} runs beside {other!r}, and each"
                if edge.each or other != target:
                    yield Problem(
                        f"edges[{index}].{'each' if edge.each else 'to'}",
                        f"{who} writes {name!r}, which keeps one value. "
                        "Give the field the reducer 'append', 'merge' or 'add'.",
                    )


def _outputs(node: AnyNode) -> Iterator[str]:
    """State fields that a node writes."""
    match node:
        case LlmNode():
            yield node.output
        case ToolNode() | ApprovalNode() if node.output is not None:
            yield node.output
        case TemplateNode():
            yield from node.set
            if node.output is not None:
                yield node.output
        case SubgraphNode():
            yield from node.outputs or ()
