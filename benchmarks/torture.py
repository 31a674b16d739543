"""Attack the store: damaged, swapped and edited results, full disks, two writers, killed writers.

    python benchmarks/torture.py fuzz --seeds 0:2000 --out torture.jsonl
    python benchmarks/torture.py fuzz --seeds 0:2000 --digests off --out torture.jsonl
    python benchmarks/torture.py writers --seeds 0:40 --out torture.jsonl
    python benchmarks/torture.py disk --out torture.jsonl
    python benchmarks/torture.py table --out torture.jsonl
    python benchmarks/torture.py docs --out torture.jsonl
    python benchmarks/torture.py docs --add --out further.jsonl

Whole runs are disturbed by torture_workflow.py, files of others by torture_external.py; both write
to the same file. ``docs`` puts its tables into docs/reliability.md, each campaign where it belongs;
``--add`` adds attacks of further seeds, whose log is another file, to what is counted there.
Each attack follows from its seed alone and is one line of the file; those that are there already
are not repeated, so a campaign that is stopped goes on where it was. Attacks that succeed (a result
with other values that is accepted, an error that is not ours or is not one line, a hang) are
printed with their seed, and end the campaign with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config import GradbrainError
from gradbrain.store import (
    ColumnStore,
    StreamingStore,
    open_tree,
    read_table,
    write_store,
    write_table,
    write_tree,
)
from gradbrain.store.file_digests import digest_path, sha256_of
from gradbrain.store.tables import table_facts
from gradbrain.store.zarr_store import MARK, SEAL, mark_seal, metadata_sha256

HANG_S = 20.0
N_IMAGES, N_TARGETS = 24, 10
FINE = ("refused", "same values")


# --- results that are attacked -------------------------------------------------------------------


def responses(rng: np.random.Generator) -> xr.Dataset:
    """Responses of one subject, a region without any variance among them."""
    values = rng.standard_normal((N_IMAGES, N_TARGETS)).astype("float32")
    return xr.Dataset(
        {
            "response": (("image", "target"), values),
            "noise_ceiling": ("target", rng.random(N_TARGETS)),
        },
        coords={
            "image_id": ("image", [f"image-{k:02d}" for k in range(N_IMAGES)]),
            "group": ("image", [f"photograph-{k // 3}" for k in range(N_IMAGES)]),
            "n_repeats": ("image", np.full(N_IMAGES, 3)),
            "roi": ("target", ["V1", "V2"] * (N_TARGETS // 2)),
        },
        attrs={"subject": "s1", "roi_order": ["V1", "V2"], "onset_s": 0.1, "pooled": False},
    )


def write_responses(path: Path, rng: np.random.Generator) -> None:
    """As adapters write them that hold all of a subject."""
    origin = {"stimuli_digests": {"table": rng.bytes(32).hex()}}
    write_store(path, responses(rng), kind="responses", made_from=origin)


def write_columns(path: Path, rng: np.random.Generator) -> None:
    """As adapters write them that read targets block by block."""
    rest = responses(rng)
    values = rest["response"].values
    with ColumnStore(
        path,
        kind="responses",
        name="response",
        dims=("image", "target"),
        n_rows=N_IMAGES,
        max_columns=N_TARGETS + 3,
    ) as store:
        store.append(values[:, :4])
        store.append(values[:, 4:])
        store.finish(rest.drop_vars("response"))


def write_features(path: Path, rng: np.random.Generator) -> None:
    """As extraction writes them, row by row."""
    signals = ["activation", "gradient"]
    template: dict[str, Any] = {
        f"signals/{name}": (("image", "feature"), (N_IMAGES, 8), "float32") for name in signals
    }
    per_image = (("image", "signal"), (N_IMAGES, 2), "float32")
    template |= {"objective_value": per_image, "magnitude": per_image}
    labels = ("signal", "role", "rule", "objective")
    coords = {
        "image_id": (("image",), np.array([f"image-{k:02d}" for k in range(N_IMAGES)])),
        **{name: (("signal",), np.array(signals)) for name in labels},
    }
    attrs = {"model": "m", "layer": "conv1", "depth": 0.286, "stimuli_digest": rng.bytes(32).hex()}
    with StreamingStore(
        path, kind="features", template=template, coords=coords, attrs=attrs
    ) as store:
        rows = {
            name: rng.standard_normal(shape).astype("float32")
            for name, (_, shape, _) in template.items()
        }
        # A shard of zeros, which Zarr would not write and read as what it fills with.
        rows["magnitude"][:] = 0.0
        store.write_rows(0, rows)
        store.finish()


def write_draws(path: Path, rng: np.random.Generator) -> None:
    """A tree with groups, and NaN that mean something."""
    draws = rng.standard_normal((4, 30))
    draws[1, 3] = np.nan
    group = xr.Dataset(
        {name: (("row", "draw"), draws, {"missing_allowed": True}) for name in ("boot", "null")},
        coords={"row": ("row", np.arange(4)), "signal": ("row", list("abcd"))},
    )
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"model": "m"}), "/d": group})
    write_tree(path, tree, kind="hierarchy_draws")


def write_rows(path: Path, rng: np.random.Generator) -> None:
    """A table, by its ending."""
    frame = pd.DataFrame(
        {
            "layer": [f"layer{k % 4}" for k in range(40)],
            "value": rng.standard_normal(40),
            "n": rng.integers(0, 9, 40),
        }
    )
    facts = {"draws_digest": rng.bytes(8).hex()} if path.suffix == ".parquet" else None
    # Of no kind in particular, and digested as those are that have one.
    write_table(path, frame, facts=facts)
    digest_path(path).write_text(f"{sha256_of(path)}  {path.name}\n", encoding="utf-8")


def fingerprint_of_store(path: Path, kind: str) -> str:
    """SHA-256 of all that a reader sees: values, types, dimensions, attributes."""
    seen = hashlib.sha256()
    for node in open_tree(path, kind=kind).subtree:
        dataset = node.to_dataset(inherit=False)
        seen.update(repr((node.path, sorted(dataset.attrs.items()))).encode())
        seen.update(repr(sorted(map(str, dataset.coords))).encode())
        for name in sorted(map(str, dataset.variables)):
            variable = dataset.variables[name]
            values = np.asarray(variable.values)
            seen.update(repr((name, variable.dims, values.dtype, values.shape)).encode())
            seen.update(repr(sorted(variable.attrs.items())).encode())
            seen.update(np.ascontiguousarray(values).tobytes())
    return seen.hexdigest()


def fingerprint_of_table(path: Path, _: str) -> str:
    """The same of a table."""
    frame = read_table(path)
    facts = table_facts(path) if path.suffix == ".parquet" else {}
    plain = [[repr(value) for value in frame[name]] for name in frame.columns]
    seen = repr((list(frame.columns), list(map(str, frame.dtypes)), plain, facts))
    return hashlib.sha256(seen.encode()).hexdigest()


@dataclass(frozen=True)
class Target:
    """A kind of result that is attacked."""

    name: str
    kind: str
    write: Callable[[Path, np.random.Generator], None]
    fingerprint: Callable[[Path, str], str]
    ending: str = ".zarr"


TARGETS = (
    Target("responses", "responses", write_responses, fingerprint_of_store),
    Target("responses by column", "responses", write_columns, fingerprint_of_store),
    Target("features", "features", write_features, fingerprint_of_store),
    Target("draws", "hierarchy_draws", write_draws, fingerprint_of_store),
    Target("Parquet table", "", write_rows, fingerprint_of_table, ".parquet"),
    Target("CSV table", "", write_rows, fingerprint_of_table, ".csv"),
)


# --- attacks -------------------------------------------------------------------------------------


def files_of(path: Path) -> list[Path]:
    """Files of a result, its digest among them."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path, digest_path(path)]


