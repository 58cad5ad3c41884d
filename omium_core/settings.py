"""The one place where settings come from: `OMIUM_*` variables, read once when a process starts.

`Settings()` is created in the entry points (`api/__main__.py`, `workers/main.py`, the command line) and handed down;
nothing below reads the environment. What `docker-compose.yml` sets and what `omium up` sets are the same names.
"""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from omium_core.errors import ConfigurationError

#: What a fresh checkout uses when nothing is set. Refused when `environment` is production.
DEVELOPMENT_PEPPER = "omium-development-pepper"

DEVELOPMENT_MASTER_KEY = "b21pdW0tZGV2ZWxvcG1lbnQtbWFzdGVyLWtleS0wMDE="

FRAMEWORKS = ("langgraph", "crewai", "autogen", "semantic_kernel", "flow")

#: Top-level import names of the platform itself; a user's module must not shadow one of them.
OWN_MODULES = frozenset({"api", "models", "workflows", "activities", "workers", "omium_core", "omium"})

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ModelPrice(BaseModel):
    """Price of one model in US dollars per million tokens."""

    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)


class Settings(BaseSettings):
    """All settings of all processes; each reads what it needs."""

    model_config = SettingsConfigDict(env_prefix="OMIUM_", frozen=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["json", "text"] = "json"

    # Where the parts are
    database_url: SecretStr = SecretStr("postgresql+asyncpg://omium@127.0.0.1:5432/omium")
    database_pool_size: Count = 10
    #: The login that owns the tables and runs the migrations; without it, that of `database_url`.
    owner_database_url: SecretStr | None = None
    #: Wraps the tenants' keys: 32 random bytes in base64. Several, separated by commas: the first wraps, all unwrap.
    master_key: SecretStr = SecretStr(DEVELOPMENT_MASTER_KEY)
    master_key_file: Path | None = None
    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "default"
    temporal_ui_url: str = "http://127.0.0.1:8233"

    # The object store: where states, large inputs and large outputs lie
    store: Literal["file", "s3"] = "file"
    store_path: Path = Path(".omium/objects")
    s3_bucket: str = "omium"
    s3_endpoint_url: str | None = None
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None

    # The API
    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_key_pepper: SecretStr = SecretStr(DEVELOPMENT_PEPPER)
    max_body_bytes: Count = 8 * 1024 * 1024
    #: Values up to this size stay in their row; larger ones go to the object store.
    inline_bytes: Annotated[int, Field(ge=0)] = 16 * 1024
    #: Seconds a request waits for what only a worker can tell (does an entry point exist and compile?).
    worker_check_timeout: Seconds = 15.0
    bootstrap_api_key: SecretStr | None = None

    # Workers
    #: The frameworks whose queues a worker process serves.
    frameworks: CommaSeparated = FRAMEWORKS
    max_concurrent_steps: Count = 50
    #: A dead worker is noticed after this many seconds without a heartbeat.
    heartbeat_timeout: Seconds = 3.0
    #: Longest time for one attempt of one step.
    step_timeout: Seconds = 3600.0
    #: How often a step may fail (model down, tool down) before its run fails. A died worker is no failure.
    step_max_failures: Count = 5
    #: First pause after a failure, in seconds; doubles each time up to `retry_max_interval`.
    retry_initial_interval: Seconds = 1.0
    retry_max_interval: Seconds = 30.0
    #: Bound for graphs with cycles, where a definition names none.
    max_steps: Count = 200
    #: Events after which a run goes on in a fresh history; Temporal ends one that has 51,200.
    max_history: int = Field(default=4000, ge=20, le=40_000)
    metrics_port: Port | None = None
    #: Touched when a process is ready; `omium up` waits for it.
    ready_file: Path | None = None

    # Users' code and tools
    agent_path: CommaSeparated = ()
    agent_modules: CommaSeparated = ()
    tool_modules: CommaSeparated = ()
    #: Hosts, or networks such as 10.0.0.0/8, that `http_request` and notifications may reach although they are private.
    http_allow_private: CommaSeparated = ()

    # Notifications
    #: Seconds that a receiver has to answer.
    notification_timeout: Seconds = 10.0
    #: How often a notification is sent until it counts as failed.
    notification_max_attempts: Count = 12
    #: First pause between two attempts, in seconds; doubles each time, up to an hour.
    notification_retry_interval: Seconds = 2.0

    # The model provider behind the gateway
    llm_base_url: str | None = None
    llm_api_key: SecretStr | None = None
    llm_model: str | None = None
    llm_force_model: bool = False
    llm_timeout: Seconds = 120.0
    model_prices: dict[str, ModelPrice] = Field(default_factory=dict)

    @field_validator("frameworks", "agent_modules", "tool_modules", "http_allow_private", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return _parts(value) if isinstance(value, str) else value

    @field_validator("agent_path", mode="before")
    @classmethod
    def _split_path(cls, value: object) -> object:
        # reads like PATH too
        return _parts(value.replace(os.pathsep, ",")) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url", "owner_database_url")
    @classmethod
    def _names_the_driver(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value.get_secret_value())
            well = parts.scheme == "postgresql+asyncpg" and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            well = False
        if not well:
            raise ValueError("it must look like postgresql+asyncpg://user:password@host:5432/database")
        return value

    @model_validator(mode="after")
    def _refuse_what_cannot_run(self) -> Self:
        for module in (*self.agent_modules, *self.tool_modules):
            top = module.partition(".")[0]
            if top in OWN_MODULES:
                raise ConfigurationError(
                    f"OMIUM_AGENT_MODULES / OMIUM_TOOL_MODULES names {module!r}, but {top!r} is a module of Omium itself. "
                    "Rename yours, or put it inside a package with another name."
                )
        unknown = sorted(set(self.frameworks) - set(FRAMEWORKS))
        if unknown:
            raise ConfigurationError(f"OMIUM_FRAMEWORKS names {unknown[0]!r}; known are: {', '.join(FRAMEWORKS)}.")
        if self.environment == "production" and self.master_key_file is None and self._has_development_key:
            raise ConfigurationError(
                "OMIUM_MASTER_KEY has its development default. Set it, or OMIUM_MASTER_KEY_FILE, to 32 random bytes in "
                "base64: it protects everything that tenants store."
            )
        if self.environment == "production" and self.api_key_pepper.get_secret_value() == DEVELOPMENT_PEPPER:
            raise ConfigurationError(
                "OMIUM_API_KEY_PEPPER has its development default. Set it to a long random value: "
                "it is what makes a stolen table of key hashes worthless."
            )
        return self

    @property
    def _has_development_key(self) -> bool:
        return self.master_key.get_secret_value() == DEVELOPMENT_MASTER_KEY

    def owner_url(self) -> str:
        """The address of the database for those who change its tables."""
        return (self.owner_database_url or self.database_url).get_secret_value()

    def master_keys(self) -> str:
        """The master keys as text, from the file if one is named. `ConfigurationError` when it cannot be read."""
        if self.master_key_file is None:
            return self.master_key.get_secret_value()
        try:
            return self.master_key_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"OMIUM_MASTER_KEY_FILE={self.master_key_file} cannot be read: {error}."
            ) from error


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def load_settings() -> Settings:
    """The settings from the environment; `ConfigurationError` names the variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "OMIUM_" + "_".join(str(part) for part in first["loc"][:1]).upper()
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ConfigurationError(f"{variable} is not valid: {reason}.") from error
    except SettingsError as error:
        # raised for a value that must be JSON, and names the field in quotes
        field = str(error).partition('"')[2].partition('"')[0]
        raise ConfigurationError(f"OMIUM_{field.upper()} is not valid: it must be JSON.") from error
