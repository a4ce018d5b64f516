"""The report of a quantised model as a drawing: the time of each node before and after."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vedette.model import Report

_ROW, _LEFT, _WIDTH, _TOP = 22, 300, 560, 64
_COLORS = {
    "int8": "#2a7f62",
    "dynamic": "#3c8dbc",
    "int4": "#7a5ea8",
    "bfloat16": "#d98e2b",
    "float32": "#b5483a",
}
_BEFORE = "#d5d8dc"


def draw(report: Report, title: str) -> str:
    """An SVG image: for each node a pale bar, its time in float32, and one in its precision's colour."""
    longest = max(
        (
            time
            for node in report.nodes
            for time in (node.microseconds_before, node.microseconds_after)
            if time
        ),
        default=1.0,
    )
    height = _TOP + _ROW * len(report.nodes) + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 140}" height="{height}"'
        ' font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="42">{report.sqnr:.1f} dB, {report.microseconds_before / 1e3:.2f} ms before, '
        f"{report.microseconds_after / 1e3:.2f} ms after</text>",
    ]
    for at, (precision, color) in enumerate(_COLORS.items()):
        x = _LEFT + 90 * at
        lines.append(f'<rect x="{x}" y="32" width="10" height="10" fill="{color}"/>')
        lines.append(f'<text x="{x + 14}" y="41">{precision}</text>')
    for at, node in enumerate(report.nodes):
        y = _TOP + _ROW * at
        name = node.value if len(node.value) <= 34 else f"...{node.value[-31:]}"
        lines.append(
            f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(f"{node.op} {name}")}</text>'
        )
        for time, top, size, color in (
            (node.microseconds_before, y, 16, _BEFORE),
            (node.microseconds_after, y + 4, 8, _COLORS.get(node.precision, "#555555")),
        ):
            if time is not None:
                width = _WIDTH * time / longest
                lines.append(
                    f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{size}" fill="{color}"/>'
                )
        if node.sqnr is not None:
            lines.append(f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 12}">{node.sqnr:.1f} dB alone</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
