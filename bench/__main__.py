"""Run groups of measurements: ``python -m bench [GROUP ...] [--threads 1 2] [--pairs 20]
[--only TEXT] [--json FILE]``.

model   each network: Vedette against ONNX Runtime
quantize  in integers: Vedette against ONNX Runtime and OpenVINO
ocr     whole screens: Vedette against RapidOCR
image   each operation against OpenCV and NumPy, level by level
watch   a screen watched for a minute: Vedette against RapidOCR on every frame
flow    batchers, maps, pipelines, budgets: against peers, and beside their targets
memory  eight frames in flight, and what a call costs: pools against NumPy
tensor  products, arithmetic and reductions against NumPy, level by level
quantization  rounding to few bits and back against NumPy, level by level
import  what ``import vedette`` costs beyond NumPy
size    the wheel, packed and unpacked

The groups image, memory, tensor, quantization, watch and flow are those of ``vedette bench``. Charts go to
metrics/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from bench import crates, import_time, model, ocr, quantize
from bench.wheel import build
from vedette import bench
from vedette.bench.charts import draw
from vedette.bench.pairs import HEADER

GROUPS = ("model", "quantize", "ocr", *bench.GROUPS, "import", "size")
ROOT = Path(__file__).parent.parent
METRICS = ROOT / "metrics"


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
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="of model, quantize and ocr the cases with this in the name: --only detector",
    )
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
            case "size":
                records.append(wheel_size())
                print(size_line(records[-1]))
            case _:
                if group in bench.GROUPS:
                    header, rows = bench.run(group, chosen.threads, chosen.pairs)
                    if group == "image":
                        rows = itertools.chain(rows, crates.resizing())
                    elif group == "memory":
                        rows = itertools.chain(rows, crates.blocks())
                else:
                    source = {"model": model, "quantize": quantize, "ocr": ocr}[group]
                    header, rows = HEADER, source.run(chosen.threads, chosen.pairs, chosen.only)
                print(header)
                for row in rows:
                    records.append(row.to_dict())
                    print(row.line(), flush=True)
    if chosen.json:
        found = bench.machine(("onnx", "onnxruntime", "rapidocr", "opencv-python-headless", "pillow"))
        chosen.json.write_text(json.dumps({"machine": found, "records": records}, indent=2) + "\n")
    for path in draw(records, METRICS):
        print(f"wrote {path.relative_to(ROOT)}")


def import_line(record: dict[str, Any]) -> str:
    """The import time as a sentence."""
    return (
        f"{record['case']}: {record['extra_wall_ms']:.1f} ms wall, {record['extra_cpu_ms']:.1f} ms CPU "
        f"beyond NumPy's {record['numpy_wall_ms']:.1f} ms"
    )


def wheel_size() -> dict[str, Any]:
    """Bytes of the release wheel, packed and unpacked."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        return {"group": "size", "wheel_bytes": wheel.stat().st_size, "unpacked_bytes": unpacked}


def size_line(record: dict[str, Any]) -> str:
    """The wheel's size as a sentence."""
    return f"wheel: {record['wheel_bytes'] / 1e6:.1f} MB, {record['unpacked_bytes'] / 1e6:.1f} MB unpacked"


if __name__ == "__main__":
    main()
