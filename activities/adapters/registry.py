"""Which frameworks there are, by name, and how their two halves are loaded.

Adapters are imported by name and only when asked for: naming a framework in the API must not load it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from activities.adapters.base import Adapter, FrameworkDefinition
from omium_core.errors import InvalidInput, Problem
from omium_core.settings import FRAMEWORKS, Settings

#: Each package has `definition.DEFINITION` and `adapter.create(settings, scratch)`.
PACKAGES: Final[Mapping[str, str]] = MappingProxyType({name: f"activities.adapters.{name}" for name in FRAMEWORKS})

#: The import name of each framework, where it is not the framework's own name; empty where there is none to install.
INSTALLED_AS: Final[Mapping[str, str]] = MappingProxyType({"autogen": "autogen_agentchat", "flow": "", "external": ""})


def definition_for(name: str) -> FrameworkDefinition:
    """The pure half of a framework. Raises `InvalidInput` with the path `framework` for an unknown name."""
    return cast("FrameworkDefinition", importlib.import_module(f"{_package(name)}.definition").DEFINITION)


def load_adapter(name: str, settings: Settings, scratch: Path) -> Adapter:
    """Imports a framework and returns its adapter. For worker processes; takes seconds the first time.

    `scratch` is a folder of this process, the only one that a framework may write to.
    """
    return cast("Adapter", importlib.import_module(f"{_package(name)}.adapter").create(settings, scratch))


def _package(name: str) -> str:
    if name in PACKAGES:
        return PACKAGES[name]
    known = ", ".join(sorted(PACKAGES))
    close = difflib.get_close_matches(name, PACKAGES, n=1) if isinstance(name, str) else []
    hint = f" Did you mean {close[0]!r}?" if close else ""
    message = f"Unknown framework {name!r}.{hint} Known are: {known}."
    raise InvalidInput(message, [Problem("framework", message)], known=sorted(PACKAGES))
