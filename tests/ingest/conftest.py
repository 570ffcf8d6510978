"""Fixtures of the receiver's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from receiving import Receiver, serving

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One running receiver for all tests that only talk to it; never stop or break it."""
    with serving(tmp_path_factory.mktemp("receiver")) as running:
        yield running
