"""Every setting, from `HOOKLAKE_*` variables, `./.env` and `<data-dir>/secrets.env`.

The environment goes before `./.env`, which goes before `secrets.env`. A wrong value never starts
anything: all problems are collected and reported together, without the secrets themselves.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
import secrets as random_source
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ingest.errors import SettingsError
from ingest.paths import DataDir, write_file_durably

SCHEMES: Final = ("standard", "stripe", "github", "shopify", "slack", "hmac", "token", "none")
SECRET_SCHEMES: Final = frozenset(("standard", "stripe", "github", "shopify", "slack", "hmac"))
STANDARD_PREFIX: Final = "whsec_"
STANDARD_KEY_BYTES_MIN: Final = 16
_NAMED: Final = re.compile(r"([a-z0-9_-]{1,32})=(.+)", re.DOTALL)
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
WEBHOOK_PATH: Final = "/webhooks/uchat"
PREFIX: Final = "HOOKLAKE_"
DATA_DIR: Final = Path("data")


@dataclass(frozen=True)
class NamedSecret:
    """A signing secret or token; its value stays out of every repr."""

    name: str
    value: str = field(repr=False)

    @property
    def standard_key(self) -> bytes | None:
        """The key's bytes where this is a `whsec_` secret, else None."""
        if not self.value.startswith(STANDARD_PREFIX):
            return None
        encoded = self.value.removeprefix(STANDARD_PREFIX)
        if not _BASE64.fullmatch(encoded):
            return None
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return None


