"""What a run went through, for people: its lineages as a tree, and what a rollback would do as a table."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from omium.cli.output import cell, field_grid, moment, status
from omium.types import Lineage, LineageTree


def lineage_view(answer: LineageTree) -> RenderableType:
    """The tree: a branch for each lineage, with its steps, its checkpoints and what was forked from it."""
    known = {lineage["lineage"]: lineage for lineage in answer.get("lineages", [])}
    root = answer.get("tree") or {"lineage": 0, "children": []}
    tree = Tree(_heading(known.get(root["lineage"], {})))
    _grow(tree, root, known)
    return tree


def _grow(tree: Tree, node: dict[str, Any], known: dict[int, Lineage]) -> None:
    lineage = known.get(node["lineage"], {})
    names = {point["step_index"]: point for point in lineage.get("checkpoints", []) if point.get("kind") == "step"}
    for step in lineage.get("steps", []):
        line = Text.assemble(cell(step.get("name")), "  ", status(step.get("status")))
        if point := names.get(step.get("step_index", -1)):
            line.append_text(cell(f"  {point.get('checkpoint_name')}  {point.get('id')}", "dim"))
        tree.add(line)
    for point in lineage.get("checkpoints", []):
        if point.get("kind") == "named":
            tree.add(cell(f"named {point.get('checkpoint_name')}  {point.get('id')}", "cyan"))
    for fork in lineage.get("forks", []):
        line = Text.assemble(cell(f"fork {fork.get('execution_id')}  "), status(fork.get("status")))
        tree.add(line)
    for child in node.get("children", []):
        _grow(tree.add(_heading(known.get(child["lineage"], {}))), child, known)


def _heading(lineage: Lineage) -> Text:
    text = cell(f"lineage {lineage.get('lineage', 0)}", "bold")
    if lineage.get("parent_lineage") is not None:
        text.append_text(cell(f" from {lineage.get('checkpoint_name') or lineage.get('checkpoint_id') or 'the start'}"))
    if reason := lineage.get("reason"):
        text.append_text(cell(f" ({reason})"))
    if lineage.get("current"):
        text.append_text(cell(" current", "green"))
    text.append("  ")
    text.append_text(moment(lineage.get("created_at")))
    return text


def plan_view(plan: dict[str, Any]) -> RenderableType:
    """What a rollback would do."""
    checkpoint, spent = plan.get("checkpoint") or {}, plan.get("spent") or {}
    head = field_grid(
        [
            ("back to", cell(f"{checkpoint.get('name')} (number {checkpoint.get('number')})")),
            ("lineage", cell(f"{plan.get('from_lineage')} -> {plan.get('to_lineage')}")),
            ("steps left behind", cell(", ".join(str(step.get("name")) for step in plan.get("steps", [])) or "none")),
            ("spent on them", cell(_amount(spent))),
            ("spent again, about", cell(_amount(plan.get("again") or {}))),
        ]
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("what", "which", "step", "how"):
        table.add_column(name, overflow="fold")
    for effect in plan.get("undo", []):
        table.add_row("undone", cell(effect.get("tool")), cell(effect.get("step")), cell(_inverse(effect)))
    for effect in plan.get("irreversible", []):
        table.add_row(cell("stays", "bold red"), cell(effect.get("tool")), cell(effect.get("step")), "cannot be undone")
    for effect in plan.get("lost", []):
        table.add_row(
            cell("missing", "yellow"), cell(effect.get("tool")), cell(effect.get("step")), "was undone before"
        )
    for approval in plan.get("approvals", []):
        title = approval.get("title") or approval.get("id")
        table.add_row("approval falls", cell(title), cell(approval.get("step")), cell(approval.get("status")))
    parts: list[RenderableType] = [head]
    if table.row_count:
        parts.append(table)
    if plan.get("blocked"):
        parts.append(cell(f"{plan.get('reason')} Roll back with --confirm to leave it as it is.", "yellow"))
    return Group(*parts)


def _amount(amount: dict[str, Any]) -> str:
    told = [f"{amount.get('model_calls', 0)} model calls", f"{amount.get('tool_calls', 0)} tool calls"]
    return ", ".join([*told, f"{amount.get('tokens', 0)} tokens", f"{amount.get('credits', 0)} credits"])


def _inverse(effect: dict[str, Any]) -> str:
    return f"by {effect['inverse']}" if effect.get("inverse") else "needs nothing"
