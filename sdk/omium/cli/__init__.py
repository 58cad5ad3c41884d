"""The command line `omium`: one module per group of commands; `main` is the installed script.

Commands of the server (`up`, `down`, `status`, ...) belong to other distributions and are found through the
entry-point group `omium.commands`. Only typer is imported here: the client, httpx and rich are loaded by the command
that needs them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from omium.cli import (
    analytics,
    api_keys,
    approvals,
    audit,
    auth,
    billing_payments,
    budgets,
    checkpoints,
    config,
    connections,
    consensus,
    executions,
    failures,
    members,
    notifications,
    policies,
    roles,
    schedules,
    tenant,
    usage,
    webhooks,
    workflows,
)
from omium.cli.plugins import load_plugins

GROUPS = {
    "auth": auth.app,
    "members": members.app,
    "roles": roles.app,
    "workflows": workflows.app,
    "executions": executions.app,
    "checkpoints": checkpoints.app,
    "approvals": approvals.app,
    "consensus": consensus.app,
    "failures": failures.app,
    "policies": policies.app,
    "notifications": notifications.app,
    "schedules": schedules.app,
    "webhooks": webhooks.app,
    "connections": connections.app,
    "usage": usage.app,
    "analytics": analytics.app,
    "audit": audit.app,
    "billing": billing_payments.group,
    "budgets": budgets.app,
    "tenant": tenant.app,
    "api-keys": api_keys.app,
    "config": config.app,
}


#: Groups to which plug-ins add commands.
EXTENDED = ("audit", "billing")


def _print_version(wanted: bool) -> None:
    if wanted:
        from omium import __version__

        typer.echo(f"omium {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """The application with the commands of this package alone."""
    # plain help and errors: one sentence stays one line, and rich is not loaded for them
    app = typer.Typer(
        name="omium",
        help="Durable runs of AI agents: register workflows, start runs, watch and steer them, read their checkpoints.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        pass

    for name, group in GROUPS.items():
        app.add_typer(group, name=name)
    return app


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line; ends the process with its exit code."""
    given = list(sys.argv[1:] if args is None else args)
    app = build_app()
    # the client's own commands neither wait for plug-ins nor break with them
    if not given or given[0] not in GROUPS or given[0] in EXTENDED:
        load_plugins(app)
    app(args=given, prog_name="omium")
