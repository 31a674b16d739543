"""Claims about fetching: whole and checked, or not at all; what exists is never touched."""

import functools
import hashlib
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from gradbrain.config.schema import DatasetEntry, FetchFile, FetchSpec
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.fetch import ensure_dataset, fetch_dataset

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


def entry_of(server, **changed):
    files = {
        relative: FetchFile(url=url, sha256=hashlib.sha256(CONTENT[url]).hexdigest())
        for relative, url in LAYOUT.items()
    }
    fetch = FetchSpec(base_url=server, files={**files, **changed})
    return DatasetEntry(name="mine", adapter="dissimilarity", modality="none", fetch=fetch)


def test_files_arrive_under_their_local_names(server, tmp_path):
    fetch_dataset(entry_of(server), tmp_path / "data" / "mine")
    for relative, url in LAYOUT.items():
        assert (tmp_path / "data" / "mine" / relative).read_bytes() == CONTENT[url]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine"]


def test_a_changed_file_leaves_nothing_behind(server, tmp_path):
    bad = FetchFile(url="there/one.jpg", sha256="0" * 64)
    with pytest.raises(DatasetError, match=r"there/one\.jpg: is not the file .* pins for 'mine'"):
        fetch_dataset(entry_of(server, **{"images/one.jpg": bad}), tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_leaves_nothing_behind(server, tmp_path):
    gone = FetchFile(url="there/gone.jpg", sha256="0" * 64)
    with pytest.raises(DatasetError, match=r"there/gone\.jpg: cannot be fetched.*roots"):
        fetch_dataset(entry_of(server, **{"images/gone.jpg": gone}), tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


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


def test_a_path_that_leaves_the_folder_is_refused(server, tmp_path):
    escape = FetchFile(url="there/one.jpg", sha256="0" * 64)
    with pytest.raises(DatasetError, match="must be a path below"):
        fetch_dataset(entry_of(server, **{"../one.jpg": escape}), tmp_path / "mine")


def test_an_entry_without_fetch_says_what_to_do(tmp_path):
    entry = DatasetEntry(name="mine", adapter="dissimilarity", modality="none")
    ensure_dataset(entry, tmp_path / "mine")
    with pytest.raises(DatasetError, match="roots"):
        fetch_dataset(entry, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_the_command_fetches_once(server, tmp_path):
    content = entry_of(server).model_dump(mode="json", exclude={"name"})
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"datasets": {"mine": content}}))
    command = [
        sys.executable,
        str(ROOT / "scripts" / "fetch_dataset.py"),
        *("mine", "--registry", str(tmp_path)),
        *("--data", str(tmp_path / "mine")),
    ]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "fetched" in first.stderr
    assert len([path for path in (tmp_path / "mine").rglob("*") if path.is_file()]) == 3
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0
    assert "left as it is" in second.stderr
