"""Run groups of measurements: ``python -m bench [GROUP ...] [--threads 1 2] [--pairs 20] [--json FILE]``.

model   each network: Vedette against ONNX Runtime
quantize  in integers: Vedette against ONNX Runtime and OpenVINO
ocr     whole screens: Vedette against RapidOCR
image   each operation against OpenCV and NumPy, level by level
watch   a screen watched for a minute: Vedette against RapidOCR on every frame; the full form is bench.watch
flow    batchers, maps, pipelines, budgets: against peers, and beside their targets
memory  eight frames in flight, and what a call costs: pools against NumPy
import  what ``import vedette`` costs beyond NumPy
size    the wheel, packed and unpacked
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import flow, image, import_time, memory, model, ocr, quantize, watch
from bench.pairs import Record
from vedette import runtime

GROUPS = ("model", "quantize", "ocr", "watch", "image", "flow", "memory", "import", "size")
ROOT = Path(__file__).parent.parent


def main() -> None:
    """Measure, print as it goes, and write the records where asked."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "groups", metavar="GROUP", nargs="*", help=f"any of {', '.join(GROUPS)}; default: all"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every record")
    chosen = parser.parse_args()
    if unknown := set(chosen.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    records: list[dict[str, Any]] = []
    for group in chosen.groups or GROUPS:
        match group:
            case "import":
                for measured in import_time.run():
                    records.append(measured)
                    print(import_line(measured))
            case "image":
                print(image.HEADER)
                for case in image.run(chosen.threads, chosen.pairs):
                    records.append(case.to_dict())
                    print(case.line(), flush=True)
            case "watch":
                measured, text = watch.run()
                records.append(measured)
                print(text, flush=True)
            case "flow":
                print(HEADER)
                for record in flow.pairs(chosen.pairs):
                    records.append(record.to_dict())
                    print(pair_line(record), flush=True)
                for target in flow.targets():
                    records.append(target.to_dict())
                    print(target.line(), flush=True)
            case "size":
                records.append(wheel_size())
                print(size_line(records[-1]))
            case _:
                print(HEADER)
                source = {"model": model, "quantize": quantize, "ocr": ocr, "memory": memory}[group]
                for record in source.run(chosen.threads, chosen.pairs):
                    records.append(record.to_dict())
                    print(pair_line(record), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine(), "records": records}, indent=2) + "\n")


HEADER = (
    f"{'case':30}{'threads':>8}{'wall ms':>20}{'ratio':>7}{'CPU ms':>20}{'ratio':>7}{'peak MB':>13}"
    "  agreement\n"
    f"{'':38}{'Vedette / peer':>20}{'':7}{'Vedette / peer':>20}"
)


def pair_line(record: Record) -> str:
    """One row: medians of both sides, their ratios, peak memory, and how far the results agree."""
    ours, theirs = record.vedette_times, record.peer_times
    wall = f"{ours.wall_median * 1e3:.1f} / {theirs.wall_median * 1e3:.1f}"
    cpu = f"{ours.cpu_median * 1e3:.1f} / {theirs.cpu_median * 1e3:.1f}"
    peak = f"{ours.peak_mb:.0f} / {theirs.peak_mb:.0f}"
    return (
        f"{record.case:30}{record.threads:8}{wall:>20}{record.wall_ratio:7.2f}{cpu:>20}"
        f"{record.cpu_ratio:7.2f}{peak:>13}  {record.agreement}"
    )


def import_line(record: dict[str, Any]) -> str:
    """The import time as a sentence."""
    return (
        f"{record['case']}: {record['extra_wall_ms']:.1f} ms wall, {record['extra_cpu_ms']:.1f} ms CPU "
        f"beyond NumPy's {record['numpy_wall_ms']:.1f} ms"
    )


def wheel_size() -> dict[str, Any]:
    """Bytes of the release wheel, packed and unpacked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "maturin",
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--out",
            folder,
        ]
        subprocess.run(command, check=True, cwd=ROOT)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        return {"group": "size", "wheel_bytes": wheel.stat().st_size, "unpacked_bytes": unpacked}


def size_line(record: dict[str, Any]) -> str:
    """The wheel's size as a sentence."""
    return f"wheel: {record['wheel_bytes'] / 1e6:.1f} MB, {record['unpacked_bytes'] / 1e6:.1f} MB unpacked"


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with."""
    packages = ("vedette", "numpy", "onnx", "onnxruntime", "rapidocr")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cores": runtime.effective_cores(),
        "isa": runtime.isa(),
        "features": runtime.cpu_features(),
        "versions": {name: metadata.version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
