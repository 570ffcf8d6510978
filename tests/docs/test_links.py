"""Every relative link of the documentation leads somewhere, every file it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import readme

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchor(heading: str) -> str:
    """As GitHub makes it: lower case, punctuation out, blanks to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_resolves(document: Path) -> None:
    markdown = document.read_text("utf-8")
    for link in LINK.findall(markdown):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if fragment:
            assert fragment in map(anchor, readme.headings(target.read_text("utf-8"))), link


def test_the_readme_begins_with_two_sentences_a_picture_and_the_commands() -> None:
    lines = [line for line in readme.text().splitlines() if line.strip()]
    assert lines[0] == "# hooklake"
    assert lines[1].endswith(".")
    assert lines[2].endswith(".")
    assert lines[3].startswith("![")
    assert {"make run", "make test"} <= set(readme.shell_lines(readme.section("Start")))


def test_every_file_of_the_repository_named_in_the_readme_exists() -> None:
    spans = readme.CODE_SPAN.findall(readme.without_code_blocks(readme.text()))
    folders = ("ingest/", "warehouse/", "dashboards/", "sql/", "tests/", ".ci/")
    for span in spans:
        if span.startswith(folders):
            assert (ROOT / span).exists(), span


def test_the_changelog_has_the_version_that_is_built() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