def parse_named_secrets(text: str, kind: str) -> tuple[NamedSecret, ...]:
    """The entries of a comma-separated list, each `value` or `name=value`.

    Raises: ValueError when the list or an entry is empty, a name comes twice, or a `whsec_` key
    is not strict base64 of at least 16 bytes.
    """
    found: list[NamedSecret] = []
    for position, raw in enumerate(text.split(","), start=1):
        entry = raw.strip()
        if not entry:
            raise ValueError(
                f"entry {position} is empty; write one {kind} or several with commas between, "
                "or unset the variable to have one made"
            )
        named = None if entry.startswith(STANDARD_PREFIX) else _NAMED.fullmatch(entry)
        secret = (
            NamedSecret(named[1], named[2]) if named else NamedSecret(f"{kind}-{position}", entry)
        )
        if any(secret.name == other.name for other in found):
            raise ValueError(f"two entries are named {secret.name!r}; give each its own name")
        if secret.value.startswith(STANDARD_PREFIX):
            key = secret.standard_key
            if key is None or len(key) < STANDARD_KEY_BYTES_MIN:
                raise ValueError(
                    f"entry {position} begins with {STANDARD_PREFIX} but what follows is not "
                    f"base64 of at least {STANDARD_KEY_BYTES_MIN} bytes; copy the secret again"
                )
        found.append(secret)
    return tuple(found)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """All settings of one installation. Durations in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(DATA_DIR, description="where everything is kept")
    host: str = Field("127.0.0.1", description="address the receiver listens on")
    port: int = Field(8080, ge=0, le=65535, description="port of the receiver")
    dashboard_host: str = Field("127.0.0.1", description="address the dashboard listens on")
    dashboard_port: int = Field(8501, ge=0, le=65535, description="port of the dashboard")
    node: str = Field(
        "n1",
        pattern=r"^[a-z0-9-]{1,32}$",
        description="this receiver's name in file names and rows",
    )
    verify: Annotated[tuple[str, ...], NoDecode] = Field(
        ("standard", "token"), description="accepted schemes; one satisfied suffices"
    )
    secrets: Annotated[tuple[NamedSecret, ...], NoDecode] = Field(
        (), description="signing secrets, comma-separated, `name=` before each if you like"
    )
    tokens: Annotated[tuple[NamedSecret, ...], NoDecode] = Field(
        (), description="URL tokens, comma-separated, `name=` before each if you like"
    )
    token_header: str = Field(
        "", description="header that may carry a token, beside the URL and `Authorization: Bearer`"
    )
    hmac_header: str = Field("X-Signature", description="scheme `hmac`: the signature's header")
    hmac_prefix: str = Field("", description="scheme `hmac`: text before the signature")
    hmac_template: str = Field(
        "{timestamp}.{body}", description="scheme `hmac`: the bytes that are signed"
    )
    hmac_algorithm: Literal["sha1", "sha256", "sha512"] = Field(
        "sha256", description="scheme `hmac`: sha1, sha256 or sha512"
    )
    hmac_encoding: Literal["hex", "base64"] = Field(
        "hex", description="scheme `hmac`: hex or base64"
    )
    hmac_timestamp_header: str = Field(
        "X-Timestamp", description="scheme `hmac`: the signed Unix time's header"
    )
    hmac_window_seconds: int = Field(
        300, ge=0, le=86400, description="scheme `hmac`: how far off the timestamp may be"
    )
    body_bytes_max: int = Field(
        1_048_576, ge=1024, le=67_108_864, description="larger bodies are answered 413"
    )
    queue_records_max: int = Field(
        10_000, ge=1, description="deliveries waiting for a commit; more are answered 503"
    )
    queue_bytes_max: int = Field(
        67_108_864, ge=1024, description="their bodies' bytes; more are answered 503"
    )
    commit_wait_ms: float = Field(
        1.0, ge=0, le=100, description="how long a commit waits for company"
    )
    connections_max: int = Field(
        512, ge=1, description="open connections; further ones are answered 503"
    )
    free_bytes_min: int = Field(
        268_435_456, ge=0, description="less free disk than this is answered 503"
    )
    land_interval_seconds: float = Field(
        1.0, gt=0, le=60, description="how often committed events become Parquet files"
    )
    land_rows_max: int = Field(50_000, ge=1, description="events of one landing at most")
    compact_interval_seconds: float = Field(
        60, ge=0, description="how often `refresh --watch` looks for files to merge; 0: never"
    )
    compact_file_bytes_max: int = Field(
        67_108_864, ge=65_536, description="files are merged into one of so many bytes at most"
    )
    compact_grace_seconds: float = Field(
        3600, ge=0, description="how long a merged file's inputs stay for whoever still reads them"
    )
    ledger_keep_days: int = Field(
        30, ge=30, description="how long the ledger knows a delivery that is in the lake"
    )
    quarantine_keep_days: int = Field(
        0, ge=0, description="how long a malformed delivery waits to be mended; 0: for good"
    )
    rejections_keep_days: int = Field(
        30, ge=1, description="how long a refused request is remembered, of the newest 1,000"
    )
    warehouses_keep_hours: float = Field(
        24, ge=0, description="how long older versions of the warehouse stay, of the newest three"
    )
    workers: int = Field(1, ge=1, le=64, description="listening processes that share the port")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )

    @property
    def paths(self) -> DataDir:
        return DataDir(self.data_dir)

    @property
    def webhook_url(self) -> str:
        """Where this machine reaches the receiver, without a token."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}{WEBHOOK_PATH}"

    @field_validator("verify", mode="before")
    @classmethod
    def _split_schemes(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        schemes = tuple(part.strip().lower() for part in value.split(","))
        for scheme in schemes:
            if scheme not in SCHEMES:
                raise ValueError(
                    f"{scheme!r} is no scheme; choose from {', '.join(SCHEMES)}, "
                    "several with commas between"
                )
        host = info.data.get("host")
        if "none" in schemes and host is not None and not is_loopback(host):
            raise ValueError(
                f"scheme 'none' is for a loopback address only, and HOOKLAKE_HOST is {host}; "
                "use another scheme or bind 127.0.0.1"
            )
        return tuple(dict.fromkeys(schemes))

    @field_validator("secrets", "tokens", mode="before")
    @classmethod
    def _split_secrets(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        entries = parse_named_secrets(value, (info.field_name or "secrets").removesuffix("s"))
        if (
            info.field_name == "secrets"
            and "standard" in info.data.get("verify", ())
            and not any(entry.standard_key for entry in entries)
        ):
            raise ValueError(
                f"scheme 'standard' needs a secret that begins with {STANDARD_PREFIX}; "
                "add one, or leave 'standard' out of HOOKLAKE_VERIFY"
            )
        return entries

    @field_validator("token_header", "hmac_header", "hmac_timestamp_header")
    @classmethod
    def _check_header_name(cls, value: str, info: ValidationInfo) -> str:
        is_needed = info.field_name != "token_header" and "hmac" in info.data.get("verify", ())
        if is_needed and not value:
            raise ValueError("scheme 'hmac' needs this header's name")
        if value and not _HEADER_NAME.fullmatch(value):
            raise ValueError("a header's name has letters, digits and hyphens only")
        return value

    @field_validator("hmac_template")
    @classmethod
    def _check_template(cls, value: str) -> str:
        if value.count("{body}") != 1 or value.count("{timestamp}") > 1:
            raise ValueError("the template has {body} once and {timestamp} at most once")
        return value


def load_settings(data_dir: Path | None = None, **overrides: Any) -> Settings:
    """The settings in force; `data_dir` and `overrides` (None: not given) go before everything.

    Raises: SettingsError naming every wrong variable at once.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if data_dir is not None:
        given["data_dir"] = data_dir
    local = _read_file(Path(".env"))
    try:
        root = {**local, **_DataDirOnly().model_dump(exclude_unset=True), **given}.get("data_dir")
        kept = _read_file(DataDir(Path(root or DATA_DIR)).secrets)
        return Settings(**{**kept, **local, **_from_environment(local | kept), **given})
    except ValidationError as error:
        raise SettingsError(_problems(error)) from None


def _read_file(path: Path) -> dict[str, Any]:
    """The settings a file states, as they stand: a secret may hold `${…}`."""
    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8") if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        what = (
            f"{error.strerror}; run this as the user whose file it is"
            if isinstance(error, OSError)
            else "it is not UTF-8 text; save it as such"
        )
        raise SettingsError([f"{path} cannot be read: {what}"]) from None
    found = {}
    for key, value in values.items():
        name = key.lower().removeprefix(PREFIX.lower())
        if value is not None and key.upper().startswith(PREFIX) and name in Settings.model_fields:
            found[name] = value
    return found


def _from_environment(names: Iterable[str]) -> dict[str, str]:
    """What the environment says of settings that a file states too."""
    values = {key.upper(): value for key, value in os.environ.items()}
    wanted = {name: f"{PREFIX}{name.upper()}" for name in names}
    return {name: values[key] for name, key in wanted.items() if key in values}


class _DataDirOnly(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")
    data_dir: Path = DATA_DIR


def _problems(error: ValidationError) -> list[str]:
    return [
        f"HOOKLAKE_{'_'.join(str(part) for part in problem['loc'][:1]).upper()}: "
        f"{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False)
    ]


def unknown_variables(environment: dict[str, str] | None = None) -> list[str]:
    """Names of `HOOKLAKE_*` variables that mean nothing, most likely misspelt."""
    known = {f"HOOKLAKE_{name.upper()}" for name in Settings.model_fields}
    names = os.environ if environment is None else environment
    return sorted(name for name in names if name.startswith("HOOKLAKE_") and name not in known)


@dataclass(frozen=True)
class Credentials:
    """`made`: which of `secrets` and `tokens` were unset and have been made just now."""

    settings: Settings
    made: tuple[str, ...]


def ensure_credentials(settings: Settings) -> Credentials:
    """The settings with a secret and a token each enabled scheme can work with.

    What is unset is made at random and kept in `<data-dir>/secrets.env` (0600); called again, it
    changes nothing.
    """
    wants_secret = bool(SECRET_SCHEMES & set(settings.verify))
    wants_token = "token" in settings.verify
    lines = {}
    if wants_secret and not settings.secrets:
        key = base64.b64encode(random_source.token_bytes(32)).decode()
        lines["HOOKLAKE_SECRETS"] = f"{STANDARD_PREFIX}{key}"
    if wants_token and not settings.tokens:
        lines["HOOKLAKE_TOKENS"] = random_source.token_hex(20)
    if not lines:
        return Credentials(settings, ())
    path = settings.paths.ensure().secrets
    before = (
        path.read_text("utf-8")
        if path.exists()
        else ("# Made by hooklake. The environment and ./.env go before this file.\n")
    )
    if before and not before.endswith("\n"):
        before += "\n"
    added = "".join(f"{name}={value}\n" for name, value in lines.items())
    write_file_durably(path, (before + added).encode())
    made = tuple(name.removeprefix("HOOKLAKE_").lower() for name in lines)
    update: dict[str, Any] = {
        name: parse_named_secrets(lines[f"HOOKLAKE_{name.upper()}"], name.removesuffix("s"))
        for name in made
    }
    return Credentials(settings.model_copy(update=update), made)
