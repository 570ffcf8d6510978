"""A mistyped --data-dir, as in a line of cron, is never taken for one where all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ingest import quarantine
from ingest.errors import LedgerError, UsageError
from ingest.settings import Settings
from warehouse import backfill, compact, refresh, undo


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
    assert place.exists() is is_file


@pytest.mark.parametrize("is_dry", [False, True])
def test_a_backfill_may_be_the_first_use_and_says_where_it_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, is_dry: bool
) -> None:
    export = tmp_path / "export.ndjson"
    export.write_text('{"event": "overdue", "email": "ada@example.com"}\n')
    settings = Settings(data_dir=tmp_path / "data", free_bytes_min=0)
    told = "there is no data directory {} yet\n" if is_dry else "new data directory {}\n"
    assert backfill.run(settings, [export], dry_run=is_dry) == 0
    assert capsys.readouterr().err == told.format(settings.data_dir)
    assert settings.data_dir.exists() is not is_dry
    if not is_dry:
        assert backfill.run(settings, [export]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_refresh_says_where_it_makes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path / "data", free_bytes_min=0)
    for told in (f"new data directory {settings.data_dir}\n", ""):
        assert refresh.run(settings) == 0
        assert capsys.readouterr().err == told


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
