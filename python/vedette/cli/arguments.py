"""What several commands share in reading their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette import hub, runtime
from vedette.errors import HubError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def package_name(text: str) -> str:
    """The name of a known model package."""
    try:
        return hub.package(text).name
    except HubError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def thread_count(text: str) -> int:
    """A number of threads."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= runtime.MAX_THREADS):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {runtime.MAX_THREADS}, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def image_files(folder: Path, *, recursive: bool) -> list[Path]:
    """The images of a folder by their suffix, in the order of their names."""
    entries = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file())
