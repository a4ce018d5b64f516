"""The store keeps what it was given, finds it, forgets it, and survives what happens to files."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vedette.errors import InputError, StoreError
from vedette.store import Sighting, Store, schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "seen.db"


def add(store: Store, *texts: str, source: str = "screen", at: float = 1000.0) -> list[int]:
    with store.transaction():
        return [store.add(Sighting(source, "text", text, at=at, box=(1, 2, 30, 14))) for text in texts]


def texts(store: Store, words: str, **options: object) -> list[str]:
    return [match.text for match in store.search(words, **options)]  # type: ignore[arg-type]


def test_words_are_found_newest_first_whatever_their_case_and_accents(path: Path) -> None:
    with Store(path) as store:
        add(store, "Invoice 4711 to Café Zürich", at=1000)
        add(store, "INVOICE 4712", "paid", at=2000)
        assert texts(store, "invoice") == ["INVOICE 4712", "Invoice 4711 to Café Zürich"]
        assert texts(store, "cafe zurich") == ["Invoice 4711 to Café Zürich"]
        assert texts(store, "invoice 4712") == ["INVOICE 4712"]
        assert texts(store, "inv*", limit=1) == ["INVOICE 4712"]
        assert texts(store, '"4711 to"') == ["Invoice 4711 to Café Zürich"]
        assert texts(store, '"to 4711"') == []


def test_scripts_without_spaces_are_found_inside_a_line(path: Path) -> None:
    with Store(path) as store:
        add(store, "请到三号会议室", "東京都庁前駅")
        assert texts(store, "会议室") == ["请到三号会议室"]
        assert texts(store, "京都") == ["東京都庁前駅"]
        assert texts(store, "都京") == []


def test_nothing_in_a_search_is_syntax(path: Path) -> None:
    with Store(path) as store:
        add(store, "a OR b", 'say "hello"', "text : origin")
        assert texts(store, "OR") == ["a OR b"]
        assert texts(store, 'say "hello') == ['say "hello"']
        assert texts(store, "origin") == ["text : origin"]
        assert texts(store, "NEAR( AND NOT s1 ^x {y}") == []
        with pytest.raises(InputError, match="expected words"):
            store.search(" *** ")


def test_search_by_time_and_source(path: Path) -> None:
    with Store(path) as store:
        (early,) = add(store, "word early", at=1000)
        add(store, "word standing", at=1000)
        add(store, "word late", source="screen:2", at=90_000)
        add(store, "word camera", source="camera:0", at=90_000)
        with store.transaction():
            store.end([early], 2000)
        assert texts(store, "word", since=50_000) == ["word camera", "word late", "word standing"]
        assert texts(store, "word", until=50_000) == ["word standing", "word early"]
        assert texts(store, "word", since=1500, until=1800) == ["word standing", "word early"]
        assert texts(store, "word", source="screen:2") == ["word late"]
        assert texts(store, "word", source="screen") == ["word standing", "word early"]
        assert texts(store, "word", source="cam") == ["word camera"]
        assert texts(store, "word", source="nowhere") == []
        (match,) = store.search("early")
        assert (match.began, match.ended, match.box) == (1000, 2000, (1, 2, 30, 14))
        assert store.search("standing")[0].ended is None


def test_clocks_that_jump_back_lose_nothing(path: Path) -> None:
    with Store(path) as store:
        add(store, "word new", at=500_000)
        (number,) = add(store, "word old", at=100)
        with store.transaction():
            store.end([number], 50)
        assert texts(store, "word", since=400_000) == ["word new"]
        assert texts(store, "word", until=1000) == ["word old"]
        assert store.search("old")[0].ended == 100


def test_timeline_shows_what_was_seen_and_what_went_wrong(path: Path) -> None:
    with Store(path) as store:
        add(store, "short", "a longer line", at=600)
        add(store, "later", at=1900)
        with store.transaction():
            store.add_incident("screen", 1300, "paused", "by hand")
        periods = store.timeline(step_s=600, texts=1)
        assert [(period.began, period.sightings, period.texts, period.incidents) for period in periods] == [
            (600, 2, ("a longer line",), ()),
            (1200, 0, (), ("paused: by hand",)),
            (1800, 1, ("later",), ()),
        ]
        assert [period.began for period in store.timeline(since=1200, step_s=600)] == [1200, 1800]


def test_only_its_owner_may_read_it(path: Path) -> None:
    with Store(path) as store:
        add(store, "private")
        files = [path, path.with_name("seen.db-wal"), path.with_name("seen.db-shm")]
        assert [stat.S_IMODE(os.stat(file).st_mode) for file in files] == [0o600] * 3
    path.chmod(0o644)
    with Store(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_what_is_forgotten_is_nowhere_in_the_file(path: Path) -> None:
    with Store(path) as store:
        add(store, "the secret is swordfish", "the rest stays")
        with store.transaction():
            seen = store.add_thumbnail("screen", 1000, (1, 1), b"swordfish-picture")
            store.add(Sighting("screen", "text", "swordfish again", at=1000), thumbnail=seen)
            kept = store.add_thumbnail("screen", 1, (1, 1), b"other")
        assert store.forget(match="swordfish", dry_run=True) == 2
        assert store.forget(match="swordfish") == 2
        assert texts(store, "rest") == ["the rest stays"]
        assert store.thumbnail(seen) is None
        assert store.thumbnail(kept) == b"other"
        for file in path.parent.iterdir():
            assert b"swordfish" not in file.read_bytes(), file


def test_forgetting_needs_to_know_what(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(InputError, match="nothing was named"):
            store.forget()
        add(store, "one", source="a", at=10)
        add(store, "two", source="b", at=10)
        add(store, "three", source="a", at=20)
        assert store.forget(before=15, source="a") == 1
        assert store.forget(source="b") == 1
        assert store.stats().sightings == 1


def test_retention_by_age_and_by_size(path: Path) -> None:
    with Store(path, max_age_s=100) as store:
        numbers = add(store, "old", "standing", at=1000)
        add(store, "new", at=1950)
        with store.transaction():
            store.end(numbers[:1], 1001)
            store.add_thumbnail("screen", 1000, (1, 1), b"x")
        assert store.prune(2000) == 1
        assert store.stats().sightings == 2
        assert store.stats().thumbnails == 0
    with Store(path, max_bytes=400_000) as store:
        for start in range(0, 4000, 500):
            add(store, *(f"line number {start + i} of many" for i in range(500)), at=3000 + start)
        before = store.stats()
        assert before.bytes > 400_000
        assert store.prune(10_000) > 0
        after = store.stats()
        assert after.bytes <= 410_000
        assert texts(store, "3999") == ["line number 3999 of many"]
        assert texts(store, "standing") == []


def test_one_writes_and_many_read(path: Path) -> None:
    with Store(path) as store:
        store.claim()
        add(store, "first")
        code = (
            "import sys; from vedette.store import Store; from vedette.errors import StoreError\n"
            "print(len(Store(sys.argv[1], readonly=True).search('first')))\n"
            "try: Store(sys.argv[1]).claim()\n"
            "except StoreError as error: print(error.reason, error)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        count, refusal = done.stdout.splitlines()
        assert count == "1"
        assert refusal.startswith("locked")
        assert f"process {os.getpid()} writes this store already" in refusal


def test_a_commit_is_on_the_disk_when_it_returns(path: Path) -> None:
    with Store(path) as store:
        connection = store._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        # FULL: the log is synced at each commit, so that a loss of power loses none.
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_what_a_killed_watch_left_open_ends_when_it_last_lived(path: Path) -> None:
    store = Store(path)
    add(store, "standing", at=1000)
    with store.transaction():
        store.alive(1234)
    store.close()
    with Store(path) as again:
        again.claim()
        assert again.search("standing")[0].ended == 1234


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(path: Path) -> None:
    with Store(path) as store:
        add(store, *(f"line {i}" for i in range(500)))
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + b"\xff" * 20_000 + whole[25_000:])
    with Store(path) as store:
        assert store.damaged is not None
        assert store.damaged.read_bytes()[:5000] == whole[:5000]
        assert store.stats().sightings == 0
        add(store, "goes on")
        assert texts(store, "goes") == ["goes on"]
    path.write_bytes(b"this is no database at all, but long enough to look like one" * 100)
    with Store(path) as store:
        assert store.damaged is not None


def test_a_store_that_another_program_holds(path: Path) -> None:
    with Store(path, timeout_s=0.05) as store:
        add(store, "before")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="another program holds it") as raised:
            add(store, "lost?")
        assert raised.value.reason == "locked"
        other.execute("ROLLBACK")
        other.close()
        add(store, "after")
        assert texts(store, "before") + texts(store, "lost") + texts(store, "after") == ["before", "after"]


def test_a_full_disk_leaves_what_was_written(path: Path) -> None:
    with Store(path) as store:
        add(store, "before")
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="disk is full") as raised:
            add(store, *("x" * 1000 for _ in range(200)))
        assert raised.value.reason == "full"
        assert texts(store, "before") == ["before"]
        store._connection.execute("PRAGMA max_page_count = 1000000")
        add(store, "after")
        assert texts(store, "after") == ["after"]


def test_a_store_that_cannot_be_written(path: Path) -> None:
    with Store(path) as store:
        add(store, "kept")
        store._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError, match="cannot be written") as raised:
            add(store, "more")
        assert raised.value.reason == "readonly"
    with Store(path, readonly=True) as store:
        assert texts(store, "kept") == ["kept"]
        with pytest.raises(StoreError, match="cannot be written"):
            add(store, "more")
    with pytest.raises(StoreError, match="there is no store"):
        Store(path.with_name("other.db"), readonly=True)
    (path.parent / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        Store(path.parent / "file" / "seen.db")


def test_older_tables_are_brought_up_to_date_and_newer_ones_refused(path: Path) -> None:
    path.parent.mkdir()
    old = sqlite3.connect(path, isolation_level=None)
    schema.prepare(old)
    old.executescript(f"BEGIN; {schema.MIGRATIONS[0]} PRAGMA user_version = 1; COMMIT;")
    old.execute("INSERT INTO sources VALUES (1, 'screen')")
    old.execute(
        "INSERT INTO sightings(source_id, kind, task, text, score, began, frame) "
        "VALUES (1, 'text', 'read', 'from before', 1, 7300, 0)"
    )
    old.close()
    with pytest.raises(StoreError, match="older"):
        Store(path, readonly=True)
    with Store(path) as store:
        assert store.stats().schema == schema.VERSION
        assert texts(store, "before", since=7200) == ["from before"]
        assert texts(store, "before", until=7200) == []
        store._connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    for readonly in (False, True):
        with pytest.raises(StoreError, match="newer") as raised:
            Store(path, readonly=readonly)
        assert raised.value.reason == "version"


def test_killed_while_writing_it_keeps_every_commit(path: Path) -> None:
    code = (
        "import sys; from vedette.store import Sighting, Store\n"
        "store = Store(sys.argv[1]); store.claim()\n"
        "for i in range(100000):\n"
        "    with store.transaction(): store.add(Sighting('s', 'text', f'line {i}', at=i))\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 40:
            process.kill()
    process.stdout.close()
    process.wait()
    with Store(path) as store:
        assert store.damaged is None
        store.claim()
        assert acknowledged >= 40
        assert store.stats().sightings >= acknowledged + 1
        assert texts(store, f'"line {acknowledged}"') == [f"line {acknowledged}"]
