"""Claims about fetching: whole and checked, or not there; what exists is never touched."""

import fnmatch
import functools
import hashlib
import json
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from trees.modalities import MODALITIES

from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry, FetchBucket, FetchFile, FetchSpec
from gradbrain.datasets import fetch
from gradbrain.datasets.download import RemoteFile
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.fetch import MANIFEST, ensure_dataset, fetch_dataset
from gradbrain.datasets.laion_fmri import HELD_OUT

ROOT = Path(__file__).resolve().parents[2]
CONTENT = {"there/rdm.npz": b"matrices", "there/one.jpg": b"first", "elsewhere/two.jpg": b"second"}
LAYOUT = {
    "rdm.npz": "there/rdm.npz",
    "images/one.jpg": "there/one.jpg",
    "images/two.jpg": "elsewhere/two.jpg",
}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing: requests are not what is tested."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def entry_of(server, *, when_missing=True, **changed):
    files = {
        relative: FetchFile(url=url, sha256=hashlib.sha256(CONTENT[url]).hexdigest())
        for relative, url in LAYOUT.items()
    }
    fetch = FetchSpec(base_url=server, files={**files, **changed}, when_missing=when_missing)
    return DatasetEntry(
        name="mine", adapter="dissimilarity", modality=MODALITIES["none"], fetch=fetch
    )


def test_files_arrive_under_their_local_names(server, tmp_path):
    fetch_dataset(entry_of(server), tmp_path / "data" / "mine")
    for relative, url in LAYOUT.items():
        assert (tmp_path / "data" / "mine" / relative).read_bytes() == CONTENT[url]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine"]
    assert names(tmp_path / "data" / "mine") == set(LAYOUT)


def partial(folder):
    return folder.with_name(f".{folder.name}-partial")


def names(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found} - {MANIFEST}


