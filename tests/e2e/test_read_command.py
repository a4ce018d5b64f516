"""``vedette read`` as a user types it."""

import json
import os
import signal
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from collections import Counter
from pathlib import Path

import pytest
from conftest import Command
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = Path(__file__).parents[2] / "examples"


def draw(path: Path, *lines: str) -> Path:
    """A small image that says these lines."""
    image = Image.new("RGB", (480, 240), "white")
    for row, line in enumerate(lines):
        ImageDraw.Draw(image).text((40, 60 + 48 * row), line, fill="black", font=ImageFont.load_default(26))
    image.save(path)
    return path


def enormous(path: Path) -> Path:
    """A PNG of a few bytes whose header promises 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("name", ["code.png", "note.jpg", "receipt.png", "table.png"])
def test_the_examples_are_read(vedette: Command, name: str) -> None:
    done = vedette("read", EXAMPLES / name)
    assert done.returncode == 0
    assert done.stderr == b""
    expected = Counter((EXAMPLES / name).with_suffix(".txt").read_text(encoding="utf-8").split())
    found = Counter(done.stdout.decode().split())
    # The models join or split a word now and then, wherever they run.
    assert (expected & found).total() >= 0.98 * expected.total() - 1


def test_rows_of_a_table_stay_together(vedette: Command) -> None:
    lines = vedette("read", EXAMPLES / "table.png").stdout.decode().splitlines()
    assert lines[2].split("\t") == ["Riverside", "1912", "4", "9,875", "1.2"]


def test_text(vedette: Command, tmp_path: Path) -> None:
    done = vedette("read", draw(tmp_path / "a.png", "Hello there", "Second line"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello there\nSecond line\n", b"")


def test_scores_and_times(vedette: Command, tmp_path: Path) -> None:
    done = vedette("read", draw(tmp_path / "a.png", "Hello there"), "--scores", "--times", "--threads", "1")
    score, _, text = done.stdout.decode().strip().partition("  ")
    assert text == "Hello there"
    assert 0.5 < float(score) <= 1
    assert b"a.png: 480x240, 1 lines; ms: decode" in done.stderr


def test_json(vedette: Command, tmp_path: Path) -> None:
    images = [draw(tmp_path / name, text) for name, text in (("a.png", "First"), ("b.png", "Second"))]
    done = vedette("read", "--json", *images)
    pages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [page["source"] for page in pages] == [str(image) for image in images]
    assert [page["lines"][0]["text"] for page in pages] == ["First", "Second"]
    assert pages[0]["width"] == 480
    assert done.returncode == 0


def test_hocr(vedette: Command, tmp_path: Path) -> None:
    draw(tmp_path / "a & b.png", "First")
    draw(tmp_path / "c.png", "Second")
    done = vedette("read", "--format", "hocr", tmp_path)
    pages = ElementTree.fromstring(done.stdout).findall(".//{*}div[@class='ocr_page']")
    words = [[word.text for word in page.findall(".//{*}span[@class='ocrx_word']")] for page in pages]
    assert words == [["First"], ["Second"]]
    assert "a & b.png" in pages[0].attrib["title"]


def test_annotate_one(vedette: Command, tmp_path: Path) -> None:
    done = vedette("read", draw(tmp_path / "a.png", "Hello"), "--annotate", tmp_path / "out" / "marked.png")
    assert done.returncode == 0
    with Image.open(tmp_path / "out" / "marked.png") as marked:
        assert marked.size == (960, 240)


def test_annotate_many(vedette: Command, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    draw(tmp_path / "in" / "a.png", "One")
    draw(tmp_path / "in" / "a.jpg", "Two")
    draw(tmp_path / "in" / "deep" / "a.png", "Three")
    done = vedette("read", tmp_path / "in", "--recursive", "--annotate", tmp_path / "out")
    assert done.returncode == 0
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert written == ["a.png", "a.png.png", "deep/a.png"]


def test_annotations_that_cannot_be_written(vedette: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = vedette("read", draw(tmp_path / "a.png", "Hello"), "--annotate", tmp_path / "file" / "out.png")
    assert done.returncode == 1
    assert done.stderr.startswith(b"vedette: error: ")
    assert done.stderr.count(b"\n") == 1


def test_stdin(vedette: Command, tmp_path: Path) -> None:
    data = draw(tmp_path / "a.png", "From a pipe").read_bytes()
    done = vedette("read", "-", stdin=data)
    assert (done.returncode, done.stdout) == (0, b"From a pipe\n")
    nothing = vedette("read", "-", stdin=b"")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith(b"vedette: error: stdin: ")


def test_upside_down(vedette: Command, tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", "Turn me around")
    with Image.open(path) as image:
        image.rotate(180).save(path)
    done = vedette("read", "--classify-angle", path)
    assert done.stdout == b"Turn me around\n"


def test_other_models(vedette: Command, tmp_path: Path) -> None:
    done = vedette("read", "--models", "ppocr-v4-mobile", draw(tmp_path / "a.png", "Older models"))
    assert done.returncode == 0
    # This recogniser often leaves the space between Latin words out.
    assert b"".join(done.stdout.split()) == b"Oldermodels"


def test_a_blank_image_has_no_text(vedette: Command, tmp_path: Path) -> None:
    Image.new("L", (64, 64), 255).save(tmp_path / "blank.png")
    done = vedette("read", tmp_path / "blank.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def write_bad(kind: str, path: Path) -> Path:
    """A file that cannot be read as an image."""
    match kind:
        case "missing":
            pass
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            draw(path, "Cut off")
            path.write_bytes(path.read_bytes()[:200])
        case "not an image":
            path.write_text("just text")
        case "enormous":
            enormous(path)
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "not an image", "enormous"])
def test_a_bad_image_is_one_line_and_status_1(vedette: Command, tmp_path: Path, kind: str) -> None:
    bad = write_bad(kind, tmp_path / "bad.png")
    done = vedette("read", bad)
    assert done.returncode == 1
    assert done.stdout == b""
    message = done.stderr.decode()
    assert message.startswith(f"vedette: error: {bad}: ")
    assert message.count("\n") == 1


def test_one_bad_image_among_good_ones(vedette: Command, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "First")
    write_bad("truncated", tmp_path / "b.png")
    draw(tmp_path / "c.png", "Third")
    (tmp_path / "notes.txt").write_text("not looked at")
    done = vedette("read", "--json", tmp_path)
    assert done.returncode == 1
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["First", "Third"]
    assert done.stderr.decode().startswith(f"vedette: error: {tmp_path / 'b.png'}: ")
    assert done.stderr.count(b"\n") == 1


def test_a_folder_without_images(vedette: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = vedette("read", tmp_path / "empty")
    assert done.returncode == 1
    assert b"no images in this folder" in done.stderr


def test_a_name_that_is_not_text(vedette: Command, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    draw(tmp_path / "plain.png", "Hello").rename(tmp_path / name)
    done = vedette("read", tmp_path)
    assert done.returncode == 0
    assert b"Hello" in done.stdout


@pytest.mark.parametrize("option", [["--threads", "0"], ["--threads", "x"], ["--models", "none"]])
def test_options_that_make_no_sense(vedette: Command, option: list[str]) -> None:
    assert vedette("read", "a.png", *option).returncode == 2


def test_an_unknown_level_is_refused(vedette: Command) -> None:
    done = vedette("read", "a.png", VEDETTE_ISA="sse9")
    assert done.returncode == 2
    assert done.stderr == b"vedette: error: VEDETTE_ISA is 'sse9'; it can be scalar, avx2, avx512 or amx\n"


def test_interrupt_is_quiet() -> None:
    # The process waits for stdin, so the interrupt meets it in the middle of its work.
    process = subprocess.Popen(
        [sys.executable, "-m", "vedette", "read", "-", "--times"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == b""


def test_a_closed_pipe_is_quiet() -> None:
    command = [sys.executable, "-m", "vedette", "doctor", "--json"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""