def some_file(path: Path, rng: np.random.Generator) -> Path:
    """One of the files of a result."""
    files = files_of(path)
    return files[rng.integers(len(files))]


def change_bytes(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Change up to eight bytes of a file."""
    file = some_file(path, rng)
    content = bytearray(file.read_bytes())
    for place in rng.integers(0, len(content), rng.integers(1, 9)):
        content[place] ^= int(rng.integers(1, 256))
    file.write_bytes(content)
    return file.name


def change_bit(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Change one bit of a file."""
    file = some_file(path, rng)
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)
    return file.name


def blank(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Set a stretch of a file to zero, as a lost block of a disk does."""
    file = some_file(path, rng)
    content = bytearray(file.read_bytes())
    start = int(rng.integers(len(content)))
    stop = min(len(content), start + int(rng.integers(1, 513)))
    content[start:stop] = bytes(stop - start)
    file.write_bytes(content)
    return file.name


def cut(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Cut a file short."""
    file = some_file(path, rng)
    os.truncate(file, int(rng.integers(file.stat().st_size)))
    return file.name


def grow(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Put bytes into a file."""
    file = some_file(path, rng)
    content = file.read_bytes()
    place = int(rng.integers(len(content) + 1))
    file.write_bytes(content[:place] + rng.bytes(int(rng.integers(1, 33))) + content[place:])
    return file.name


def lose(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Remove a file."""
    file = some_file(path, rng)
    file.unlink()
    return file.name


def swap_within(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Let two files of a result change places."""
    first, second = some_file(path, rng), some_file(path, rng)
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    return f"{first.name}, {second.name}"


def swap_between(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Take a file of another result of the same kind and shape, its chunks above all."""
    files = [file for file in files_of(path) if file.name != "zarr.json"] or files_of(path)
    file = files[rng.integers(len(files))]
    source = twin / file.relative_to(path) if path.is_dir() else twin
    if file == digest_path(path):
        source = digest_path(twin)
    shutil.copyfile(source, file)
    return file.name


def plant(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Put a file there that nobody wrote: a chunk, or an array."""
    if not path.is_dir():
        return lose(path, twin, rng)
    arrays = [file.parent for file in path.rglob("zarr.json") if (file.parent / "c").exists()]
    array = arrays[rng.integers(len(arrays))]
    if rng.random() < 0.5:
        shutil.copytree(array, array.with_name("planted"))
        return "an array"
    (array / "c" / "99").mkdir()
    (array / "c" / "99" / "0").write_bytes(rng.bytes(64))
    return "a chunk"


def edit_json(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Change a value in the metadata: a depth, a shape, a type, a digest, a flag; it stays JSON."""
    if not path.is_dir():
        return change_bytes(path, twin, rng)
    files = sorted(path.rglob("zarr.json"))
    # The root holds attributes and the mark.
    file = path / "zarr.json" if rng.random() < 0.5 else files[rng.integers(len(files))]
    content = json.loads(file.read_text())
    places = list(_leaves(content))
    holder, key = places[rng.integers(len(places))]
    holder[key] = _other(holder[key], rng)
    file.write_text(json.dumps(content, indent=1))
    return f"{file.relative_to(path)}: {key}"


def lose_key(path: Path, twin: Path, rng: np.random.Generator) -> str:
    """Remove a key of the metadata, or give it another name."""
    if not path.is_dir():
        return change_bit(path, twin, rng)
    files = sorted(path.rglob("zarr.json"))
    file = path / "zarr.json" if rng.random() < 0.5 else files[rng.integers(len(files))]
    content = json.loads(file.read_text())
    places = [(holder, key) for holder, key in _leaves(content) if isinstance(holder, dict)]
    holder, key = places[rng.integers(len(places))]
    value = holder.pop(key)
    if rng.random() < 0.5:
        holder[f"{key}_"] = value
    file.write_text(json.dumps(content, indent=1))
    return f"{file.relative_to(path)}: {key}"


def _leaves(node: Any) -> Iterator[tuple[Any, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        if isinstance(value, dict | list) and value:
            yield from _leaves(value)
        else:
            yield node, key


def _other(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.integers(1, 4)) * int(rng.choice([-1, 1]))
    if isinstance(value, float):
        return value * float(rng.choice([-1.0, 0.5, 3.5])) + 0.25
    if value == "float32":
        return "int32"
    if isinstance(value, str) and value:
        letters = list(value)
        letters[rng.integers(len(letters))] = chr(int(rng.integers(97, 123)))
        return "".join(letters)
    return str(rng.choice(["", "x", "float32"]))


STRUCTURAL = {"a file cut short": cut, "bytes put in": grow, "a file removed": lose}
ATTACKS: Mapping[str, Callable[[Path, Path, np.random.Generator], str]] = {
    "one bit": change_bit,
    "up to eight bytes": change_bytes,
    "a stretch of zeros": blank,
    **STRUCTURAL,
    "two of its files swapped": swap_within,
    "a file of another result": swap_between,
    "a file planted": plant,
    "metadata edited": edit_json,
    "a key of metadata lost": lose_key,
}


def without_digests(path: Path) -> None:
    """Let digests agree with a result as it is now, so that only its structure speaks."""
    if not path.is_dir():
        digest_path(path).unlink(missing_ok=True)
        return
    root = path / "zarr.json"
    try:
        metadata = json.loads(root.read_text())
        mark = metadata["attributes"][MARK]
        for relative, about in mark["files"].items():
            if (path / relative).exists():
                about["sha256"] = sha256_of(path / relative)
        mark["metadata_sha256"] = metadata_sha256(metadata)
        mark[SEAL] = mark_seal(mark)
        root.write_text(json.dumps(metadata, indent=1))
    except (OSError, ValueError, KeyError, TypeError):
        return


class Specimens:
    """Two results of each kind, written once and copied for each attack."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.whole: dict[str, str] = {}
        for number, target in enumerate(TARGETS):
            for twin in (0, 1):
                rng = np.random.default_rng([number, twin])
                target.write(self.path(target, twin), rng)
            self.whole[target.name] = target.fingerprint(self.path(target, 0), target.kind)
            if self.whole[target.name] == target.fingerprint(self.path(target, 1), target.kind):
                raise AssertionError(f"{target.name}: both specimens are the same")

    def path(self, target: Target, twin: int) -> Path:
        """Where a specimen lies."""
        return self._folder / str(twin) / f"{TARGETS.index(target)}{target.ending}"

    def copy(self, target: Target) -> Path:
        """Copy the first specimen to where it is attacked."""
        source = self.path(target, 0)
        path = self._folder / "attacked" / source.name
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        if source.is_dir():
            shutil.copytree(source, path)
        else:
            shutil.copyfile(source, path)
            shutil.copyfile(digest_path(source), digest_path(path))
        return path


def outcome_of(read: Callable[[], str], whole: str) -> tuple[str, str]:
    """Read an attacked result: what came of it, and the message."""
    started = time.process_time()
    try:
        seen = read()
    except GradbrainError as error:
        told = str(error)
        return ("refused" if "\n" not in told else "error of several lines"), told
    except Exception as error:
        return "error that is not ours", f"{type(error).__name__}: {error}"
    if time.process_time() - started > HANG_S:
        return "hang", ""
    return ("same values" if seen == whole else "OTHER VALUES"), ""


def fuzz(seed: int, specimens: Specimens, digests: bool) -> dict[str, Any]:
    """Make one attack."""
    rng = np.random.default_rng([seed, 0 if digests else 1])
    # A text has no structure of which anything could be missed.
    targets = TARGETS if digests else [one for one in TARGETS if one.ending != ".csv"]
    target = targets[rng.integers(len(targets))]
    attacks = ATTACKS if digests else STRUCTURAL
    attack = list(attacks)[rng.integers(len(attacks))]
    path = specimens.copy(target)
    where = attacks[attack](path, specimens.path(target, 1), rng)
    if not digests:
        without_digests(path)
    outcome, told = outcome_of(
        lambda: target.fingerprint(path, target.kind), specimens.whole[target.name]
    )
    return {
        "target": target.name,
        "fault": attack,
        "where": where,
        "outcome": outcome,
        "told": told,
    }


# --- two writers, and killed ones ----------------------------------------------------------------

_WRITER = """
import sys, time
sys.path.insert(0, {library!r})
import numpy as np, xarray as xr
from gradbrain.store import ColumnStore
rng = np.random.default_rng(0)
values = rng.standard_normal((50, 60)).astype("float32")
import gradbrain.store.column_store as module
module.COLUMN_CHUNK_BYTES = 50 * 4 * 10
with ColumnStore({path!r}, kind="feedback", name="response", dims=("image", "target"),
                 n_rows=50, max_columns=60) as store:
    for start in range(0, 60, 10):
        store.append(values[:, start:start + 10])
        print(start, flush=True)
        if start == 20 and {waits}:
            sys.stdin.readline()
        time.sleep({pause})
    store.finish(xr.Dataset(attrs={{"subject": "s1"}}))
print("done", flush=True)
"""


def start_writer(path: Path, *, pause: float = 0.0, waits: bool = False) -> subprocess.Popen[str]:
    """Start a process that writes a store column by column.

    It waits so many seconds after each block, and in the middle until it is told to go on.
    """
    code = _WRITER.format(library=str(ROOT / "workflow"), path=str(path), pause=pause, waits=waits)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def writers(seed: int, folder: Path) -> dict[str, Any]:
    """Let a second writer meet a first that is alive, or that was killed at any time."""
    rng = np.random.default_rng([seed, 2])
    path = folder / f"{seed}.zarr"
    killed = bool(rng.integers(2))
    first = start_writer(path, pause=0.05, waits=not killed)
    assert first.stdout is not None
    first.stdout.readline()
    if killed:
        time.sleep(float(rng.random() * 0.4))
        first.send_signal(signal.SIGKILL)
        first.wait()
    second = start_writer(path)
    _, told = second.communicate()
    if killed:
        ended = "written" if second.returncode == 0 else told
    else:
        ended = "refused by name" if f"process {first.pid} on" in told else f"not refused: {told}"
        first.communicate("\n")
    left = [file.name for file in folder.glob(f".{path.name}*")]
    whole = fingerprint_of_store(path, "feedback")
    fault = "writer killed, then another" if killed else "a second writer while the first is alive"
    expected = "written" if killed else "refused by name"
    good = ended == expected and not left and whole == _whole_columns(folder)
    return {
        "target": "responses by column",
        "fault": fault,
        "where": str(left),
        "outcome": expected if good else "FAILED",
        "told": ended,
    }


def _whole_columns(folder: Path) -> str:
    path = folder / "undisturbed.zarr"
    if not path.exists():
        process = start_writer(path)
        process.communicate()
    return fingerprint_of_store(path, "feedback")


# --- a disk that is full, or cannot be written ---------------------------------------------------

_DISK = """
set -e
mount -t tmpfs -o size=300k tmpfs {mount}
cd {mount}
{python} {script} write --target {target} --path {mount}/small.zarr 2>&1 || true
mkdir {mount}/closed
mount -t tmpfs -o size=4m tmpfs {mount}/closed
mount -o remount,ro {mount}/closed
{python} {script} write --target {target} --path {mount}/closed/small.zarr 2>&1 || true
ls -A {mount} {mount}/closed
"""


def write_for_disk(target: str, path: Path) -> None:
    """Write one result that a small disk does not hold."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, 1000)).astype("float32")
    if target == "tree":
        write_store(path, xr.Dataset({"a": (("row", "column"), values)}), kind="feedback")
    elif target == "columns":
        with ColumnStore(
            path, kind="feedback", name="a", dims=("row", "column"), n_rows=400, max_columns=1000
        ) as store:
            store.append(values)
            store.finish(xr.Dataset())
    elif target == "rows":
        template = {"a": (("row", "column"), values.shape, "float32")}
        with StreamingStore(
            path, kind="feedback", template=template, coords={}, attrs={}
        ) as streamed:
            streamed.write_rows(0, {"a": values})
            streamed.finish()
    else:
        write_table(path.with_suffix(f".{target}"), pd.DataFrame(values).add_prefix("c"))


DISK_TARGETS = ("tree", "columns", "rows", "parquet", "csv")


def disk(target: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Write to a disk that is full, and to one that is read-only (needs user namespaces)."""
    script = _DISK.format(
        mount=folder, python=sys.executable, script=Path(__file__).resolve(), target=target
    )
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    left = [line for line in lines if "gradbrain" in line and not line.startswith("error: ")]
    expected = ("the disk is full", "the file system is read-only")
    for number, what in enumerate(expected):
        line = told[number] if number < len(told) else ""
        good = what in line and "snakemake" in line and not left and len(told) == len(expected)
        yield {
            "target": target,
            "fault": what,
            "where": str(left),
            "outcome": "refused" if good else "error that is not ours",
            "told": line or done.stdout,
        }


# --- campaigns -----------------------------------------------------------------------------------


def read_log(path: Path) -> list[dict[str, Any]]:
    """Attacks that were made; a last line that was cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


#: (campaign, fault), or the reader alone -> outcome -> times.
Counts = dict[tuple[str, ...], Counter[str]]


def counts_of(rows: list[dict[str, Any]], keys: Sequence[str]) -> Counts:
    """Count outcomes of attacks by some of their fields."""
    counts: Counts = {}
    for row in rows:
        counts.setdefault(tuple(row[key] for key in keys), Counter())[row["outcome"]] += 1
    return counts


def cells_of(line: str) -> list[str]:
    """Cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table_of(rows: list[dict[str, Any]]) -> list[str]:
    """Table of faults, times tried and outcomes, as Markdown."""
    return fault_table(counts_of(rows, ("campaign", "fault")))


def fault_table(counts: Counts) -> list[str]:
    """Table of faults, times tried and outcomes, as Markdown."""
    lines = ["| campaign | fault | tried | outcome |", "|---|---|---|---|"]
    for (campaign, fault), found in counts.items():
        told = ", ".join(f"{outcome} {count}" for outcome, count in sorted(found.items()))
        lines.append(f"| {campaign} | {fault} | {sum(found.values()):,} | {told} |")
    return lines


def read_fault_table(lines: Sequence[str]) -> Counts:
    """Read what :func:`fault_table` wrote."""
    counts: Counts = {}
    for campaign, fault, _, told in map(cells_of, lines[2:]):
        pairs = (outcome.rpartition(" ") for outcome in told.split(", "))
        counts[campaign, fault] = Counter({outcome: int(times) for outcome, _, times in pairs})
    return counts


#: Name of a table in the docs -> campaigns in it.
BLOCKS = {
    "own stores": ("fuzz", "fuzz, digests off", "disk", "writers"),
    "whole runs": ("kills", "stops", "full", "two", "slurm"),
    "external files": ("external",),
    "pinned files": ("external, pinned",),
}
DOCS = ROOT / "docs" / "reliability.md"


def reader_table(counts: Counts) -> list[str]:
    """Table of what was attacked, times tried and outcomes, as Markdown."""
    outcomes = sorted({outcome for found in counts.values() for outcome in found})
    lines = [f"| reader | tried | {' | '.join(outcomes)} |", "|---" * (2 + len(outcomes)) + "|"]
    for (target,), found in counts.items():
        cells = [f"{found[outcome]:,}" if found[outcome] else "" for outcome in outcomes]
        lines.append(f"| {target} | {sum(found.values()):,} | {' | '.join(cells)} |")
    return lines


def read_reader_table(lines: Sequence[str]) -> Counts:
    """Read what :func:`reader_table` wrote."""
    outcomes = cells_of(lines[0])[2:]
    counts: Counts = {}
    for target, _, *cells in map(cells_of, lines[2:]):
        times = [int(cell.replace(",", "") or 0) for cell in cells]
        counts[(target,)] = +Counter(dict(zip(outcomes, times, strict=True)))
    return counts


def write_docs(rows: list[dict[str, Any]], path: Path = DOCS, *, add: bool = False) -> list[str]:
    """Replace the tables of those campaigns that have rows; returns their names.

    Parameters
    ----------
    rows
        Attacks.
    path
        Page.
    add
        Count them beside those of the page: they are of seeds that it does not have.
    """
    text, written = path.read_text(encoding="utf-8"), []
    for name, campaigns in BLOCKS.items():
        own = [row for row in rows if row["campaign"] in campaigns]
        begin, end = f"<!-- torture: {name} -->\n", "<!-- end -->\n"
        if not own or begin not in text:
            continue
        before, _, rest = text.partition(begin)
        there, _, after = rest.partition(end)
        by_target = campaigns[0].startswith("external")
        counts = counts_of(own, ("target",) if by_target else ("campaign", "fault"))
        if add:
            read = read_reader_table if by_target else read_fault_table
            lines = [line for line in there.splitlines() if line.startswith("|")]
            known = read(lines) if lines else {}
            keys = [*known, *(key for key in counts if key not in known)]
            counts = {key: known.get(key, Counter()) + counts.get(key, Counter()) for key in keys}
        table = "\n".join(reader_table(counts) if by_target else fault_table(counts))
        text = f"{before}{begin}\n{table}\n\n{end}{after}"
        written.append(name)
    path.write_text(text, encoding="utf-8")
    return written


def seeds_of(text: str) -> range:
    """Read ``FIRST:STOP``."""
    start, _, stop = text.partition(":")
    return range(int(start), int(stop))


def attacks_of(arguments: argparse.Namespace, done: set[Any]) -> Iterator[dict[str, Any]]:
    """Make the attacks of a campaign that are not done."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.campaign == "disk":
            for target in DISK_TARGETS:
                if target not in done:
                    (folder / target).mkdir()
                    for row in disk(target, folder / target):
                        yield {"seed": target, **row}
            return
        specimens = Specimens(folder) if arguments.campaign == "fuzz" else None
        for seed in arguments.seeds:
            if seed in done:
                continue
            if specimens is not None:
                yield {"seed": seed, **fuzz(seed, specimens, arguments.digests == "on")}
            else:
                yield {"seed": seed, **writers(seed, folder)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("campaign", choices=("fuzz", "writers", "disk", "table", "docs", "write"))
    parser.add_argument("--seeds", type=seeds_of, default=range(2000), metavar="FIRST:STOP")
    parser.add_argument("--digests", choices=("on", "off"), default="on")
    parser.add_argument("--out", type=Path, default=Path("torture.jsonl"))
    parser.add_argument("--add", action="store_true", help="of docs: keep what is counted there")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.campaign == "write":
        write_for_disk(arguments.target, arguments.path)
        return
    log = read_log(arguments.out)
    if arguments.campaign == "table":
        print("\n".join(table_of(log)))
        return
    if arguments.campaign == "docs":
        print("\n".join(write_docs(log, add=arguments.add)))
        return
    without = "" if arguments.digests == "on" else ", digests off"
    campaign = f"{arguments.campaign}{without}"
    done = {row["seed"] for row in log if row["campaign"] == campaign}
    # Without a last line that was cut short.
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    bad = 0
    with arguments.out.open("a", encoding="utf-8") as out:
        for row in attacks_of(arguments, done):
            row = {"campaign": campaign, **row}
            out.write(json.dumps(row) + "\n")
            out.flush()
            if row["outcome"] not in (*FINE, "written", "refused by name"):
                bad += 1
                print(f"seed {row['seed']}: {row}", flush=True)
    rows = [row for row in read_log(arguments.out) if row["campaign"] == campaign]
    print("\n".join(table_of(rows)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    from gradbrain.config.cli import run

    run(lambda _: main())
