"""Faults that are injected: damage, swaps and edits of results, two writers, disks that refuse."""

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gradbrain.store import (
    ColumnStore,
    StoreError,
    StreamingStore,
    atomic_path,
    column_store,
    open_store,
    open_tree,
    read_table,
    write_lock,
    write_store,
    write_table,
    write_text,
)
from gradbrain.store.atomic import drafting
from gradbrain.store.file_digests import digest_path, read_checked
from gradbrain.store.write_lock import lock_path
from gradbrain.vocabulary.artefacts import columns_of

ROOT = Path(__file__).resolve().parents[2]
N = 40


def encoding(seed=0, depth=0.286):
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "score": (("score_row", "target"), rng.standard_normal((3, N)).astype("float32")),
            "boot": (("draw", "score_row", "unit"), rng.standard_normal((9, 3, 2))),
        },
        coords={"signal": ("score_row", ["a", "b", "c"]), "unit": ("unit", ["V1", "V2"])},
        attrs={"depth": depth, "layer": "conv"},
    )


def chunks(path):
    return [file for file in sorted(path.rglob("*")) if file.is_file() and "c" in file.parts]


def read_all(path, kind="feedback"):
    for node in open_tree(path, kind=kind).subtree:
        node.to_dataset().load()


def refused(read, *told):
    """The error of a reader: ours, one line, with the result and the way to rebuild it."""
    with pytest.raises(StoreError) as error:
        read()
    text = str(error.value)
    assert "\n" not in text and "snakemake" in text
    for part in told:
        assert part in text
    return text


# --- what readers hash ---------------------------------------------------------------------------


def test_every_swap_of_a_chunk_of_the_same_size_is_refused_when_it_is_read(tmp_path):
    first, second = tmp_path / "a.zarr", tmp_path / "b.zarr"
    write_store(first, encoding(), kind="feedback")
    write_store(second, encoding(1), kind="feedback")
    tried = 0
    for file in chunks(first):
        twin = second / file.relative_to(first)
        whole = file.read_bytes()
        if whole == twin.read_bytes() or len(whole) != len(twin.read_bytes()):
            continue
        file.write_bytes(twin.read_bytes())
        name = str(file.relative_to(first))
        refused(lambda: read_all(first), str(first), f"its file {name} was changed or damaged")
        file.write_bytes(whole)
        tried += 1
    assert tried >= 2
    read_all(first)


def test_swapped_chunks_of_columns_are_refused_and_others_are_still_read(tmp_path, monkeypatch):
    monkeypatch.setattr(column_store, "COLUMN_CHUNK_BYTES", 4 * 10 * 5)
    path = tmp_path / "a.zarr"
    columns = np.random.default_rng(0).standard_normal((10, 20)).astype("float32")
    with ColumnStore(
        path, kind="feedback", name="a", dims=("row", "column"), n_rows=10, max_columns=20
    ) as store:
        store.append(columns)
        store.finish(xr.Dataset())
    first, second, *_ = chunks(path)
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    found = open_store(path, kind="feedback")
    np.testing.assert_array_equal(found.a[:, 10:], columns[:, 10:])
    refused(lambda: found.a[:, :10].values, "its file a/c/0/")


