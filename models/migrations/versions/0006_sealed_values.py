"""What tenants store is sealed

What lies there already stays readable: it is marked as plain, and `omium keys reseal` seals it.

Revision: 0006, after: 0005
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_JSON = {
    "agents": ("output",),
    "approvals": ("question", "default_value", "answer"),
    "checkpoints": ("preconditions", "postconditions", "metadata"),
    "consensus_logs": ("message",),
    "effects": ("arguments", "result"),
    "execution_events": ("data",),
    "execution_policies": ("policy_config",),
    "execution_policy_versions": ("policy_config",),
    "executions": ("inputs", "outputs", "policy", "metadata"),
    "failures": ("metadata",),
    "notifications": ("payload",),
    "recovery_actions": ("action_config", "metadata"),
    "rollbacks": ("edits", "metadata"),
    "workflow_versions": ("workflow_definition", "input_schema", "output_schema"),
}
#: These keep the order of their keys, so they were no JSONB.
_AS_WRITTEN = {("workflow_versions", name) for name in _JSON["workflow_versions"]}
#: JSONB takes no NUL: these had such a value as the text of its JSON, under one name.
_AS_TEXT = {("effects", "arguments"), ("effects", "result"), ("rollbacks", "edits")}
_TEXT = {
    "agents": {"error": "text"},
    "approvals": {"title": "text", "comment": "text"},
    "consensus_acks": {"reason": "text"},
    "effects": {"error": "text"},
    "execution_policies": {"description": "text"},
    "executions": {"error_message": "text"},
    "failures": {"error_message": "text", "stack_trace": "text", "root_cause": "text", "recovery_suggestion": "text"},
    "lineages": {"reason": "text"},
    "notifications": {"last_error": "varchar(500)"},
    "recovery_actions": {"error": "text"},
    "rollbacks": {"trigger_reason": "varchar(255)", "error": "text"},
    "workflows": {"description": "text"},
}
_BYTES = {"call_journal": ("answer",)}

_PLAIN = r"'\x00'::bytea"

# what was sealed cannot be put back by the database, which has no keys
_OPENED = r"""
CREATE FUNCTION pg_temp.opened(sealed bytea) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    IF length(sealed) > 0 AND get_byte(sealed, 0) <> 0 THEN
        RAISE EXCEPTION 'values are sealed: the schema cannot go back behind 0006';
    END IF;
    RETURN substr(sealed, 2);
END
$$
"""


def upgrade() -> None:
    for table in sorted(_JSON.keys() | _TEXT.keys() | _BYTES.keys()):
        changes = [(name, "bytea", _as_json(table, name)) for name in _JSON.get(table, ())]
        changes += [(name, "bytea", f"{_PLAIN} || convert_to({name}, 'UTF8')") for name in _TEXT.get(table, ())]
        changes += [(name, "bytea", f"{_PLAIN} || {name}") for name in _BYTES.get(table, ())]
        _change(table, changes)
    op.add_column("execution_events", sa.Column("checkpoint_number", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.execute(_OPENED)
    op.drop_column("execution_events", "checkpoint_number")
    for table in sorted(_JSON.keys() | _TEXT.keys() | _BYTES.keys()):
        changes = []
        for name in _JSON.get(table, ()):
            kind = "json" if (table, name) in _AS_WRITTEN else "jsonb"
            changes.append((name, kind, _from_json(table, name, kind)))
        for name, kind in _TEXT.get(table, {}).items():
            changes.append((name, kind, f"convert_from(pg_temp.opened({name}), 'UTF8')"))
        changes += [(name, "bytea", f"pg_temp.opened({name})") for name in _BYTES.get(table, ())]
        _change(table, changes)
    op.execute("DROP FUNCTION pg_temp.opened")


def _as_json(table: str, name: str) -> str:
    text = f"{name}::text"
    if (table, name) in _AS_TEXT:
        text = f"CASE WHEN jsonb_typeof({name}) = 'object' AND {name} ? '$json' THEN {name} ->> '$json' ELSE {text} END"
    return f"{_PLAIN} || convert_to({text}, 'UTF8')"


def _from_json(table: str, name: str, kind: str) -> str:
    text = f"convert_from(pg_temp.opened({name}), 'UTF8')"
    if (table, name) not in _AS_TEXT:
        return f"{text}::{kind}"
    # more values than need it may be the text of their JSON
    needs = rf"position('\u' in {text}) > 0 OR position('$json' in {text}) > 0"
    return f"CASE WHEN {needs} THEN jsonb_build_object('$json', {text}) ELSE {text}::jsonb END"


def _change(table: str, changes: Sequence[tuple[str, str, str]]) -> None:
    """All columns of a table at once: it is written anew only once."""
    altered = ", ".join(f"ALTER COLUMN {name} TYPE {kind} USING {using}" for name, kind, using in changes)
    # the driver must not look for parameters in it
    op.get_bind().exec_driver_sql(f"ALTER TABLE {table} {altered}")
