"""A mistyped --data-dir, as in a line of cron, is never taken for one where all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ingest import quarantine
from ingest.errors import LedgerError, UsageError
from ingest.settings import Settings
from warehouse import compact, refresh, undo


@pytest.mark.parametrize(
    "run",
    [
        compact.run,
        lambda settings: undo.run_list(settings, as_json=False),
        lambda settings: quarantine.run_list(settings, status="open", limit=10, as_json=False),
    ],
)
@pytest.mark.parametrize("is_file", [False, True])
def test_a_place_that_is_no_data_directory_is_refused(
    tmp_path: Path, run: Callable[[Settings], int], is_file: bool
) -> None:
    place = tmp_path / "hooklkae"
    if is_file:
        place.touch()
    with pytest.raises(UsageError, match=r"there is no data directory .*hooklkae.*--data-dir"):
        run(Settings(data_dir=place))


@pytest.mark.parametrize(
    "run",
    [
        refresh.run,
        lambda settings: refresh.run(settings, watch=True),
        compact.run,
        lambda settings: undo.run_list(settings, as_json=False),
        lambda settings: quarantine.run_list(settings, status="open", limit=10, as_json=False),
    ],
)
def test_half_a_restore_is_refused_and_left_as_it_is(
    tmp_path: Path, run: Callable[[Settings], int]
) -> None:
    """What a refresh wrote there would keep the restore from being done again."""
    place = tmp_path / "data"
    (place / ".restore").mkdir(parents=True)
    with pytest.raises(LedgerError, match="a restore was cut off: run `hooklake restore` again"):
        run(Settings(data_dir=place))
    assert [path.name for path in place.iterdir()] == [".restore"]
