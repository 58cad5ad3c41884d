"""The compose file against its schema, and for what the schema cannot see."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from omium_core.settings import Settings
from tests.deploy.compose_check import Compose, load, problems, variables
from tests.support.loopback import tool

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose() -> Compose:
    return load(COMPOSE)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT)


def schema_check(path: Path) -> subprocess.CompletedProcess[str]:
    return run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path)


def test_it_fits_the_schema_of_compose_files(tmp_path: Path) -> None:
    assert (result := schema_check(COMPOSE)).returncode == 0, result.stdout
    broken = tmp_path / "compose.yml"
    broken.write_text(COMPOSE.read_text().replace("healthcheck:", "heathcheck:", 1))
    assert "heathcheck" in schema_check(broken).stdout


def test_every_name_in_it_exists(compose: Compose) -> None:
    assert problems(compose, ROOT) == []


BREAKAGES: dict[str, Callable[[Compose], object]] = {
    "api: depends on 'absent'": lambda s: s["api"]["depends_on"].update(absent={"condition": "service_started"}),
    "api: waits until 'migrate' is healthy": lambda s: s["api"]["depends_on"]["migrate"].update(
        condition="service_healthy"
    ),
    "api: waits until 'objects' has ended": lambda s: s["api"]["depends_on"]["objects"].update(
        condition="service_completed_successfully"
    ),
    "objects: volumes 'absent' is not declared": lambda s: s["objects"].update(volumes=["absent:/data"]),
    "volumes 'objects' is used by nobody": lambda s: s["objects"].update(volumes=[]),
    "api: networks 'absent' is not declared": lambda s: s["api"].update(networks=["inside", "absent"]),
    "api: configs 'absent' is not declared": lambda s: s["api"].update(configs=["absent"]),
    "api: secrets 'absent' is not declared": lambda s: s["api"].update(secrets=[{"source": "absent"}]),
    "OMIUM_STOER is no setting": lambda s: s["api"]["environment"].update(OMIUM_STOER="s3"),
    "OMIUM_ABSENT is no setting": lambda s: s["temporal"]["environment"].update(X="${OMIUM_ABSENT:-}"),
    "temporal: mounts ./absent": lambda s: s["temporal"].update(volumes=["./absent:/etc/absent:ro"]),
    "api: is built from the target 'absent'": lambda s: s["api"]["build"].update(target="absent"),
    "api: is built from absent": lambda s: s["api"]["build"].update(dockerfile="absent"),
    "api: publishes 8000:8000": lambda s: s["api"].update(ports=["8000:8000"]),
    "postgresql: POSTGRES_PASSWORD is a secret": lambda s: s["postgresql"]["environment"].update(
        POSTGRES_PASSWORD="${DATABASE_ADMIN_PASSWORD:-postgres}"
    ),
    "api: OMIUM_DATABASE_URL is a secret": lambda s: s["api"]["environment"].update(
        OMIUM_DATABASE_URL="postgresql+asyncpg://omium:${DATABASE_PASSWORD:-omium}@postgresql:5432/omium"
    ),
    "api: OMIUM_TEMPORAL_ADDRESS names the host 'tempral'": lambda s: s["api"]["environment"].update(
        OMIUM_TEMPORAL_ADDRESS="tempral:7233"
    ),
    "api: OMIUM_S3_ENDPOINT_URL names 'objects', which is on no network": lambda s: s["api"].update(
        networks=["outside"]
    ),
    "temporal-ui: has no health check": lambda s: s["temporal-ui"].pop("healthcheck"),
    "temporal-ui: has no restart policy": lambda s: s["temporal-ui"].pop("restart"),
}


@pytest.mark.parametrize("expected", BREAKAGES)
def test_the_check_finds(compose: Compose, expected: str) -> None:
    broken = copy.deepcopy(compose)
    BREAKAGES[expected](broken["services"])
    assert any(problem.startswith(expected) for problem in problems(broken, ROOT)), problems(broken, ROOT)


def test_the_example_of_the_environment_names_every_variable_and_no_secret(compose: Compose) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    required = {line.removesuffix("=") for line in lines if re.fullmatch(r"\w+=", line)}
    optional = {line[2:-1] for line in lines if re.fullmatch(r"# [A-Z_]+=", line)}
    assert not [line for line in lines if re.match(r"(# )?\w+=.", line)], "a value in the example"
    wanted = variables(compose)
    assert required == {name for name, rest in wanted.items() if rest.startswith(":?")}
    assert optional == {name for name, rest in wanted.items() if rest.startswith(":-")}
    ignored = run("git", "check-ignore", ".env")
    assert ignored.returncode == 0, ".env would be committed"


@pytest.mark.parametrize(
    "service", ["migrate", "api", "worker-langgraph", "worker-crewai", "worker-autogen", "worker-semantic-kernel"]
)
def test_the_settings_class_takes_what_each_of_our_services_is_given(
    compose: Compose, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in compose["services"][service]["environment"].items():
        filled = re.sub(r"\$\{\w+:\?[^}]*\}", "given", value)
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", filled))
    settings = Settings()
    assert settings.environment == "production"
    assert settings.store == "s3"
    assert settings.enforces_credits
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://omium_service:given@postgresql:5432/omium"
    # the owner of the tables works for the job alone
    owner = settings.owner_database_url and settings.owner_database_url.get_secret_value()
    assert owner == ("postgresql+asyncpg://omium:given@postgresql:5432/omium" if service == "migrate" else None)
    if service.startswith("worker-"):
        # runs of flows are at home in every worker; their steps go to the queues of their frameworks
        assert settings.frameworks == (service.removeprefix("worker-").replace("-", "_"), "flow")


def test_yaml_files_are_tidy(tmp_path: Path) -> None:
    command = (tool("yamllint"), "--strict", "--config-file", ROOT / ".yamllint.yaml")
    result = run(*command, COMPOSE, ROOT / "temporal-config")
    assert result.returncode == 0, result.stdout
    (tmp_path / "double.yaml").write_text("key: 1\nkey: 2\n")
    assert "duplication of key" in run(*command, tmp_path).stdout
