"""hOCR output (http://kba.github.io/hocr-spec/1.2/)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from vedette.ocr.geometry import Quads

if TYPE_CHECKING:
    from vedette.ocr.page import Line, Page

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
<head>
<title>{title}</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<meta name="ocr-system" content="vedette" />
<meta name="ocr-capabilities" content="ocr_page ocr_line ocrx_word" />
</head>
<body>
"""


def to_hocr(pages: Sequence[tuple[str, Page]]) -> str:
    """The pages, each with the name of its image, as one XHTML document."""
    title = pages[0][0] if len(pages) == 1 else f"{len(pages)} images"
    parts = [_HEAD.format(title=escape(_printable(title)))]
    for number, (name, page) in enumerate(pages, start=1):
        about = f"image {_quoted(name)}; bbox 0 0 {page.width} {page.height}; ppageno {number - 1}"
        parts.append(f'<div class="ocr_page" id="page_{number}" title={quoteattr(about)}>\n')
        parts += [_line(f"{number}_{i}", line) for i, line in enumerate(page.lines, start=1)]
        parts.append("</div>\n")
    parts.append("</body>\n</html>\n")
    return "".join(parts)


def _line(number: str, line: Line) -> str:
    words = [
        f'<span class="ocrx_word" id="word_{number}_{i}" '
        f'title="{_bbox(word.box)}; x_wconf {100 * line.score:.0f}">{escape(_printable(word.text))}</span>'
        for i, word in enumerate(line.words, start=1)
    ]
    corners = " ".join(f"{value:.0f}" for value in line.box.reshape(-1))
    title = f"{_bbox(line.box)}; poly {corners}; x_confs {100 * line.score:.0f}"
    return f'<span class="ocr_line" id="line_{number}" title="{title}">{" ".join(words)}</span>\n'


def _bbox(box: Quads) -> str:
    low, high = box.min(axis=0), box.max(axis=0)
    return f"bbox {low[0]:.0f} {low[1]:.0f} {high[0]:.0f} {high[1]:.0f}"


def _quoted(title: str) -> str:
    return '"' + _printable(title).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _printable(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(character for character in text if character >= " " or character in "\t\n")
