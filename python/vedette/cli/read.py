"""Read the text of images: files, folders of images, or - for an image on stdin.

The text goes to stdout: a line a row, tabs between lines that stand side by side. With --json each image is
one JSON object on a line of its own. An image that cannot be read is named on stderr, the others are still
read, and the exit status is 1.

examples:
  vedette read receipt.png
  vedette read --json --annotate marked/ scans/ | jq -r .text
  cat page.png | vedette read -
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vedette import hub
from vedette.cli.arguments import image_files, package_name, thread_count
from vedette.cli.terminal import print_json, progress, report_error
from vedette.errors import ImageError, VedetteError

if TYPE_CHECKING:
    from vedette.ocr import Page

# An uncompressed 16-bit RGBA image of the largest size that is accepted at all.
MAX_STDIN_BYTES = 8 * 178_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette read``."""
    add = parser.add_argument
    add("images", metavar="IMAGE", nargs="+", help="an image, a folder, or - for stdin")
    add("--format", choices=("text", "json", "hocr"), default="text", help="of stdout; default: text")
    add("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    add("--scores", action="store_true", help="with text: one line each, its score before it")
    add("--annotate", metavar="OUT", help="write what was found where: a .png file, or a folder of them")
    add("--recursive", action="store_true", help="look into folders inside folders too")
    add(
        "--models",
        metavar="NAME",
        type=package_name,
        default="ppocr-v6-small",
        help="model package; default: ppocr-v6-small",
    )
    add(
        "--precision",
        choices=("auto", "fast", "bfloat16", "float32"),
        default="auto",
        help="auto: integers where that reads as well; fast: wherever they run; default: auto",
    )
    add("--classify-angle", action="store_true", help="turn lines that stand upside down")
    add("--threads", metavar="N", type=thread_count, help="default: the cores this process may use")
    add("--times", action="store_true", help="write the time of each stage to stderr")


@dataclass(frozen=True)
class Source:
    """An image to read: its name for people, and where below an output folder its annotated copy goes."""

    name: str
    target: Path

    @cached_property
    def content(self) -> str | bytes:
        """What the reader takes: a path, or all of stdin."""
        if self.name != "-":
            return self.name
        data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
        if len(data) > MAX_STDIN_BYTES:
            raise ImageError(f"stdin: more than {MAX_STDIN_BYTES} bytes")
        return data


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette read``."""
    if hub.status(chosen.models) != "present":
        with progress() as report:
            hub.pull(chosen.models, progress=report)
    from vedette.ocr import Reader

    reader = Reader(
        chosen.models,
        precision=chosen.precision,
        classify_angle=chosen.classify_angle,
        threads=chosen.threads,
    )
    failures = 0
    pages: list[tuple[str, Page]] = []
    annotations = _Annotations(chosen.annotate, many=_is_many(chosen.images)) if chosen.annotate else None
    headed = _is_many(chosen.images)
    for source in _sources(chosen.images, chosen.recursive):
        if isinstance(source, VedetteError):
            report_error(source)
            failures += 1
            continue
        try:
            page = reader.read(source.content)
        except VedetteError as error:
            name = "stdin" if source.name == "-" else source.name
            report_error(error if str(error).startswith(name) else f"{name}: {error}")
            failures += 1
            continue
        match chosen.format:
            case "json":
                print_json({"source": source.name, **page.to_dict()}, indent=None)
            case "hocr":
                pages.append((source.name, page))
            case _:
                _print_text(source, page, scores=chosen.scores, headed=headed)
        sys.stdout.flush()
        if chosen.times:
            _report_times(source, page)
        if annotations is not None:
            annotations.write(source, page)
    if chosen.format == "hocr":
        from vedette.ocr.hocr import to_hocr

        print(to_hocr(pages), end="")
    return 1 if failures else 0


def _is_many(names: list[str]) -> bool:
    return len(names) > 1 or Path(names[0]).is_dir()


def _sources(names: list[str], recursive: bool) -> Iterator[Source | VedetteError]:
    """The images that the arguments name; for a folder without any, the error to report."""
    for name in names:
        path = Path(name)
        if name == "-" or not path.is_dir():
            yield Source(name, Path("stdin" if name == "-" else path.name))
            continue
        try:
            found = image_files(path, recursive=recursive)
        except OSError as error:
            yield ImageError(f"{path}: {error.strerror}")
            continue
        if not found:
            hint = "" if recursive else "; --recursive looks into its folders too"
            yield ImageError(f"{path}: no images in this folder{hint}")
        for file in found:
            yield Source(str(file), file.relative_to(path))


def _print_text(source: Source, page: Page, *, scores: bool, headed: bool) -> None:
    if headed:
        print(f"==> {source.name} <==")
    if scores:
        for line in page.lines:
            print(f"{line.score:.3f}  {line.text}")
    elif page.lines:
        print(page.text)
    if headed:
        print()


def _report_times(source: Source, page: Page) -> None:
    """One line on stderr; without --times nothing is written there."""
    stages = ", ".join(f"{stage} {1e3 * seconds:.1f}" for stage, seconds in page.timings.items())
    size = f"{page.width}x{page.height}"
    print(f"vedette: {source.name}: {size}, {len(page.lines)} lines; ms: {stages}", file=sys.stderr)


class _Annotations:
    """Annotated copies: one named file, or a folder that gets one for each image."""

    def __init__(self, out: str, *, many: bool) -> None:
        self._out = Path(out)
        self._one = not many and self._out.suffix.lower() == ".png" and not self._out.is_dir()
        self._taken: set[Path] = set()

    def write(self, source: Source, page: Page) -> None:
        """Write the copy of this image; images whose names differ in their suffix alone keep it."""
        from vedette import image

        target = self._out if self._one else (self._out / source.target).with_suffix(".png")
        if target in self._taken:
            target = self._out / f"{source.target}.png"
        self._taken.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, page.draw(source.content))
