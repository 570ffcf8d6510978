"""Which installation the pages show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingest.paths import DataDir
from ingest.settings import Settings, load_settings


@dataclass(frozen=True)
class Installation:
    """What a page may know of the settings: places and an address, no secret."""

    data_dir: DataDir
    webhook_url: str
    accepts_url_token: bool
    is_login_required: bool = False


_chosen: list[Installation] = []


def use(settings: Settings, *, is_login_required: bool = False) -> Installation:
    """Show the installation of these settings for the rest of this process."""
    _chosen[:] = [_installation(settings, is_login_required=is_login_required)]
    return _chosen[0]


def installation() -> Installation:
    """The one chosen by `use`; else, under a bare `streamlit run`, that of the environment.

    Raises: SettingsError when the environment is wrong.
    """
    return _chosen[0] if _chosen else _installation(load_settings(), is_login_required=False)


def _installation(settings: Settings, *, is_login_required: bool) -> Installation:
    return Installation(
        DataDir(Path(settings.data_dir).absolute()),
        settings.webhook_url,
        "token" in settings.verify,
        is_login_required,
    )