def test_a_part_of_a_shard_is_read_only_once_all_of_it_was_hashed(tmp_path):
    path = tmp_path / "a.zarr"
    rows = np.random.default_rng(0).standard_normal((9000, 1024)).astype("float32")
    with StreamingStore(
        path,
        kind="feedback",
        template={"a": (("image", "feature"), rows.shape, "float32")},
        coords={},
        attrs={},
    ) as store:
        store.write_rows(0, {"a": rows})
        store.finish()
    shard = chunks(path)[0]
    with shard.open("r+b") as file:
        file.seek(-2000, os.SEEK_END)
        file.write(b"x")
    lazily = open_store(path, kind="feedback")
    # The row lies elsewhere in the shard than the byte that was changed.
    refused(lambda: lazily.a[0].values, "was changed or damaged")
    np.testing.assert_array_equal(lazily.a[8999], rows[8999])


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("zarr.json", '"depth": 0.286', '"depth": 0.999'),
        ("zarr.json", '"digest": "', '"digest": "0'),
        ("zarr.json", '"complete": true', '"complete": true, "more": 1'),
        ("zarr.json", '"seal"', '"sael"'),
        ("score/zarr.json", '"float32"', '"int32"'),
        ("score/zarr.json", "0.0", "1.0"),
        ("score/zarr.json", '"score_row"', '"score_raw"'),
    ],
)
def test_edited_metadata_are_refused_when_the_store_is_opened(tmp_path, file, old, new):
    path = tmp_path / "a.zarr"
    write_store(path, encoding(), kind="feedback")
    text = (path / file).read_text()
    assert old in text
    (path / file).write_text(text.replace(old, new, 1))
    refused(lambda: open_store(path, kind="feedback"), str(path), "zarr.json")


def test_an_array_or_a_chunk_that_nobody_wrote_is_never_read(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, encoding(), kind="feedback")
    shutil.copytree(path / "score", path / "planted")
    refused(lambda: open_store(path, kind="feedback"), "planted/zarr.json", "does not list")
    shutil.rmtree(path / "planted")
    read_all(path)


def test_several_damaged_files_at_once_are_told_in_one_line_and_nothing_else(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, encoding(), kind="feedback")
    for file in path.rglob("zarr.json"):
        if file.parent != path:
            content = bytearray(file.read_bytes())
            content[5] ^= 1
            file.write_bytes(content)
    for name in ("p1", "p2"):
        shutil.copytree(path / "score", path / name)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'workflow')!r})\n"
        "from gradbrain.config.cli import run\n"
        "from gradbrain.store import open_store\n"
        f"run(lambda _: open_store({str(path)!r}, kind='feedback'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_zeros_are_written_so_that_a_chunk_of_them_cannot_be_lost_or_planted(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, xr.Dataset({"a": ("row", np.zeros(50))}), kind="feedback")
    (chunk,) = chunks(path)
    chunk.unlink()
    refused(lambda: open_store(path, kind="feedback"), "its file a/c/0 is missing")


