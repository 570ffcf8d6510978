"""One bit flipped in each of many lake files: doctor names every one of them, and no other."""

from __future__ import annotations

import random
from pathlib import Path

from ingest.catalogue import live_files
from ingest.landing import land_now
from warehouse.doctor import examine

from .accounting import diagnose
from .hooklake import besieged
from .load import Book
from .outcome import Outcome, Scale
from .stock import stock

EVENTS_OF_A_FILE = 4
SEED = 20261125


def run(scale: Scale) -> Outcome:
    """cycles: files; lost: flips that doctor did not see; phantom: sound files it blamed."""
    outcome = Outcome("bit_flips", "lost 0: doctor finds every one, and blames no other")
    chance = random.Random(SEED)
    outcome.cycles = scale.of(ci=30, full=300)
    book = Book("flip")
    with besieged(land_rows_max=str(EVENTS_OF_A_FILE), free_bytes_min="0") as hooklake:
        settings = hooklake.settings
        number = EVENTS_OF_A_FILE * outcome.cycles
        stock(settings, book, (f"flip-{number}" for number in range(number)))
        settings.paths.ledger.chmod(0o600)
        outcome.acknowledged = len(book.acknowledged)
        land_now(settings)
        diagnose(settings, outcome, ignore=("refresh", "permissions"))
        paths = [file.path for file in live_files(settings.paths.ledger)]
        assert len(paths) > outcome.cycles, "too few files"
        flipped = set(chance.sample(paths, outcome.cycles))
        for path in flipped:
            flip_a_bit(settings.paths.lake / path, chance)
        blamed = {
            finding.message.split(": ")[0]
            for finding in examine(settings)
            if finding.check == "lake files" and finding.level == "failure"
        }
    outcome.lost, outcome.phantom = len(flipped - blamed), len(blamed - flipped)
    outcome.measured["found"] = str(len(flipped & blamed))
    return outcome


def flip_a_bit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
