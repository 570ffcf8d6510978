"""Where a text speaks of somebody: the address as a whole, in every spelling a payload may give it.

`ann@x.test` is found in `Ann@X.test.`, in JSON with escapes (`ann\\u0040x.test`), in a link
(`ann%40x.test`), in an id (`order-ann@x.test`) and in UTF-16, composed or decomposed; never inside
`joann@x.test`, nor inside `mary.ann@x.test` where that is known as somebody else. An account that
is no address (`ann`) is found only as a whole JSON text. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

REPLACEMENT: Final = "[erased]"
_BEFORE: Final = (
    r"(?:(?<![^\W_])|(?<=\\u[0-9a-f]{4})|(?<=%[0-9a-f]{2})|(?<=\\[nrtbf]))"  # or an escape's end
)
_AFTER: Final = r"(?![^\W_])"
_RUN: Final = re.compile(r"[a-z0-9]+")


class Mentions:
    """Finds and replaces accounts in texts. `accounts`, and `others` to be left alone: as
    account_id."""

    def __init__(self, accounts: Iterable[str], others: Iterable[str] = ()) -> None:
        forms = {form for account in accounts for form in _forms(account)}
        self._cores = [_core(form) for form in forms]
        addresses = sorted((_spellings(form) for form in forms if "@" in form), reverse=True)
        names = sorted((_spellings(form) for form in forms if "@" not in form), reverse=True)
        kept = sorted({form for other in others for form in _forms(other)}, key=len, reverse=True)
        arms = [f"(?P<kept>{_BEFORE}(?:{'|'.join(map(_spellings, kept))}){_AFTER})"] if kept else []
        if addresses:
            arms.append(f"{_BEFORE}(?:{'|'.join(addresses)}){_AFTER}")
        if names:
            arms.append(rf'(?<=")\s*(?:{"|".join(names)})\s*(?=")')
        self._pattern = re.compile("|".join(arms) or r"(?!)", re.IGNORECASE)
        self._has_kept = bool(kept)
        self.loose_pattern = "|".join([*addresses, *names]) or r"[^\s\S]"
        """What every find matches, for engines without look-around; case is to be ignored."""

    def found(self, text: str) -> bool:
        """Whether any of the accounts is spoken of."""
        if "%" not in text and "\\u" not in text:
            lowered = text.lower()
            if not any(core in lowered for core in self._cores):
                return False
        return any(not self._is_kept(match) for match in self._pattern.finditer(text))

    def _is_kept(self, match: re.Match[str]) -> bool:
        return self._has_kept and match["kept"] is not None

    def found_in_bytes(self, raw: bytes) -> bool:
        """`found` for bytes of any encoding that a sender might have used."""
        return any(self.found(text) for text in _decoded(raw))

    def redacted(self, text: str) -> str:
        """The text with every find replaced; JSON stays JSON."""
        if not self.found(text):
            return text
        return self._pattern.sub(
            lambda match: match[0] if self._is_kept(match) else REPLACEMENT, text
        )

    def redacted_bytes(self, raw: bytes) -> bytes:
        """`redacted` for UTF-8 bytes; bytes that are none stay as they are around it."""
        text = raw.decode("utf-8", "surrogateescape")
        return self.redacted(text).encode("utf-8", "surrogateescape")


def _core(form: str) -> str:
    """What a text in lower case and without escapes must hold, if it holds the form."""
    if form.isascii() and not set(form) & set('"\\/'):
        return form.lower()
    return max(_RUN.findall(form.lower()), key=len, default="")


def _forms(account: str) -> set[str]:
    return {account, unicodedata.normalize("NFC", account), unicodedata.normalize("NFD", account)}


def _spellings(account: str) -> str:
    """A pattern for the account, each letter as itself or escaped."""
    return "".join(_letter(character) for character in account)


def _letter(character: str) -> str:
    ways = [re.escape(character)]
    for variant in sorted({character, character.upper(), character.lower()}):
        if len(variant) == 1:
            ways.append("".join(rf"\\u{unit:04x}" for unit in _units(variant)))
            ways.append("".join(f"%{byte:02x}" for byte in variant.encode()))
    if character in '"\\/':
        ways.append(re.escape(f"\\{character}"))
    return f"(?:{'|'.join(ways)})"


def _units(character: str) -> list[int]:
    """The UTF-16 code units by which JSON escapes a character."""
    encoded = character.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]


def _decoded(raw: bytes) -> Iterable[str]:
    yield raw.decode("utf-8", "replace")
    if b"\0" in raw:
        for offset in (0, 1):
            yield raw[offset:].decode("utf-16-le", "replace")
