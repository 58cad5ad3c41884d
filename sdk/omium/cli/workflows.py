"""`omium workflows`: register definitions and start runs of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from omium.cli.inputs import json_file, json_option
from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="Register definitions of agents, and start runs of them.")

WorkflowId = Annotated[str, typer.Argument(metavar="WORKFLOW_ID", help="Id of the workflow.")]
Name = Annotated[str | None, typer.Option(help="Name of the workflow.")]
Framework = Annotated[str | None, typer.Option(help="crewai or langgraph.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
InputSchema = Annotated[str | None, typer.Option(metavar="FILE", help="JSON Schema of its inputs.")]
OutputSchema = Annotated[str | None, typer.Option(metavar="FILE", help="JSON Schema of its outputs.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A label; may be given several times.")]
FILE_HELP = (
    "JSON file with the definition, or with a whole workflow that has a workflow_definition; - is standard input."
)

#: Fields of a whole workflow that a user decides, and those that the API adds to them in its answers.
WORKFLOW_FIELDS = frozenset(
    {"name", "framework", "workflow_definition", "description", "input_schema", "output_schema", "tags"}
)
ANSWER_FIELDS = frozenset({"id", "version", "is_active", "warnings", "created_at", "updated_at"})


def _fields(
    file: str | None,
    name: str | None,
    framework: str | None,
    description: str | None,
    input_schema: str | None,
    output_schema: str | None,
    tags: list[str] | None,
) -> dict[str, Any]:
    """A workflow from a file and options; an option goes before the same field of the file."""
    content = json_file(file, "--file") if file is not None else {}
    fields: dict[str, Any] = {}
    if "workflow_definition" in content:
        # what `workflows get --json` printed can be given back; a misspelt field must not vanish in silence
        if unknown := sorted(content.keys() - WORKFLOW_FIELDS - ANSWER_FIELDS):
            fail(f"--file: {unknown[0]} is no field of a workflow; there are: {', '.join(sorted(WORKFLOW_FIELDS))}.", 2)
        fields = {key: content[key] for key in WORKFLOW_FIELDS & content.keys()}
    elif file is not None:
        fields = {"workflow_definition": content}
    options: dict[str, Any] = {"name": name, "framework": framework, "description": description, "tags": tags or None}
    if input_schema is not None:
        options["input_schema"] = json_file(input_schema, "--input-schema")
    if output_schema is not None:
        options["output_schema"] = json_file(output_schema, "--output-schema")
    return fields | {key: value for key, value in options.items() if value is not None}


@app.command()
def create(
    file: Annotated[str, typer.Option(metavar="FILE", help=FILE_HELP)],
    name: Name = None,
    framework: Framework = None,
    description: Description = None,
    input_schema: InputSchema = None,
    output_schema: OutputSchema = None,
    tag: Tags = None,
    as_json: JsonFlag = False,
) -> None:
    """Register a workflow. --name and --framework may be left out where the file has them."""
    fields = _fields(file, name, framework, description, input_schema, output_schema, tag)
    for required in ("name", "framework"):
        if not fields.get(required):
            fail(f"Give the workflow's {required} with --{required}, or in the file.", code=2)
    with connect() as client:
        workflow = client.workflows.create(**fields)
    if as_json:
        print_json(workflow)
        return
    _show_workflow(workflow)
    for warning in workflow.get("warnings") or []:
        typer.echo(f"Warning: {plain(warning)}", err=True)


@app.command("list")
def list_(
    framework: Annotated[str | None, typer.Option(help="Only those of this framework.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    page: Annotated[int | None, typer.Option(help="Number of the page, from 1.")] = None,
    per_page: Annotated[int | None, typer.Option(help="How many on a page.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the registered workflows."""
    with connect() as client:
        answer = client.workflows.list(page=page, per_page=per_page, limit=limit, cursor=cursor, framework=framework)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("name")),
            cell(item.get("framework")),
            cell(item.get("version")),
            cell("yes" if item.get("is_active") else "no"),
            moment(item.get("created_at")),
        )
        for item in answer.get("workflows", [])
    ]
    show_table(("id", "name", "framework", "version", "active", "created"), rows, "No workflows.")
    show_more(answer)


@app.command()
def get(
    workflow_id: WorkflowId,
    version: Annotated[int | None, typer.Option(help="An earlier version.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a workflow with its definition."""
    with connect() as client:
        workflow = client.workflows.get(workflow_id, version=version)
    if as_json:
        print_json(workflow)
        return
    _show_workflow(workflow)
    print_json(workflow.get("workflow_definition"))


@app.command()
def update(
    workflow_id: WorkflowId,
    file: Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)] = None,
    name: Name = None,
    framework: Framework = None,
    description: Description = None,
    input_schema: InputSchema = None,
    output_schema: OutputSchema = None,
    tag: Tags = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a new version of a workflow. What is not given stays as it is; runs that have begun keep theirs."""
    fields = _fields(file, name, framework, description, input_schema, output_schema, tag)
    if not fields:
        fail("Say what is to change, for instance with --file.", code=2)
    with connect() as client:
        workflow = client.workflows.update(workflow_id, **fields)
    if as_json:
        print_json(workflow)
    else:
        _show_workflow(workflow)


@app.command()
def delete(workflow_id: WorkflowId, as_json: JsonFlag = False) -> None:
    """Take a workflow out of use. Runs that have begun go on. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.workflows.delete(workflow_id)
    if not as_json:
        typer.echo(f"Workflow {workflow_id} is deleted.")


@app.command()
def execute(
    workflow_id: WorkflowId,
    inputs: Annotated[str, typer.Option(metavar="JSON", help="JSON object, or @FILE, or - for standard input.")] = "{}",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code 0 only if it completed.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds to --wait at most.", min=0)] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never starts a second run.")] = None,
    budget: Annotated[float | None, typer.Option(metavar="CREDITS", help="What the run may spend.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start a run. With --wait and --json, the run is printed as it ended."""
    values = json_option(inputs, "--inputs")
    with connect() as client:
        started = client.workflows.execute(workflow_id, values, idempotency_key=idempotency_key, budget=budget)
        if wait:
            from omium.cli.watch import wait_quietly, watch

            follow = wait_quietly if as_json else watch
            raise typer.Exit(follow(client, started["execution_id"], timeout=timeout))
    if as_json:
        print_json(started)
        return
    show_fields([("execution", cell(started.get("execution_id"))), ("status", cell(started.get("status")))])
    typer.echo(f"Follow it with: omium executions watch {plain(started.get('execution_id'))}", err=True)


def _show_workflow(workflow: Any) -> None:
    fields = ("id", "name", "description", "framework", "version", "is_active", "created_at", "updated_at")
    show_fields(
        [
            (field, moment(workflow[field]) if field.endswith("_at") else cell(workflow[field]))
            for field in fields
            if workflow.get(field) is not None
        ]
    )
