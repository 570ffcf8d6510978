"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, installation


@pytest.fixture
def hooklake(tmp_path: Path) -> Iterator[Installation]:
    """An empty installation of the test's own; nothing runs on it yet."""
    with installation(tmp_path) as fresh:
        yield fresh
