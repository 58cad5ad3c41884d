"""The Dockerfile, and the lock files that its targets install."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.dockerfile import Dockerfile
from tests.support.loopback import tool

ROOT = Path(__file__).parents[2]
PATH = ROOT / "deploy/docker/Dockerfile"
TARGETS = {
    "api": "api",
    "worker-langgraph": "workers.main",
    "worker-crewai": "workers.main",
    "worker-autogen": "workers.main",
    "worker-semantic-kernel": "workers.main",
}
EXTRAS = {
    "api": [],
    "worker-langgraph": ["langgraph"],
    "worker-crewai": ["crewai"],
    "worker-autogen": ["autogen"],
    "worker-semantic-kernel": ["semantic-kernel"],
}


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return Dockerfile(PATH)


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("hadolint"), str(path)], capture_output=True, text=True, check=False)


def pins(name: str) -> dict[str, str]:
    """What a lock file pins, by the name of the distribution."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    assert (result := hadolint(PATH)).returncode == 0, result.stdout
    broken = tmp_path / "Dockerfile"
    broken.write_text(PATH.read_text().replace("-slim AS run", "-slim AS run\nRUN apt-get install curl"))
    assert "DL3008" in hadolint(broken).stdout


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_runs_its_module_as_an_ordinary_user_and_tells_its_health(
    dockerfile: Dockerfile, target: str
) -> None:
    assert dockerfile.last(target, "USER") == "10001:10001"
    assert dockerfile.last(target, "HEALTHCHECK")
    command = json.loads(dockerfile.last(target, "CMD") or "[]")
    assert command == ["python", "-m", TARGETS[target]]
    module = importlib.util.find_spec(TARGETS[target])
    assert module is not None
    if module.submodule_search_locations:
        assert importlib.util.find_spec(f"{TARGETS[target]}.__main__") is not None


def test_what_is_copied_exists_and_goes_into_the_build(dockerfile: Dockerfile) -> None:
    allowed = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = [
        source
        for stage in dockerfile.stages.values()
        for keyword, rest in stage
        if keyword == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source).match(pattern) for pattern in allowed), f"{source} is ignored"


def test_all_stages_that_are_named_exist(dockerfile: Dockerfile) -> None:
    named = re.findall(r"(?:--from=|,from=)([\w-]+)", PATH.read_text())
    assert named
    assert set(named) <= set(dockerfile.stages)


def test_all_our_packages_are_copied(dockerfile: Dockerfile) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {rest.split()[0] for keyword, rest in dockerfile.stages["wheels"] if keyword == "COPY"}
    assert {*packages, "sdk", "pyproject.toml"} <= copied


def test_uv_is_the_release_that_the_set_up_uses(dockerfile: Dockerfile) -> None:
    assert f"UV_VERSION={dockerfile.arguments['UV_VERSION']}\n" in (ROOT / "scripts/setup").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_installs_a_part_of_the_one_lock(dockerfile: Dockerfile, target: str) -> None:
    installs = [rest for keyword, rest in dockerfile.stages[f"install-{target}"] if keyword == "RUN"]
    assert any("--require-hashes" in rest and f"-r requirements-{target}.lock" in rest for rest in installs)
    role, whole = pins(f"requirements-{target}.lock"), pins("requirements.lock")
    assert role.items() <= whole.items(), "run scripts/lock"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in EXTRAS[target]:
        wanted += project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        if requirement.name != "omium":  # comes as a wheel of its own
            assert requirement.specifier.contains(role[requirement.name]), f"{requirement}: run scripts/lock"


def test_no_target_holds_another_ones_framework() -> None:
    assert not {"langgraph", "crewai", "autogen-agentchat", "semantic-kernel"} & pins("requirements-api.lock").keys()
    assert "crewai" not in pins("requirements-worker-langgraph.lock")
    assert "langgraph" not in pins("requirements-worker-crewai.lock")
    assert not {"langgraph", "crewai"} & pins("requirements-worker-autogen.lock").keys()
    others = {"langgraph", "crewai", "autogen-agentchat"}
    assert not others & pins("requirements-worker-semantic-kernel.lock").keys()