def test_a_changed_file_is_not_taken_for_the_data_set(server, tmp_path):
    bad = FetchFile(url="there/one.jpg", sha256="0" * 64)
    with pytest.raises(DatasetError, match=r"there/one\.jpg: is not the file .* SHA-256 .* 0000"):
        fetch_dataset(entry_of(server, **{"images/one.jpg": bad}), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    # What was right is kept for the next attempt; what was wrong is not.
    assert names(partial(tmp_path / "mine")) == {"rdm.npz"}


def test_a_file_that_is_not_there_is_named(server, tmp_path):
    gone = FetchFile(url="there/gone.jpg", sha256="0" * 64)
    with pytest.raises(DatasetError, match=r"there/gone\.jpg: 404.*roots"):
        fetch_dataset(entry_of(server, **{"images/gone.jpg": gone}), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_folder_or_link_that_exists_is_never_written_to(server, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_text("here before")
    ensure_dataset(entry_of(server), mine)
    with pytest.raises(DatasetError, match="exists; nothing was fetched"):
        fetch_dataset(entry_of(server), mine)
    assert [path.name for path in mine.iterdir()] == ["precious"]
    broken = tmp_path / "broken"
    broken.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is a link to a missing folder"):
        ensure_dataset(entry_of(server), broken)


def test_a_run_fetches_only_what_may_arrive_by_itself(server, tmp_path):
    ensure_dataset(entry_of(server, when_missing=False), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    ensure_dataset(entry_of(server), tmp_path / "mine")
    assert names(tmp_path / "mine") == set(LAYOUT)


def test_some_files_may_be_fetched_first_and_others_later(server, tmp_path):
    mine = tmp_path / "mine"
    fetch_dataset(entry_of(server), mine, only=["images/o*"])
    assert names(mine) == {"images/one.jpg"}
    fetch_dataset(entry_of(server), mine)
    assert names(mine) == set(LAYOUT)
    manifest = json.loads((mine / MANIFEST).read_text())
    assert manifest["rdm.npz"]["bytes"] == len(CONTENT["there/rdm.npz"])
    with pytest.raises(DatasetError, match=r"none of its 3 public files matches 'rdm\.mat'"):
        fetch_dataset(entry_of(server), mine, only=["rdm.mat"])


def test_a_damaged_file_of_a_fetched_folder_is_fetched_again(server, tmp_path):
    fetch_dataset(entry_of(server), tmp_path / "mine")
    (tmp_path / "mine" / "rdm.npz").write_bytes(b"damaged")
    fetch_dataset(entry_of(server), tmp_path / "mine")
    assert (tmp_path / "mine" / "rdm.npz").read_bytes() == CONTENT["there/rdm.npz"]


def test_a_path_that_leaves_the_folder_is_refused(server, tmp_path):
    escape = FetchFile(url="there/one.jpg", sha256="0" * 64)
    with pytest.raises(DatasetError, match="must be a path below"):
        fetch_dataset(entry_of(server, **{"../one.jpg": escape}), tmp_path / "mine")


def test_an_entry_without_files_says_how_the_data_set_is_had(tmp_path):
    entry = DatasetEntry(name="mine", adapter="dissimilarity", modality=None)
    ensure_dataset(entry, tmp_path / "mine")
    with pytest.raises(DatasetError, match="roots"):
        fetch_dataset(entry, tmp_path / "mine")
    gated = entry.model_copy(update={"fetch": FetchSpec(instructions="Sign the form at X.")})
    ensure_dataset(gated, tmp_path / "mine")
    with pytest.raises(DatasetError, match=r"no public files.*Sign the form at X\. Then .*roots"):
        fetch_dataset(gated, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_fetch_that_says_nothing_is_refused():
    for content in ({}, {"base_url": "http://x"}, {"instructions": "", "when_missing": True}):
        with pytest.raises(ValueError, match="give"):
            FetchSpec(**content)


def test_the_command_fetches_and_checks(server, tmp_path):
    content = entry_of(server).model_dump(mode="json", exclude={"name"}) | {"modality": "fmri"}
    content["subjects"] = ["mine-s01"]
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"datasets": {"mine": content}}))
    command = [
        sys.executable,
        str(ROOT / "scripts" / "fetch_dataset.py"),
        # Modalities are looked up in config/, named or not, where the folder defines none.
        *("mine", "--registry", str(ROOT / "config"), str(tmp_path)),
        *("--data", str(tmp_path / "mine")),
    ]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True)
    assert {line.split()[1] for line in listed.stdout.splitlines()} == set(LAYOUT)
    assert not (tmp_path / "mine").exists()
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "fetched" in first.stderr
    assert names(tmp_path / "mine") == set(LAYOUT)
    (tmp_path / "mine" / MANIFEST).unlink()
    command.remove(str(ROOT / "config"))
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0
    assert "left as it is" in second.stderr
    first_file = sorted(LAYOUT)[0]
    (tmp_path / "mine" / first_file).unlink()
    third = subprocess.run(command, capture_output=True, text=True)
    assert third.returncode == 1
    assert f"lacks 1 of {len(LAYOUT)} files, e.g. {first_file}; nothing was fetched" in third.stderr


def test_files_of_some_people_and_sessions_are_chosen_by_their_folders(monkeypatch):
    names = [
        "participants.tsv",
        *(f"sub-0{p}/mask.nii.gz" for p in (1, 2)),
        *(f"sub-0{p}/ses-0{s}/func/betas.nii.gz" for p in (1, 2) for s in (1, 2)),
    ]
    files = {name: RemoteFile(url=f"http://x/{name}") for name in names}
    monkeypatch.setattr(fetch, "list_bucket", lambda bucket: files)
    bucket = FetchBucket(url="http://x", patterns=("*",))
    entry = DatasetEntry(
        name="mine",
        adapter="laion_fmri",
        modality=MODALITIES["none"],
        fetch=FetchSpec(bucket=bucket),
    )
    assert list(fetch.remote_files(entry)) == names
    some = fetch.remote_files(entry, parts=("sub-01", "ses-02"))
    assert list(some) == [
        "participants.tsv",
        "sub-01/mask.nii.gz",
        "sub-01/ses-02/func/betas.nii.gz",
    ]
    with pytest.raises(DatasetError, match="lies in a folder ses-09; there are ses-01, ses-02"):
        fetch.remote_files(entry, parts=("ses-09",))


def test_held_out_sessions_of_laion_fmri_are_in_no_pattern_of_its_bucket():
    entry = Registries([ROOT / "config"]).dataset("laion_fmri", where="test")
    name = "sub-01_{0}_task-images_desc-SingletrialBetas_trials.tsv"
    stem = f"derivatives/glmsingle-tedana/sub-01/{{0}}/func/{name}"
    patterns = entry.fetch.bucket.patterns

    def taken(session):
        return any(fnmatch.fnmatchcase(stem.format(session), pattern) for pattern in patterns)

    assert all(taken(f"ses-{number:02d}") for number in range(1, 31))
    assert not any(taken(session) for session in HELD_OUT)
