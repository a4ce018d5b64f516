"""List, fetch, locate and remove model packages.

examples:
  vedette models list
  vedette models pull ppocr-v6-small
  ls "$(vedette models path ppocr-v6-small)"
"""

from __future__ import annotations

import argparse
from typing import Any

from vedette import hub
from vedette.cli.terminal import print_json, print_table, progress, report_error, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette models``."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    known = [package.name for package in hub.packages()]
    for name, summary in (
        ("list", "show every package and whether it is on this machine"),
        ("pull", "fetch packages and verify them; repairs a damaged copy"),
        ("path", "print the folder of a package that is on this machine"),
        ("remove", "delete packages from this machine"),
    ):
        action = actions.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  vedette models {name}{'' if name == 'list' else ' ' + known[0]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        action.add_argument("--json", action="store_true", help="write JSON to stdout")
        if name == "list":
            action.add_argument("--verify", action="store_true", help="hash every file again")
        else:
            plural = None if name == "path" else "+"
            action.add_argument("names", metavar="NAME", nargs=plural or 1, help=f"one of {', '.join(known)}")
        if name == "pull":
            action.add_argument("--wheel", metavar="FILE", help="take the files from this wheel")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette models``."""
    match chosen.action:
        case "list":
            return _list(chosen)
        case "pull":
            return _pull(chosen)
        case "path":
            return _path(chosen)
        case _:
            return _remove(chosen)


def _list(chosen: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = [
        {
            "name": package.name,
            "status": hub.status(package.name, verify=chosen.verify),
            "bytes": package.size,
            "license": package.license,
            "purpose": package.purpose,
            "source": f"{package.project}=={package.version}",
            "path": str(hub.path(package.name)),
            "files": {file.role: file.name for file in package.files},
        }
        for package in hub.packages()
    ]
    if chosen.json:
        print_json(rows)
        return 0
    made = table("name", "status", "MB", "license", "purpose", right=("MB",))
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f}"
        made.add_row(row["name"], row["status"], size, row["license"], row["purpose"])
    print_table(made)
    return 0


def _pull(chosen: argparse.Namespace) -> int:
    folders = {}
    for name in chosen.names:
        with progress() as report:
            folders[name] = str(hub.pull(name, wheel=chosen.wheel, progress=report))
    if chosen.json:
        print_json(folders)
    else:
        print("\n".join(folders.values()))
    return 0


def _path(chosen: argparse.Namespace) -> int:
    (name,) = chosen.names
    state = hub.status(name)
    if state != "present":
        report_error(f"model package {name} is {state}", f"vedette models pull {name}")
        return 1
    folder = str(hub.path(name))
    if chosen.json:
        print_json({name: folder})
    else:
        print(folder)
    return 0


def _remove(chosen: argparse.Namespace) -> int:
    removed = {name: hub.remove(name) for name in chosen.names}
    if chosen.json:
        print_json(removed)
    else:
        print("\n".join(f"{name}: {'removed' if done else 'not present'}" for name, done in removed.items()))
    return 0
