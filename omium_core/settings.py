"""The one place where settings come from: `OMIUM_*` variables, read once when a process starts.

`Settings()` is created in the entry points (`api/__main__.py`, `workers/main.py`, the command line) and handed down;
nothing below reads the environment. What `docker-compose.yml` sets and what `omium up` sets are the same names.
"""

from __future__ import annotations

import os
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict, SettingsError

from omium_core.errors import ConfigurationError
from omium_core.stripe_settings import StripeSettings

#: What a fresh checkout uses when nothing is set. Refused when `environment` is production.
DEVELOPMENT_PEPPER = "omium-development-pepper"

DEVELOPMENT_MASTER_KEY = "b21pdW0tZGV2ZWxvcG1lbnQtbWFzdGVyLWtleS0wMDE="

FRAMEWORKS = ("langgraph", "crewai", "autogen", "semantic_kernel", "flow", "external")

#: Top-level import names of the platform itself; a user's module must not shadow one of them.
OWN_MODULES = frozenset({"api", "models", "workflows", "activities", "workers", "omium_core", "omium"})

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Credits = Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=6)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ModelPrice(BaseModel):
    """Price of one model in US dollars per million tokens."""

    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)


class CreditPrice(BaseModel, extra="forbid"):
    """Price of a model in credits, per million tokens and per call."""

    input_per_1m: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    cached_per_1m: Annotated[Decimal, Field(ge=0)] | None = None
    output_per_1m: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    per_call: Annotated[Decimal, Field(ge=0)] = Decimal(0)


