"""`omium policies`: what runs do when something goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.inputs import json_file
from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Policy

app = typer.Typer(no_args_is_help=True, help="What runs do when something goes wrong: policies and their versions.")

PolicyId = Annotated[str, typer.Argument(metavar="POLICY_ID", help="Id of the policy.")]
Name = Annotated[str | None, typer.Option(help="Name of the policy.")]
WorkflowId = Annotated[str | None, typer.Option(help="The workflow that it is for; all of them without one.")]
Active = Annotated[bool | None, typer.Option("--active/--inactive", help="Whether new runs begin with it.")]
FILE_HELP = "JSON file with a policy_config, or with a whole policy that has one; - is standard input."

#: Fields of a whole policy that a user decides, and those that the API adds to them in its answers.
FIELDS = frozenset({"name", "policy_type", "policy_config", "workflow_id", "description", "is_active"})
ANSWER_FIELDS = frozenset({"id", "version", "created_at", "updated_at"})


@app.command("list")
def list_(
    workflow_id: Annotated[str | None, typer.Option(help="Only those of this workflow.")] = None,
    policy_type: Annotated[
        str | None, typer.Option("--type", help="Only those of this type, such as recovery.")
    ] = None,
    active: Active = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List policies, the newest first."""
    with connect() as client:
        answer = client.policies.list(
            workflow_id=workflow_id, policy_type=policy_type, is_active=active, limit=limit, cursor=cursor
        )
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("name")),
            cell(item.get("policy_type")),
            cell(item.get("workflow_id") or "all workflows"),
            cell(item.get("version")),
            cell("yes" if item.get("is_active") else "no"),
        )
        for item in answer.get("policies", [])
    ]
    show_table(("id", "name", "type", "for", "version", "active"), rows, "No policies.")
    show_more(answer)


@app.command()
def get(policy_id: PolicyId, as_json: JsonFlag = False) -> None:
    """Show a policy with its settings."""
    with connect() as client:
        policy = client.policies.get(policy_id)
    _show(policy, as_json)


@app.command()
def create(
    file: Annotated[str, typer.Option(metavar="FILE", help=FILE_HELP)],
    name: Name = None,
    policy_type: Annotated[
        str | None, typer.Option("--type", help="timeout, retry, recovery, rollback or notification.")
    ] = None,
    workflow_id: WorkflowId = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    active: Active = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a policy. --name and --type may be left out where the file has them."""
    fields = _fields(
        file, name=name, policy_type=policy_type, workflow_id=workflow_id, description=description, is_active=active
    )
    for required, option in (("name", "--name"), ("policy_type", "--type")):
        if not fields.get(required):
            fail(f"Give the policy's {required} with {option}, or in the file.", code=2)
    with connect() as client:
        policy = client.policies.create(**fields)
    _show(policy, as_json)


@app.command()
def update(
    policy_id: PolicyId,
    file: Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)] = None,
    name: Name = None,
    workflow_id: WorkflowId = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    active: Active = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a new version of a policy. What is not given stays as it is; runs that have begun keep theirs."""
    fields = _fields(file, name=name, workflow_id=workflow_id, description=description, is_active=active)
    fields.pop("policy_type", None)
    if not fields:
        fail("Say what is to change, for instance with --file.", code=2)
    with connect() as client:
        policy = client.policies.update(policy_id, **fields)
    _show(policy, as_json)


@app.command()
def delete(policy_id: PolicyId, as_json: JsonFlag = False) -> None:
    """Take a policy out of use. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.policies.delete(policy_id)
    if not as_json:
        typer.echo(f"Policy {plain(policy_id)} is deleted.")


@app.command()
def versions(
    policy_id: PolicyId,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what a policy said, the newest version first."""
    with connect() as client:
        answer = client.policies.versions(policy_id, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("version")),
            cell(item.get("name")),
            cell("yes" if item.get("is_active") else "no"),
            moment(item.get("created_at")),
            cell(item.get("policy_config")),
        )
        for item in answer.get("versions", [])
    ]
    show_table(("version", "name", "active", "made", "settings"), rows, "No versions.")
    show_more(answer)


def _fields(file: str | None, **options: Any) -> dict[str, Any]:
    """A policy from a file and options; an option goes before the same field of the file."""
    content = json_file(file, "--file") if file is not None else {}
    fields: dict[str, Any] = {}
    if "policy_config" in content:
        # what `policies get --json` printed can be given back; a misspelt field must not vanish in silence
        if unknown := sorted(content.keys() - FIELDS - ANSWER_FIELDS):
            fail(f"--file: {unknown[0]} is no field of a policy; there are: {', '.join(sorted(FIELDS))}.", 2)
        fields = {key: content[key] for key in FIELDS & content.keys()}
    elif file is not None:
        fields = {"policy_config": content}
    return fields | {key: value for key, value in options.items() if value is not None}


def _show(policy: Policy, as_json: bool) -> None:
    if as_json:
        print_json(policy)
        return
    show_fields(
        [
            ("policy", cell(policy.get("id"))),
            ("name", cell(policy.get("name"))),
            ("description", cell(policy.get("description"))),
            ("type", cell(policy.get("policy_type"))),
            ("for", cell(policy.get("workflow_id") or "all workflows")),
            ("version", cell(policy.get("version"))),
            ("active", cell("yes" if policy.get("is_active") else "no")),
            ("updated", moment(policy.get("updated_at"))),
        ]
    )
    print_json(policy.get("policy_config"))
