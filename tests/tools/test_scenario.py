"""Scenarios: each tells what it says, in a file a person can write, and the warehouse agrees."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from receiver_process import HOOKLAKE, Receiver, environment

from ingest import scenario as stories
from ingest import simulate
from ingest.deliver import signer_of
from ingest.errors import UsageError
from ingest.lifecycles import lives
from ingest.parse import Arrival, Event, parse_body
from ingest.payloads import body_bytes, render
from ingest.population import World
from ingest.truth import AccountTruth

TODAY = datetime.now(UTC).date()
FIRST = date(2026, 1, 1)
NAMES = [each.name for each in stories.shipped()]


def truth_of(name: str) -> AccountTruth:
    truth = stories.told(stories.load(name), 1, 0, FIRST).truth
    assert truth is not None
    return truth


def test_the_life_cycles_of_the_lesson_are_all_there() -> None:
    assert [
        *("cancel", "deletion", "reactivation", "renewals", "several_workspaces"),
        *("three_overdue_notices", "trial", "upgrade", "wallet_short"),
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_an_event_without_a_fault(name: str) -> None:
    told = stories.told(stories.load(name), 1, 0, FIRST)
    for happening in told.happenings:
        stored_at = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1e6)
        event = parse_body(body_bytes(render(happening)), Arrival(stored_at=stored_at))
        assert isinstance(event, Event)
        assert (event.warnings, event.unknown_fields) == ((), ())
        assert event.occurred_at == int(happening.occurred_at.timestamp() * 1e6)


# By hand: plans in their order with the day they began and ended, then the overdue episodes.
@pytest.mark.parametrize(
    ("name", "periods", "episodes", "workspaces"),
    [
        ("trial", [("trial", 0, 14), ("free", 14, None)], [], (1, 1)),
        ("upgrade", [("business", 5, 20), ("business_large", 20, None)], [], (1, 1)),
        ("renewals", [("business", 3, None)], [], (1, 1)),
        (
            "three_overdue_notices",
            [("business", 2, 35), ("free", 35, None)],
            [("non_renewal", 3, "lost")],
            (1, 1),
        ),
        ("wallet_short", [("business_lite", 2, None)], [("wallet_short", 3, "recovered")], (1, 1)),
        (
            "several_workspaces",
            [("business", 4, 20), ("business_large", 6, None), ("free", 20, None)],
            [],
            (3, 3),
        ),
        ("cancel", [("business", 2, 12), ("free", 12, None)], [], (1, 1)),
        (
            "reactivation",
            [("business", 2, 20), ("free", 20, 50), ("business_lite", 50, None)],
            [],
            (1, 1),
        ),
        ("deletion", [("business", 2, 15)], [], (0, 1)),
    ],
)
def test_each_tells_its_story(
    name: str,
    periods: list[tuple[str, int, int | None]],
    episodes: list[tuple[str, int, str]],
    workspaces: tuple[int, int],
) -> None:
    truth = truth_of(name)
    assert [
        (
            period.plan_id,
            (period.valid_from.date() - FIRST).days,
            None if period.valid_to is None else (period.valid_to.date() - FIRST).days,
        )
        for period in truth.periods
    ] == periods
    assert [(each.cause, each.notices, each.status) for each in truth.episodes] == episodes
    assert (truth.workspaces_live, truth.workspaces_total) == workspaces


def test_a_downgrade_to_free_has_auto_renew_off_and_no_dates() -> None:
    for name in NAMES:
        for step in stories.load(name).steps:
            if step.fields.get("plan_id") == "free":
                assert step.fields["auto_renew"] is False
                assert not {"start_date", "end_date"} & set(step.fields)


def test_accounts_have_ids_of_their_own_and_always_the_same() -> None:
    story = stories.load("several_workspaces")
    told = [stories.told(story, seed, number, FIRST) for seed in (1, 2) for number in (0, 1)]
    assert told[0] == stories.told(story, 1, 0, FIRST)
    for field in ("owner_email", "workspace_id", "owner_id"):
        found = [{each.fields.get(field) for each in one.happenings} - {None} for one in told]
        assert len(set.union(*found)) == sum(map(len, found))
    ids = {each.event_id for one in told for each in one.happenings}
    assert len(ids) == 4 * len(story.steps)


STEP = '[[steps]]\nat = "0d"\nevent = "user_registered"\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"no \[\[steps\]\]"),
        ("steps = 5", r"no \[\[steps\]\]"),
        ("steps = [5]", "step 1"),
        ("about = 5\n" + STEP, "`about`"),
        ("more = 5\n" + STEP, "nothing else"),
        ("[[steps", "is no TOML"),
        ('[[steps]]\nat = "0d"\n', "step 1 .*give it an event"),
        ('[[steps]]\nevent = "x"\n', "step 1 .*at = None"),
        ('[[steps]]\nevent = "x"\nat = ""\n', "is no time"),
        ('[[steps]]\nevent = "x"\nat = "soon"\n', "is no time"),
        ('[[steps]]\nevent = "x"\nat = "9999d"\n', "3,650 days"),
        (STEP.replace("0d", "2d") + STEP, "step 2 .*before the step above"),
        (STEP + "due_date = -1\n", "no day of the story"),
        (STEP + "x = [1]\n", "x is text, a number"),
        (STEP + "x = 2026-01-01T00:00:00Z\n", "x is text, a number"),
        (STEP + 'without = ["plan_id"]\n', "without ="),
        (STEP + 'means = "restored"\n', "of a plan_changed"),
        ("#" * (stories.FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        stories.load(str(path))


def test_an_unknown_name_lists_the_known_and_a_missing_file_is_said() -> None:
    with pytest.raises(UsageError, match=r"cancel, deletion.*\./mine\.toml"):
        stories.load("nothing")
    with pytest.raises(UsageError, match="No such file"):
        stories.load("./nothing.toml")
    with pytest.raises(UsageError, match="cannot read"):
        stories.load("/")


def test_what_only_the_models_could_tell_is_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    plan = '[[steps]]\nat = "1d"\nevent = "plan_changed"\nplan_id = "business"\n'
    for content in (
        plan,
        STEP + plan + plan + 'workspace_id = "$w"\n',
        STEP + '[[steps]]\nat = "1d"\nevent = "overdue_payment"\n',
        STEP + STEP,
    ):
        path.write_text(content)
        told = stories.told(stories.load(str(path)), 1, 0, FIRST)
        assert told.truth is None
        assert told.happenings


def test_virtual_time_passes_at_the_speed_asked_for(receiver: Receiver) -> None:
    play = simulate._story_play("cancel", 1, 1, 1, TODAY)
    span = play.until - play.since
    tally = simulate.send_play(
        play,
        receiver.settings.webhook_url,
        signer_of(receiver.settings),
        speed=span.total_seconds(),
    )
    assert tally.verdicts == {"accepted": 4}
    assert 0.6 < tally.seconds < 10  # 12 days and 9 hours of 13, in a second


@pytest.mark.parametrize(
    "options",
    [{"speed": 0.0}, {"speed": float("nan")}, {"accounts": 10_001}, {"days": 4_000}],
)
def test_what_cannot_be_played_is_a_usage_error(
    receiver: Receiver, options: dict[str, Any]
) -> None:
    given = {"accounts": None, **options}
    with pytest.raises(UsageError, match="cannot simulate"):
        simulate.run(receiver.settings, seed=1, scenario="trial", **given)


@pytest.mark.slow
def test_what_the_warehouse_tells_of_each_scenario_is_the_truth(
    receiver: Receiver, tmp_path: Path
) -> None:
    """Every scenario and a small world, disturbed in every way, through receiver and refresh."""
    common = ("--data-dir", receiver.data_dir, "--until", str(TODAY), "--chaos", "all=0.3")
    own = (*common, "--accounts", "4", "--days", "3", "--mixed-dialects")
    world = World(5, 12, datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC), 200)
    sent = [
        *(("simulate", name, *own) for name in NAMES),
        ("simulate", "--accounts", "12", "--days", "200", "--seed", "5", *common),
    ]
    for command in sent:
        done = hooklake(receiver, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    receiver.stop()
    done = hooklake(receiver, "refresh", "--data-dir", receiver.data_dir)
    assert done.returncode == 0, done.stderr
    truths = [each.truth for each in lives(world)]
    for name in NAMES:
        story = stories.load(name)
        for number in range(4):
            first_day = TODAY - timedelta(days=story.days + number % 3)
            truth = stories.told(story, 1, number, first_day).truth
            assert truth is not None
            truths.append(truth)
    with duckdb.connect(str((receiver.data_dir / "warehouse.duckdb").resolve())) as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        expected(warehouse, "fct_registration_funnel", [asdict(each.funnel) for each in truths])
        periods = [asdict(period) for each in truths for period in each.periods]
        expected(warehouse, "int_plan_periods", periods)
        episodes = [asdict(episode) for each in truths for episode in each.episodes]
        expected(warehouse, "fct_overdue_episodes", episodes)
        expected(
            warehouse,
            "dim_accounts",
            [
                {
                    "account_id": each.funnel.account_id,
                    "workspaces_total": each.workspaces_total,
                    "workspaces_live": each.workspaces_live,
                }
                for each in truths
            ],
        )


def hooklake(receiver: Receiver, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HOOKLAKE, *command],
        env=environment(HOOKLAKE_PORT=str(receiver.port)),
        capture_output=True,
        text=True,
        check=False,
    )


def expected(
    warehouse: duckdb.DuckDBPyConnection, table: str, truth: Iterable[dict[str, Any]]
) -> None:
    wanted = [tuple(map(str, row.values())) for row in truth]
    columns = ", ".join(next(iter(truth)))
    found = [
        tuple(str(_utc(value)) for value in row)
        for row in warehouse.execute(f"select {columns} from {table}").fetchall()
    ]
    assert Counter(found) == Counter(wanted), table


def _utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