class Settings(StripeSettings):
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
    #: A key of AWS KMS (id, ARN or alias) that wraps instead; a master key that is set beside it still unwraps.
    kms_key_id: str | None = None
    kms_region: str | None = None
    kms_endpoint_url: str | None = None
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

    # What stands between browsers, proxies and the API (docs/gateway.md)
    #: Origins whose pages may call the API, such as https://app.example.com.
    cors_origins: CommaSeparated = ()
    #: Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
    trusted_proxies: CommaSeparated = ()
    #: Where the Temporal Web UI answers with the public path /temporal; the API shows it there to those who sign in.
    temporal_ui_upstream: str | None = None
    #: Seconds after which who signed in to the Web UI must do so again.
    ui_session_seconds: Count = 3600

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

    # Limits of tenants and keys (docs/limits.md); a tenant's row and a key may say otherwise
    rate_limits_enabled: bool = True
    #: `memory`, each API process for itself, or redis://user:password@host:port/number for one count of all of them.
    rate_limit_store: SecretStr = SecretStr("memory")
    #: Requests of a tenant.
    requests_per_minute: Count = 600
    requests_per_hour: Count = 6000
    #: Requests of one key, or of one person, to executions, checkpoints and failures.
    execution_requests_per_minute: Count = 200
    execution_requests_per_hour: Count = 4000
    #: Size of an execution's inputs as JSON.
    max_input_bytes: Count = 4 * 1024 * 1024
    #: Seconds between two writes of what was counted: requests of a month, last uses of keys.
    usage_flush_interval: Seconds = 10.0
    #: How many turns a tenant of each tier gets where several wait for the same workers.
    fairness_weights: dict[str, Annotated[float, Field(ge=0.001, le=1000)]] = Field(
        default_factory=lambda: {"starter": 1.0, "professional": 3.0, "enterprise": 10.0}
    )
    #: The part of a worker's steps that one tenant may have in flight, so that others find a place at once.
    tenant_step_share: Annotated[float, Field(gt=0, le=1)] = 0.8

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

    # External connections
    #: Seconds that a service outside has to answer one request.
    connection_timeout: Seconds = 30.0
    #: Seconds between two looks at a run of an external agent: at first, and at most.
    external_poll_interval: Seconds = 1.0
    external_poll_max_interval: Seconds = 15.0
    #: Seconds for which a service may be out of reach until the step that waits for it counts as failed.
    external_patience: Seconds = 600.0

    # Outgoing webhooks
    #: Seconds that an endpoint has to answer.
    webhook_timeout: Seconds = 15.0
    #: How often a delivery is tried until it counts as failed; with the pauses below, over nearly a day.
    webhook_max_attempts: Count = 12
    #: First pause between two attempts, in seconds; three times as long each time, up to six hours.
    webhook_retry_interval: Seconds = 5.0
    #: An endpoint that took nothing for this many seconds is switched off.
    webhook_disable_after: Seconds = 3 * 86_400.0
    #: Seconds in which the secret before still signs, when a secret is rotated.
    webhook_secret_overlap: Seconds = 86_400.0
    max_webhooks: Count = 20

    # Money; see docs/billing.md
    #: Whether runs stop when their tenant has no credits; without a word on it, in production.
    billing_enforced: bool | None = None
    #: Credits that a new tenant begins with.
    signup_credits: Credits = Decimal(0)
    #: A model without a price is refused, or costs `default_price`; without a word on it, refused where credits are enforced.
    unpriced_models: Literal["refuse", "default"] | None = None
    #: In credits: {"input_per_1m", "output_per_1m", "cached_per_1m", "per_call"}.
    default_price: CreditPrice = CreditPrice()
    #: Tenants are warned when their balance falls below this many credits; 0 for never.
    low_credits: Credits = Decimal(100)
    #: Tokens that a call may cost at most where neither the request nor its price says how long the answer may be.
    most_output_tokens: Count = 4096

    # Schedules
    max_schedules: Count = 1000

    # The model provider behind the gateway
    llm_base_url: str | None = None
    llm_api_key: SecretStr | None = None
    llm_model: str | None = None
    llm_force_model: bool = False
    llm_timeout: Seconds = 120.0
    model_prices: dict[str, ModelPrice] = Field(default_factory=dict)

    # Sign-in
    #: Who knows the passwords: this installation, or a Supabase project.
    identity_provider: Literal["local", "supabase"] = "local"
    #: Where people reach the API; also the issuer of its tokens.
    public_url: str = "http://127.0.0.1:8000"
    #: The pages to which mails lead (/verify-email, /reset-password, /invitation); without them, mails hold the tokens alone.
    app_url: str | None = None
    #: Whether anybody may make a tenant, or only who was invited may join one.
    sign_up: Literal["open", "invited"] = "open"
    #: With it nobody gets a token before the address is confirmed, and no answer tells which addresses are known.
    require_verified_email: bool = False
    token_audience: str = "omium"  # noqa: S105 - a name, no secret
    access_token_seconds: Count = 3600
    #: How long one key signs access tokens before another one is made.
    signing_key_days: Annotated[int, Field(ge=1, le=3650)] = 30
    refresh_token_days: Annotated[int, Field(ge=1, le=3650)] = 30
    invitation_days: Annotated[int, Field(ge=1, le=365)] = 7
    #: Cost of a password's hash (argon2id): KiB of memory, and passes over it.
    password_memory_kib: Annotated[int, Field(ge=8, le=4_194_304)] = 65_536
    password_passes: Annotated[int, Field(ge=1, le=100)] = 3
    supabase_url: str | None = None
    #: The project's publishable (anon) key.
    supabase_key: SecretStr | None = None

    # Mail
    mail_sender: Literal["log", "smtp"] = "log"
    mail_from: str = "Omium <omium@localhost>"
    smtp_host: str = "127.0.0.1"
    smtp_port: Port = 587
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"

    @field_validator(
        "frameworks",
        "agent_modules",
        "tool_modules",
        "http_allow_private",
        "cors_origins",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return _parts(value) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if (
                not parts.hostname
                or "*" in origin
                or origin not in (f"http://{parts.netloc}", f"https://{parts.netloc}")
            ):
                raise ValueError(f"{origin!r} is no origin, such as https://app.example.com (no path, no wildcard)")
        return tuple(origin.lower() for origin in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            try:
                ip_network(entry, strict=False)
            except ValueError:
                raise ValueError(f"{entry!r} is no address and no network, such as 10.0.0.0/8 or ::1") from None
        return value

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
        if self.identity_provider == "supabase" and not (self.supabase_url and self.supabase_key):
            raise ConfigurationError(
                "OMIUM_IDENTITY_PROVIDER is supabase: set OMIUM_SUPABASE_URL and OMIUM_SUPABASE_KEY (the publishable key)."
            )
        unknown = sorted(set(self.frameworks) - set(FRAMEWORKS))
        if unknown:
            raise ConfigurationError(f"OMIUM_FRAMEWORKS names {unknown[0]!r}; known are: {', '.join(FRAMEWORKS)}.")
        if self.environment == "production" and self._uses_development_key:
            raise ConfigurationError(
                "OMIUM_MASTER_KEY has its development default. Set it, or OMIUM_MASTER_KEY_FILE, to 32 random bytes in "
                "base64, or OMIUM_KMS_KEY_ID: it protects everything that tenants store."
            )
        if self.environment == "production" and self.api_key_pepper.get_secret_value() == DEVELOPMENT_PEPPER:
            raise ConfigurationError(
                "OMIUM_API_KEY_PEPPER has its development default. Set it to a long random value: "
                "it is what makes a stolen table of key hashes worthless."
            )
        return self

    @property
    def _uses_development_key(self) -> bool:
        if self.master_key_file is not None:
            return False
        listed = self.master_key.get_secret_value()
        return DEVELOPMENT_MASTER_KEY in listed and not (self.kms_key_id and listed == DEVELOPMENT_MASTER_KEY)

    @property
    def has_master_key(self) -> bool:
        """Whether a master key is set, or its development default may be used."""
        is_set = self.master_key_file is not None or self.master_key.get_secret_value() != DEVELOPMENT_MASTER_KEY
        return is_set or self.environment == "development"

    @property
    def enforces_credits(self) -> bool:
        return self.environment == "production" if self.billing_enforced is None else self.billing_enforced

    @property
    def refuses_unpriced_models(self) -> bool:
        return self.enforces_credits if self.unpriced_models is None else self.unpriced_models == "refuse"

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
