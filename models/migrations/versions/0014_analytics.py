"""Metrics of executions and agents, and their roll-ups

Revision: 0014, after: 0013
"""

from __future__ import annotations

from collections.abc import Sequence

revision: str = '0014'
down_revision: str | None = '0013'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
