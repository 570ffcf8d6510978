"""Vega-Lite as plain values: a layer is a frame, a mark, and what each channel shows. Pure.

Dictionaries and not altair's classes, which copy themselves at every step and check what they have
copied: that took two thirds of a page's time, under a lock for all readers. The tests check every
chart against altair's schema instead.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

_KINDS: Final = {"Q": "quantitative", "N": "nominal", "O": "ordinal", "T": "temporal"}
_SECONDARY: Final = ("x2", "y2")


@dataclass(frozen=True)
class Chart:
    """A whole specification, and the frames its layers name as their data."""

    spec: dict[str, Any]
    frames: dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Layer:
    """Marks made of the rows of one frame."""

    frame: pl.DataFrame
    look: dict[str, Any] = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)

    def mark(self, kind: str, **look: Any) -> Layer:
        """The same channels with this mark."""
        return replace(self, look={"type": kind, **look})

    def encode(self, **channels: Any) -> Layer:
        """The same mark with these channels too; one given as text goes through `shows`."""
        named = {
            name: shows(channel) if isinstance(channel, str) else channel
            for name, channel in channels.items()
        }
        for name in _SECONDARY:  # they take their type from the first
            if name in named:
                named[name] = {"field": named[name]["field"]}
        return replace(self, encoding=self.encoding | named)


def shows(column: str, **how: Any) -> dict[str, Any]:
    """A channel that shows a column: `day:T` is temporal, Q, N and O the other kinds."""
    name, _, kind = column.rpartition(":")
    return {"field": name, "type": _KINDS[kind], **how}


def chart(*layers: Layer, height: int, leads_by: str | None = None) -> Chart:
    """The layers upon each other, the first beneath.

    leads_by: the column whose value is told when a mark is clicked, of the layers that have it.
    """
    frames: dict[str, pl.DataFrame] = {}
    drawn: list[dict[str, Any]] = []
    leading: dict[str, Any] | None = None
    for layer in layers:
        name = _name(layer.frame)
        frames[name] = layer.frame
        drawn.append({"data": {"name": name}, "mark": layer.look, "encoding": layer.encoding})
        if leads_by in layer.frame.columns and leading is None:
            leading = drawn[-1]
    spec: dict[str, Any] = {"layer": drawn, "height": height}
    if leading is not None:
        leading["name"] = "marks"
        spec["config"] = {"mark": {"cursor": "pointer"}}
        spec["params"] = [
            {
                "name": leads_by,
                "select": {"type": "point", "fields": [leads_by], "on": "click", "toggle": False},
                "views": ["marks"],
            }
        ]
    return Chart(spec, frames)


def _name(frame: pl.DataFrame) -> str:
    """The same for equal frames alone: a browser draws a chart anew when its text has changed."""
    written = frame.write_ipc(None, compression="uncompressed")
    return f"data-{hashlib.blake2b(written.getbuffer(), digest_size=8).hexdigest()}"
