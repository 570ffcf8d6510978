"""What `hooklake serve` tells a person when it starts, and what it warns of."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Final

from ingest.settings import Settings, is_loopback, unknown_variables

_UNSTAMPED: Final = frozenset(("github", "shopify", "token"))


def introduce(settings: Settings, made: tuple[str, ...]) -> None:
    """Tell a person where deliveries go, where the secret is, and how to send the first one."""
    url = settings.webhook_url
    secrets_file = settings.paths.secrets
    lines = [f"hooklake receives at {url}", f"  accepted schemes  {', '.join(settings.verify)}"]
    if "token" in settings.verify:
        if "tokens" in made:
            token_url = f"{url}/{settings.tokens[0].value}"
            lines.append(f"  URL for UChat     {token_url}")
        else:
            lines.append(f"  URL for UChat     {url}/<a token of HOOKLAKE_TOKENS>")
            token_url = f"{url}/$({_token_command(secrets_file)})"
        if not _is_token_elsewhere(settings, secrets_file):
            body = '{"event":"user_registered","data":{"email":"ada@example.com"}}'
            lines.append("  try it:")
            lines.append(
                f"  curl -i -H 'Content-Type: application/json' -d '{body}' \"{token_url}\""
            )
    if made:
        lines.append(f"  made just now     {' and '.join(made)}, kept in {secrets_file}")
    elif secrets_file.exists():
        lines.append(f"  secrets           {secrets_file}")
    print("\n".join(lines), flush=True)  # noqa: T201
    for warning in _warnings(settings):
        with contextlib.suppress(OSError):  # a full disk there is no reason not to receive
            print(f"warning: {warning}", file=sys.stderr, flush=True)  # noqa: T201


def _token_command(secrets_file: Path) -> str:
    path = shlex.quote(str(secrets_file.resolve()))
    return f"sed -n 's/^HOOKLAKE_TOKENS=\\([^,]*\\).*/\\1/p' {path}"


def _is_token_elsewhere(settings: Settings, secrets_file: Path) -> bool:
    """Whether the token in force is not the plain first one of secrets.env."""
    try:
        text = secrets_file.read_text("utf-8")
    except OSError:
        return True
    return f"HOOKLAKE_TOKENS={settings.tokens[0].value}" not in text


def _warnings(settings: Settings) -> list[str]:
    warnings = [
        f"{name} is no setting of hooklake; is it misspelt?" for name in unknown_variables()
    ]
    if "none" in settings.verify:
        warnings.append("HOOKLAKE_VERIFY contains 'none': whoever reaches this port is believed")
    unstamped = [scheme for scheme in settings.verify if scheme in _UNSTAMPED]
    if "hmac" in settings.verify and "{timestamp}" not in settings.hmac_template:
        unstamped.append("hmac")
    if unstamped:
        warnings.append(
            f"{', '.join(unstamped)}: no signed timestamp, so a captured request could be sent "
            "again at any time; keep the URL secret and use TLS"
        )
    if not is_loopback(settings.host):
        warnings.append(
            f"listening on {settings.host}: reachable from other machines, also /metrics; "
            "put a TLS proxy in front"
        )
    return warnings
