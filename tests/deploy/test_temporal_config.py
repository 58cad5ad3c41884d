"""The configuration of Temporal, on a real server: the development server takes the same values as a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeNamespaceResponse
from temporalio.client import Client

from omium_core.temporal import DYNAMIC_CONFIG, SEARCH_ATTRIBUTES
from tests.support.loopback import free_port, running, tool, wait_until

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "temporal-config"
SCRIPTS = sorted(CONFIG.glob("*.sh"))


def dynamic_config(name: str) -> dict[str, Any]:
    """The values of a dynamic configuration; each key must have exactly one, without constraints."""
    values: dict[str, Any] = {}
    for key, entries in YAML(typ="safe").load(CONFIG / "dynamicconfig" / name).items():
        [entry] = entries
        assert entry.keys() == {"value"}
        values[key] = entry["value"]
    return values


@contextmanager
def server(values: dict[str, Any], log: Path) -> Iterator[str]:
    """A development server with these dynamic values; its address."""
    ports = {name: free_port() for name in ("port", "http-port", "metrics-port")}
    command = [tool("temporal"), "server", "start-dev", "--ip", "127.0.0.1", "--headless", "--log-level", "warn"]
    for name, port in ports.items():
        command += [f"--{name}", str(port)]
    for key, value in values.items():
        command += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
    address = f"127.0.0.1:{ports['port']}"
    # it listens some time before it answers
    ask = [tool("temporal"), "operator", "namespace", "describe", "--namespace", "default", "--address", address]
    with running(command, log=log, ready=lambda: succeeds(ask)):
        yield address


def succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def namespace_sh(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(tool("temporal")).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", str(CONFIG / "namespace.sh")],
        env={"PATH": path, "HOME": os.environ.get("HOME", "/"), "TEMPORAL_ADDRESS": address, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


async def describe(address: str, namespace: str) -> DescribeNamespaceResponse:
    client = await Client.connect(address)
    return await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(dynamic_config("local.yaml"), tmp_path_factory.mktemp("temporal") / "log") as address:
        yield address


def test_the_local_file_says_what_the_local_stack_uses() -> None:
    assert dynamic_config("local.yaml") == DYNAMIC_CONFIG


def test_the_cluster_differs_only_in_what_counts_per_shard() -> None:
    cluster = dynamic_config("cluster.yaml")
    assert cluster.items() <= DYNAMIC_CONFIG.items()
    assert all(key.endswith("MaxPollRPS") for key in DYNAMIC_CONFIG.keys() - cluster.keys())


async def test_a_server_takes_the_local_values(address: str) -> None:
    found = await describe(address, "default")
    assert found.namespace_info.capabilities.worker_commands


async def test_a_server_takes_the_values_of_the_cluster_and_a_misspelt_one_is_seen(tmp_path: Path) -> None:
    values = dynamic_config("cluster.yaml")
    with server(values, tmp_path / "log") as address:
        assert (await describe(address, "default")).namespace_info.capabilities.worker_commands
    values["frontend.WorkerComandsEnabled"] = values.pop("frontend.WorkerCommandsEnabled")
    with server(values, tmp_path / "log") as address:
        assert not (await describe(address, "default")).namespace_info.capabilities.worker_commands


async def test_the_namespace_is_made_and_made_again(address: str) -> None:
    assert (first := namespace_sh(address)).returncode == 0, first.stderr
    made = await describe(address, "omium")
    assert made.config.workflow_execution_retention_ttl.ToSeconds() == 30 * 24 * 3600

    assert (second := namespace_sh(address, RETENTION="48h")).returncode == 0, second.stderr
    changed = await describe(address, "omium")
    assert changed.config.workflow_execution_retention_ttl.ToSeconds() == 48 * 3600
    assert changed.namespace_info.id == made.namespace_info.id

    client = await Client.connect(address)
    listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="omium"))
    registered = dict(listed.custom_attributes)
    for attribute in SEARCH_ATTRIBUTES:
        assert registered[attribute.name] == IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


def test_an_attribute_of_another_type_is_an_error(address: str) -> None:
    create = ["operator", "namespace", "create", "--address", address, "--namespace", "other"]
    subprocess.run([tool("temporal"), *create], check=True, capture_output=True)
    attribute = ["operator", "search-attribute", "create", "--namespace", "other", "--name", "Tenant", "--type", "Int"]
    command = [tool("temporal"), *attribute, "--address", address]
    # a new namespace is known after a moment
    wait_until(lambda: succeeds(command), seconds=60, what="the namespace")
    result = namespace_sh(address, TEMPORAL_NAMESPACE="other", WAIT_SECONDS="3")
    assert result.returncode == 1
    assert "Tenant already exists and has different type" in result.stderr


def test_a_server_that_does_not_answer_is_an_error() -> None:
    result = namespace_sh(f"127.0.0.1:{free_port()}", WAIT_SECONDS="0")
    assert result.returncode == 1
    assert "gave up" in result.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path, tmp_path: Path) -> None:
    def check(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tool("shellcheck"), str(path)], capture_output=True, text=True, check=False)

    assert script.read_text().startswith("#!/bin/sh\n")
    assert os.access(script, os.X_OK)
    assert (result := check(script)).returncode == 0, result.stdout
    (tmp_path / "broken.sh").write_text(script.read_text() + "\nif [[ $undefined == 1 ]]; then echo $1; fi\n")
    assert "SC3010" in check(tmp_path / "broken.sh").stdout


@pytest.mark.parametrize("failing", [None, "setup-schema"])
def test_the_schema_job_prepares_both_databases_and_stops_at_an_error(tmp_path: Path, failing: str | None) -> None:
    """The real tool exists in an image only; one that writes down what it is asked takes its place."""
    stand_in = tmp_path / "temporal-sql-tool"
    stand_in.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/calls"\ncase "$*" in *{failing}*) exit 1 ;; esac\n')
    stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SQL_HOST": "db", "SQL_USER": "temporal", "SQL_PASSWORD": "x"}
    result = subprocess.run(["sh", str(CONFIG / "schema.sh")], env=environment, check=False)
    calls = [line.partition("--db ")[2] for line in (tmp_path / "calls").read_text().splitlines()]
    versions = "/etc/temporal/schema/postgresql/v12"
    expected = [
        "temporal create",
        "temporal setup-schema -v 0.0",
        f"temporal update-schema -d {versions}/temporal/versioned",
        "temporal_visibility create",
        "temporal_visibility setup-schema -v 0.0",
        f"temporal_visibility update-schema -d {versions}/visibility/versioned",
    ]
    assert (result.returncode, calls) == ((1, expected[:2]) if failing else (0, expected))
