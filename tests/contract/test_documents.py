"""What the documents show is what happens: code runs, and prints what stands below it."""

import contextlib
import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def examples(kind: str) -> list[object]:
    """Blocks of this kind: the code, and the text block that follows it."""
    found = []
    for document in DOCUMENTS:
        blocks = BLOCK.findall(document.read_text(encoding="utf-8"))
        for index, (language, code) in enumerate(blocks):
            if language == kind:
                after = blocks[index + 1] if index + 1 < len(blocks) else ("", "")
                expected = after[1] if after[0] == "text" else ""
                found.append(pytest.param(code, expected, id=f"{document.name}-{index}"))
    return found


@pytest.mark.parametrize(("code", "expected"), examples("python"))
def test_code(code: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<document>", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == expected


@pytest.mark.parametrize(("session", "_expected"), examples("console"))
def test_commands(session: str, _expected: str) -> None:
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        program, _, rest = command.partition(" ")
        assert program == "vedette"
        done = subprocess.run(
            f"'{sys.executable}' -m vedette {rest}", shell=True, cwd=ROOT, capture_output=True, check=False
        )
        assert done.stdout.decode() == expected
        assert done.returncode == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for document in DOCUMENTS:
        named = re.findall(
            r"^make ([a-z-]+)|`make ([a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert {first or second for first, second in named} <= set(targets)


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    wanted = {re.split(r"[<>=\[;]", name)[0] for name in [*project["dependencies"], *extras]}
    for manifest in ROOT.glob("crates/*/Cargo.toml"):
        table = tomllib.loads(manifest.read_text(encoding="utf-8"))
        wanted |= {*table.get("dependencies", {}), *table.get("dev-dependencies", {})}
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
    explained = {name.partition(" (")[0] for row in rows for name in row.split(", ")}
    assert {name for name in wanted if not name.startswith("vedette")} <= explained