def test_stores_whose_mark_has_no_seal_are_read_and_their_files_hashed(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, encoding(), kind="feedback")
    root = json.loads((path / "zarr.json").read_text())
    del root["attributes"]["gradbrain"]["seal"]
    (path / "zarr.json").write_text(json.dumps(root))
    read_all(path)
    chunk = chunks(path)[0]
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    refused(lambda: read_all(path), "was changed or damaged")


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_table_of_a_kind_is_refused_where_any_byte_was_changed(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    rows = pd.DataFrame({name: [f"v{k}" for k in range(3)] for name in columns_of("entries")})
    write_table(path, rows, kind="entries")
    whole = path.read_bytes()
    pd.testing.assert_frame_equal(read_table(path, kind="entries"), rows)
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        content = bytearray(whole)
        content[place] ^= 0x01
        path.write_bytes(content)
        refused(lambda: read_table(path, kind="entries"), str(path), "was changed or damaged")
    path.write_bytes(whole)
    digest_path(path).unlink()
    assert len(read_table(path, kind="entries")) == 3


def test_the_digest_beside_a_result_is_one_that_sha256sum_checks(tmp_path):
    write_text(tmp_path / "claims.md", "# Claims\n", digested=True)
    name = digest_path(tmp_path / "claims.md").name
    done = subprocess.run(["sha256sum", "--check", name], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
    assert read_checked(tmp_path / "claims.md") == b"# Claims\n"


def test_a_digest_never_stands_beside_another_table_whenever_a_writer_is_cut_short(
    tmp_path, monkeypatch
):
    path = tmp_path / "t.csv"
    columns = {name: ["a"] for name in columns_of("entries")}
    write_table(path, pd.DataFrame(columns), kind="entries")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gradbrain.store.atomic.record_digest", killed)
    with pytest.raises(KeyboardInterrupt):
        write_table(path, pd.DataFrame({**columns, "label": ["b"]}), kind="entries")
    assert read_table(path, kind="entries")["label"].tolist() == ["b"]
    monkeypatch.setattr("gradbrain.store.atomic.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_table(path, pd.DataFrame(columns), kind="entries")
    assert read_table(path, kind="entries")["label"].tolist() == ["b"]


def test_tables_that_people_may_edit_carry_no_digest(tmp_path):
    write_table(tmp_path / "layers.csv", pd.DataFrame({"a": [1]}))
    assert [file.name for file in tmp_path.iterdir()] == ["layers.csv"]


# --- two writers ---------------------------------------------------------------------------------

WRITER = """
    import sys, time
    sys.path.insert(0, {library!r})
    import numpy as np, xarray as xr
    from gradbrain.store import ColumnStore
    from gradbrain.store import column_store
    column_store.COLUMN_CHUNK_BYTES = 4 * 10 * 5
    with ColumnStore({path!r}, kind="feedback", name="a", dims=("row", "column"), n_rows=10,
                     max_columns=15) as store:
        store.append(np.ones((10, 5), dtype="float32"))
        store._wait()
        print("writing", flush=True)
        sys.stdin.readline()
        store.append(np.ones((10, 10), dtype="float32"))
        store.finish(xr.Dataset())
"""


@pytest.fixture
def writer(tmp_path):
    """A process that has begun to write a store, and waits."""
    code = textwrap.dedent(WRITER).format(
        library=str(ROOT / "workflow"), path=str(tmp_path / "a.zarr")
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_by_name_and_the_first_is_left_alone(tmp_path, writer):
    path = tmp_path / "a.zarr"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match=f"process {writer.pid} on .* is writing it") as error:
        write_store(path, encoding(), kind="feedback")
    assert f"kill {writer.pid}" in str(error.value) and "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before
    writer.communicate("go on\n")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr"]
    assert (open_store(path, kind="feedback", verify=True).a.values == 1).all()


def test_the_lock_of_a_writer_dies_with_it_and_what_it_left_is_swept(tmp_path, writer):
    path = tmp_path / "a.zarr"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 2
    write_store(path, encoding(), kind="feedback")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr"]


def test_two_writers_of_one_store_in_one_process_are_refused_as_well(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("first")
        with pytest.raises(StoreError, match=f"process {os.getpid()} on"):
            write_text(tmp_path / "a.txt", "second")
    assert (tmp_path / "a.txt").read_text() == "first"
    write_text(tmp_path / "a.txt", "second")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_lock_file_that_is_removed_while_another_waits_is_not_taken_for_the_lock(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.txt"
    first = write_lock.WriteLock(path)
    flock, calls = write_lock.fcntl.flock, []

    def released_in_between(file, operation):
        # The first writer ends between another's opening of the file and its lock.
        if not calls:
            calls.append(file)
            first.release()
        return flock(file, operation)

    monkeypatch.setattr(write_lock.fcntl, "flock", released_in_between)
    second = write_lock.WriteLock(path)
    assert lock_path(path).exists()
    with pytest.raises(StoreError, match="is writing it"):
        write_lock.WriteLock(path)
    second.release()
    assert not lock_path(path).exists()


@pytest.mark.parametrize(
    ("pid", "host", "held"), [("own", "", True), ("own", "x", True), (0, "", False)]
)
def test_without_locks_of_the_file_system_a_writer_counts_while_it_may_be_alive(
    tmp_path, monkeypatch, pid, host, held
):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(write_lock.fcntl, "flock", no_locks)
    dead = subprocess.Popen(["true"])
    dead.wait()
    path = tmp_path / "a.txt"
    holder = {"pid": os.getpid() if pid == "own" else dead.pid, "since": "now"}
    holder["host"] = host or write_lock.socket.gethostname()
    lock_path(path).write_text(json.dumps(holder))
    if held:
        with pytest.raises(StoreError, match=f"if it has ended: rm {lock_path(path)}"):
            write_text(path, "x")
    else:
        write_text(path, "x")
        assert path.read_text() == "x"


@pytest.mark.parametrize("lost", ["chunk", "folder", "metadata", "planted"])
def test_a_store_whose_draft_another_process_disturbed_is_not_marked_complete(
    tmp_path, monkeypatch, lost
):
    monkeypatch.setattr(column_store, "COLUMN_CHUNK_BYTES", 4 * 10 * 5)
    columns = np.ones((10, 15), dtype="float32")
    with (
        pytest.raises(StoreError, match="another process was at work") as error,
        ColumnStore(
            tmp_path / "a.zarr",
            kind="feedback",
            name="a",
            dims=("row", "column"),
            n_rows=10,
            max_columns=15,
        ) as store,
    ):
        store.append(columns[:, :5])
        store._wait()
        (draft,) = [item for item in tmp_path.iterdir() if item.is_dir()]
        if lost == "chunk":
            chunks(draft)[0].unlink()
        elif lost == "folder":
            # As the sweep of a second writer did: later chunks make the folder anew.
            shutil.rmtree(draft)
        elif lost == "planted":
            (draft / "a" / "c" / "9").mkdir()
            (draft / "a" / "c" / "9" / "9").write_text("x")
        store.append(columns[:, 5:])
        store._wait()
        if lost == "metadata":
            monkeypatch.setattr(type(store._array), "resize", lambda *_: None)
            (draft / "a" / "zarr.json").unlink()
        store.finish(xr.Dataset())
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_rows_whose_draft_was_swept_are_not_marked_complete(tmp_path):
    with (
        pytest.raises(StoreError, match=r"another process was at work|cannot be written"),
        StreamingStore(
            tmp_path / "a.zarr",
            kind="feedback",
            template={"a": (("image", "feature"), (10, 3), "float32")},
            coords={"image_id": (("image",), np.arange(10))},
            attrs={},
        ) as store,
    ):
        store.write_rows(0, {"a": np.ones((10, 3), dtype="float32")})
        shutil.rmtree(store._temporary)
        store.finish()
    assert list(tmp_path.iterdir()) == []


# --- disks that refuse ---------------------------------------------------------------------------

DISK = [
    (errno.ENOSPC, "the disk is full"),
    (errno.EDQUOT, "the quota of disk space is used up"),
    (errno.EROFS, "the file system is read-only"),
    (errno.EACCES, "there is no permission to write there"),
    (errno.EIO, "the disk reports an input/output error"),
]


def streamed(path):
    with StreamingStore(
        path,
        kind="feedback",
        template={"a": (("image", "feature"), (10, 3), "float32")},
        coords={},
        attrs={},
    ) as store:
        store.write_rows(0, {"a": np.ones((10, 3), dtype="float32")})
        store.finish()


def by_column(path):
    with ColumnStore(
        path, kind="feedback", name="a", dims=("row", "column"), n_rows=10, max_columns=20
    ) as store:
        store.append(np.ones((10, 20), dtype="float32"))
        store.finish(xr.Dataset())


@pytest.mark.parametrize(("number", "told"), DISK)
@pytest.mark.parametrize(
    "write",
    [lambda path: write_store(path, encoding(), kind="feedback"), streamed, by_column],
    ids=["tree", "rows", "columns"],
)
@pytest.mark.parametrize("after", [0, 3])
def test_a_disk_that_refuses_ends_in_one_line_and_leaves_nothing(
    tmp_path, monkeypatch, write, number, told, after
):
    from zarr.storage import _local

    put, calls = _local._put, []

    def refuse(path, value, exclusive=False):
        calls.append(path)
        if len(calls) > after:
            raise OSError(number, os.strerror(number), str(path))
        return put(path, value, exclusive)

    monkeypatch.setattr(_local, "_put", refuse)
    path = tmp_path / "results" / "demo" / "encoding" / "m" / "conv" / "s1.zarr"
    refused(lambda: write(path), str(path), "cannot be written", told, "-- results/demo/encoding")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(("number", "told"), DISK)
def test_a_disk_that_refuses_a_table_leaves_the_old_one(tmp_path, monkeypatch, number, told):
    path = tmp_path / "t.csv"
    rows = pd.DataFrame({name: ["a"] for name in columns_of("entries")})
    write_table(path, rows, kind="entries")

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pd.DataFrame, "to_csv", refuse)
    refused(lambda: write_table(path, rows, kind="entries"), str(path), told)
    monkeypatch.undo()
    assert len(read_table(path, kind="entries")) == 1


def test_a_chunk_that_is_still_being_written_when_another_fails_leaves_nothing(tmp_path):
    from zarr.core import sync

    async def arrive_late(chunk):
        await asyncio.sleep(0.3)
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.write_bytes(b"late")

    def fail():
        with drafting(tmp_path / "a.zarr") as draft:
            draft.mkdir()
            arriving.append(
                asyncio.run_coroutine_threadsafe(arrive_late(draft / "c" / "0"), sync._get_loop())
            )
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    arriving = []
    refused(fail, "the disk is full")
    arriving[0].result(10)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_for_whose_words_there_is_no_room_is_not_left_behind(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(write_lock.os, "pwrite", refuse)
    refused(lambda: streamed(tmp_path / "a.zarr"), "the disk is full")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    streamed(tmp_path / "a.zarr")


def test_a_library_that_fails_to_close_its_file_on_a_full_disk_is_told_as_one(tmp_path):
    def close_in_vain():
        with atomic_path(tmp_path / "figure.pdf"):
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                zlib.decompress(b"no stream")

    refused(close_in_vain, "figure.pdf", "cannot be written", "the disk is full")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_kind_stays_what_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "figure.pdf"):
        try:
            raise FileNotFoundError(errno.ENOENT, "no such font")
        finally:
            1 / 0  # noqa: B018


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(write_lock.os, "open", refuse)
    refused(lambda: streamed(tmp_path / "a.zarr"), "the file system is read-only")


@pytest.mark.parametrize("what", ["chunk", "root", "table"])
def test_a_file_that_the_disk_does_not_give_back_is_named(tmp_path, monkeypatch, what):
    store, table = tmp_path / "a.zarr", tmp_path / "t.csv"
    write_store(store, encoding(), kind="feedback")
    write_table(
        table, pd.DataFrame({name: ["a"] for name in columns_of("entries")}), kind="entries"
    )
    read, wanted = Path.read_bytes, {"chunk": "c/0/0", "root": "zarr.json", "table": "t.csv"}[what]

    def refuse(path):
        if str(path).endswith(wanted):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    if what == "table":
        refused(lambda: read_table(table, kind="entries"), "t.csv", "Input/output error")
    else:
        refused(lambda: read_all(store), str(store), f"{wanted} cannot be read", "Input/output")


def test_a_store_that_is_removed_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, encoding(), kind="feedback")
    lazily = open_store(path, kind="feedback")
    shutil.rmtree(path)
    refused(lambda: lazily.score.values, "its file score/c/0/0 is missing")


def test_a_script_ends_with_one_line_where_a_result_is_damaged(tmp_path):
    path = tmp_path / "results" / "demo" / "rsa" / "m" / "s1.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no table")
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "scripts" / "collect_scores.py"),
            "--fits", str(tmp_path), "--layers", "conv", "--subjects", "s1",
            "--output", str(tmp_path / "out.parquet"),
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    assert str(tmp_path / "conv" / "s1.parquet") in errors[0]
