"""Chaos: every disturbance is what it says, at its rate, and answered as it must be."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from receiver_process import HOOKLAKE, Receiver, environment

from ingest.chaos import VERDICTS, Chaos, rates_of
from ingest.deliver import Credential, Delivery
from ingest.errors import UsageError
from ingest.sign import Envelope, HmacTemplate

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD = Credential("standard", KEY, HmacTemplate())
FORGED = Credential("standard", KEY.replace("M", "N"), HmacTemplate())


def stream(count: int) -> list[Delivery]:
    body = {"event": "plan_changed", "id": "e", "data": {"plan": "free", "email": "a@b.example"}}
    return [
        Delivery(json.dumps(body | {"id": f"e{number}"}).encode(), f"e{number}")
        for number in range(count)
    ]


def disturbed(rates: dict[str, float], count: int = 400) -> tuple[Chaos, list[Delivery]]:
    chaos = Chaos(rates, STANDARD, FORGED, seed=1)
    return chaos, list(chaos.disturbed(stream(count)))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["duplicate"], {"duplicate": 0.1}),
        (["duplicate=0.5,delay=1"], {"duplicate": 0.5, "delay": 1.0}),
        (["duplicate", "reorder = 0"], {"duplicate": 0.1, "reorder": 0.0}),
        (["all=0.2"], dict.fromkeys(VERDICTS, 0.2)),
        (["all", "delay=0"], dict.fromkeys(VERDICTS, 0.1) | {"delay": 0.0}),
    ],
)
def test_rates_are_given_by_name(words: list[str], expected: dict[str, float]) -> None:
    assert rates_of(words, STANDARD) == expected


@pytest.mark.parametrize("words", ["", "nothing", "duplicate=2", "delay=-1", "delay=x", "all=nan"])
def test_what_is_no_chaos_is_a_usage_error(words: str) -> None:
    with pytest.raises(UsageError):
        rates_of([words], STANDARD)


def test_what_a_scheme_cannot_show_is_refused_or_left_out_of_all() -> None:
    token = Credential("token", "t", HmacTemplate())
    with pytest.raises(UsageError, match="signs no time"):
        rates_of(["stale_timestamp"], token)
    assert set(rates_of(["all"], token)) == set(VERDICTS) - {"stale_timestamp"}
    with pytest.raises(UsageError, match="every sender is believed"):
        rates_of(["bad_signature"], Credential("none", "", HmacTemplate()))
    bare = Credential("hmac", "k", HmacTemplate(template="{body}"))
    assert "stale_timestamp" not in rates_of(["all"], bare)


def test_the_same_seed_disturbs_in_the_same_way_and_nothing_is_left_out() -> None:
    chaos, sent = disturbed(dict.fromkeys(VERDICTS, 0.2))
    again = disturbed(dict.fromkeys(VERDICTS, 0.2))[1]
    assert [(each.body, each.mark) for each in sent] == [(each.body, each.mark) for each in again]
    originals = [each for each in sent if not each.mark]
    assert sorted(each.delivery_id for each in originals) == sorted(
        each.delivery_id for each in stream(400)
    )
    assert sum(chaos.expected.values()) == len(sent)
    assert all(40 < chaos.done[kind] < 120 for kind in VERDICTS)


def test_later_is_a_few_places_or_many() -> None:
    for kind, least, most in (("reorder", 1, 5), ("delay", 50, 500)):
        _, sent = disturbed({kind: 0.05}, 2_000)
        order = [int(each.delivery_id[1:]) for each in sent]
        late = [place - number for place, number in enumerate(order) if place > number]
        assert late
        assert max(late) <= most
        assert order != sorted(order)
        assert max(late) >= least
    assert disturbed({})[1] == stream(400)


def test_each_copy_is_broken_in_the_one_way_it_names() -> None:
    sent = {each.mark: each for each in disturbed(dict.fromkeys(VERDICTS, 1.0), 1)[1]}
    original = json.loads(sent[""].body)
    assert sent["duplicate"].body == sent[""].body
    assert sent["duplicate"].delivery_id == sent[""].delivery_id
    with pytest.raises(json.JSONDecodeError):
        json.loads(sent["truncated_json"].body)
    wrong = json.loads(sent["wrong_types"].body)["data"]
    assert wrong == {name: [value] for name, value in original["data"].items()}
    assert json.loads(sent["unknown_type"].body)["event"] not in ("plan_changed", "other")
    envelope = Envelope(b"{}", "m", 1_000_000)
    forged, stale = sent["bad_signature"].signer, sent["stale_timestamp"].signer
    assert forged
    assert stale
    assert forged(envelope) != STANDARD.sign(envelope)
    assert stale(envelope) == STANDARD.sign(Envelope(b"{}", "m", 900_000))


def simulated(receiver: Receiver, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [HOOKLAKE, "simulate", *options, "--json", "--data-dir", receiver.data_dir],
        env=environment(HOOKLAKE_PORT=str(receiver.port)),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_the_receiver_gives_every_verdict_as_often_as_it_must(receiver: Receiver) -> None:
    options = ("--accounts", "40", "--days", "90", "--chaos", "all=0.3")
    code, summary = simulated(receiver, *options)
    assert (code, summary["as_expected"]) == (0, True), summary
    verdicts = Counter({name: summary[name] for name in summary["expected"]})
    assert verdicts == summary["expected"]
    assert all(verdicts.values())
    assert set(summary["chaos"]) == set(VERDICTS)


def test_verdicts_that_differ_exit_one(receiver: Receiver, tmp_path: Path) -> None:
    options = ("trial", "--chaos", "duplicate=1")
    assert simulated(receiver, *options)[0] == 0
    code, summary = simulated(receiver, *options)
    assert (code, summary["as_expected"]) == (1, False)
    assert (summary["accepted"], summary["duplicate"]) == (0, 8)
