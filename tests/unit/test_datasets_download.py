"""Claims about downloads: cut transfers go on where they were cut, and every byte is checked.

The server answers ranges as S3 does, and can be told to break off in the middle of a file.
"""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import numpy as np
import pytest
import requests
from trees.modalities import MODALITIES

from gradbrain.config.schema import DatasetEntry, FetchBucket, FetchSpec
from gradbrain.datasets import download as downloads
from gradbrain.datasets import public_http
from gradbrain.datasets.bucket import list_bucket
from gradbrain.datasets.download import DownloadError, RemoteFile, download
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.fetch import MANIFEST, fetch_dataset, remote_files
from gradbrain.datasets.public_http import BLOCK_BYTES, TooMuchError

CONTENT = np.random.default_rng(0).bytes(300_000)
WHOLE_BLOCKS = 2 * BLOCK_BYTES
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Bucket(ThreadingHTTPServer):
    """A public bucket: objects by key, and what went on."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects = {}
        self.breaks = []
        self.ignores_ranges = False
        self.page = 1000
        self.log = []
        # Faults: what a bad server, or one that changed, would do.
        self.endless = False
        self.drips = False
        self.stale_range = False
        self.circle = False
        self.moved = ""
        self.sizes = {}
        self.credentials = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/things"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        address = urlsplit(self.path)
        self.server.credentials.append(self.headers.get("Authorization"))
        if self.server.moved and not address.path.startswith(self.server.moved):
            self.send_response(302)
            self.send_header("Location", self.server.moved + self.path)
            self.end_headers()
            return
        if self.server.moved:
            address = address._replace(path=address.path.removeprefix(self.server.moved))
        if address.query:
            self.list_objects(parse_qs(address.query))
            return
        content = self.server.objects.get(unquote(address.path).removeprefix("/things/"))
        if content is None:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.server.log.append(wanted)
        start = 0
        if self.server.endless or self.server.drips:
            self.send_response(200)
            self.end_headers()
            self.send_without_end(content)
            return
        if wanted and not self.server.ignores_ranges:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if self.server.stale_range and start:
            start = 0
            self.send_header("Content-Range", f"bytes 0-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = self.server.breaks.pop(0) if self.server.breaks else len(content)
        self.wfile.write(content[start:stop])

    def send_without_end(self, content):
        """Send bytes until the other side has enough: all at once, or one now and then."""
        try:
            while True:
                self.wfile.write(content[:1] if self.server.drips else content)
                if self.server.drips:
                    threading.Event().wait(0.01)
        except OSError:
            return

    def list_objects(self, query):
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(k for k in self.server.objects if k.startswith(prefix) and k > after)
        shown = keys[: self.server.page]
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key>"
            f"<Size>{self.server.sizes.get(key, len(self.server.objects[key]))}</Size>"
            f"<ETag>&quot;{etag_of(self.server.objects[key])}&quot;</ETag></Contents>"
            for key in shown
        )
        if self.server.circle:
            items += "<NextContinuationToken>again</NextContinuationToken>"
        elif len(keys) > len(shown):
            items += f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>"
        body = (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{items}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing: requests are looked at in the server's log."""


def etag_of(content, part_bytes=8 << 20):
    """Make the entity tag of S3: of one piece up to 8 MiB, of parts above."""
    if len(content) <= part_bytes:
        return hashlib.md5(content).hexdigest()
    parts = [content[i : i + part_bytes] for i in range(0, len(content), part_bytes)]
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f"{whole}-{len(parts)}"


@pytest.fixture
def bucket():
    with Bucket() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        running.objects["ds1/betas.npy"] = CONTENT
        yield running
        running.shutdown()
        thread.join()


def remote(bucket, **known):
    return RemoteFile(url=f"{bucket.url}/ds1/betas.npy", **({"sha256": SHA256} | known))


def test_a_broken_transfer_goes_on_where_it_broke(bucket, tmp_path):
    bucket.breaks = [100_000, 250_000]
    seen = []
    download(remote(bucket), tmp_path / "betas.npy", progress=seen.append)
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT
    starts = [0 if wanted is None else int(wanted[6:-1]) for wanted in bucket.log]
    assert len(starts) == 3
    # Nothing is asked for twice: each request starts at the first byte that is lacking.
    assert starts == sorted(set(starts))
    assert starts[1] <= 100_000 < starts[2] <= 250_000
    assert sum(seen) == len(CONTENT)


def test_a_later_call_goes_on_with_the_bytes_of_an_earlier_one(bucket, tmp_path):
    (tmp_path / "betas.npy.part").write_bytes(CONTENT[:123_456])
    seen = []
    download(remote(bucket), tmp_path / "betas.npy", progress=seen.append)
    assert bucket.log == ["bytes=123456-"]
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT
    assert sum(seen) == len(CONTENT)


def test_a_file_that_breaks_without_progress_is_given_up_and_kept(bucket, tmp_path):
    bucket.breaks = [WHOLE_BLOCKS] + [0] * 10
    with pytest.raises(DownloadError, match=r"broke off after 131072 bytes .* call again"):
        download(remote(bucket), tmp_path / "betas.npy", progress=len_of)
    assert (tmp_path / "betas.npy.part").read_bytes() == CONTENT[:WHOLE_BLOCKS]
    assert not (tmp_path / "betas.npy").exists()


def len_of(_):
    """Take what a progress bar would."""


def test_a_part_of_an_older_file_is_not_joined_with_a_newer_one(bucket, tmp_path):
    (tmp_path / "betas.npy.part").write_bytes(b"older" * 1000)
    download(remote(bucket), tmp_path / "betas.npy", progress=len_of)
    assert bucket.log == ["bytes=5000-", None]
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_fetched_anew(bucket, tmp_path):
    (tmp_path / "betas.npy.part").write_bytes(CONTENT + b"more")
    download(remote(bucket), tmp_path / "betas.npy", progress=len_of)
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_file_from_the_start(bucket, tmp_path):
    bucket.ignores_ranges = True
    (tmp_path / "betas.npy.part").write_bytes(CONTENT[:1000])
    seen = []
    download(remote(bucket), tmp_path / "betas.npy", progress=seen.append)
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT
    assert sum(seen) == len(CONTENT)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"sha256": "0" * 64}, "its SHA-256 is"),
        ({"sha256": None, "n_bytes": 7}, "announces 300000 bytes, expected 7"),
        ({"sha256": None, "etag": "0" * 32}, "its MD5 does not give the entity tag"),
    ],
)
def test_other_content_is_removed_and_named(bucket, tmp_path, known, message):
    with pytest.raises(DownloadError, match=message):
        download(remote(bucket, **known), tmp_path / "betas.npy", progress=len_of)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mib", [5, 8])
def test_the_entity_tag_of_an_upload_in_parts_is_checked(tmp_path, mib):
    content = np.random.default_rng(1).bytes(11 << 20)
    (tmp_path / "big").write_bytes(content)
    etag = etag_of(content, part_bytes=mib << 20)
    file = RemoteFile(url="x", etag=etag)
    assert downloads.find_fault(tmp_path / "big", file) == ""
    (tmp_path / "big").write_bytes(content[:-1] + b"?")
    assert "entity tag" in downloads.find_fault(tmp_path / "big", file)


def test_a_listing_has_every_page_and_only_what_matches(bucket):
    bucket.page = 2
    for number in range(1, 6):
        bucket.objects[f"ds1/preprocessed/P{number}-epo.fif"] = bytes(number)
    bucket.objects["ds1/preprocessed/P1 & more.txt"] = b"not asked for"
    bucket.objects["ds2/preprocessed/P9-epo.fif"] = b"of another data set"
    found = list_bucket(
        FetchBucket(url=bucket.url, prefix="ds1", patterns=["preprocessed/P*-epo.fif"])
    )
    assert list(found) == [f"preprocessed/P{number}-epo.fif" for number in range(1, 6)]
    assert [file.n_bytes for file in found.values()] == [1, 2, 3, 4, 5]
    with pytest.raises(DownloadError, match=r"holds no file that matches 'raw/\*'"):
        list_bucket(FetchBucket(url=bucket.url, prefix="ds1", patterns=["raw/*"]))


def test_an_interrupted_fetch_of_a_bucket_is_finished_by_the_next_call(bucket, tmp_path):
    bucket.objects["ds1/table 1.csv"] = b"a,b\n"
    entry = DatasetEntry(
        name="mine",
        adapter="arrays",
        modality=MODALITIES["none"],
        fetch=FetchSpec(bucket=FetchBucket(url=bucket.url, prefix="ds1", patterns=["*"])),
    )
    bucket.breaks = [WHOLE_BLOCKS] + [0] * 10
    with pytest.raises(DatasetError, match="broke off after 131072 bytes"):
        fetch_dataset(entry, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    bucket.breaks, bucket.log = [], []
    fetch_dataset(entry, tmp_path / "mine")
    assert (tmp_path / "mine" / "betas.npy").read_bytes() == CONTENT
    assert (tmp_path / "mine" / "table 1.csv").read_bytes() == b"a,b\n"
    assert bucket.log[0] == f"bytes={WHOLE_BLOCKS}-"


def test_a_server_that_sends_more_than_it_announced_is_stopped(bucket, tmp_path):
    bucket.endless = True
    with pytest.raises(TooMuchError, match="sends more than the 300000 bytes"):
        download(remote(bucket, n_bytes=300_000), tmp_path / "betas.npy", progress=len_of)
    assert not (tmp_path / "betas.npy").exists()
    assert (tmp_path / "betas.npy.part").stat().st_size <= 300_000


def test_a_file_of_which_nobody_says_the_size_has_a_limit_all_the_same(
    bucket, tmp_path, monkeypatch
):
    bucket.endless = True
    monkeypatch.setattr(downloads, "MOST_UNANNOUNCED", 1 << 20)
    with pytest.raises(TooMuchError, match="more than the 1048576 bytes"):
        download(remote(bucket), tmp_path / "betas.npy", progress=len_of)
    assert (tmp_path / "betas.npy.part").stat().st_size <= 1 << 20


def test_a_transfer_that_drips_is_given_up(bucket, tmp_path, monkeypatch):
    bucket.drips = True
    monkeypatch.setattr(public_http, "PATIENCE_S", 0.2)
    with pytest.raises(DownloadError, match=r"bytes per second over the last .* expected 1024"):
        download(remote(bucket, n_bytes=300_000), tmp_path / "betas.npy", progress=len_of)
    assert len(bucket.log) == downloads.MAX_IDLE_ATTEMPTS


def test_a_listing_that_drips_is_given_up(bucket, monkeypatch):
    monkeypatch.setattr(public_http, "PATIENCE_S", 0.2)
    monkeypatch.setattr(public_http, "LEAST_BYTES_PER_S", 1 << 40)
    monkeypatch.setattr(public_http, "BLOCK_BYTES", 1)
    bucket.objects |= {f"ds1/{number:05}": b"" for number in range(1000)}
    bucket.page = 10_000
    with pytest.raises(DownloadError, match=r"cannot be listed .*bytes per second"):
        list_bucket(FetchBucket(url=bucket.url, prefix="ds1", patterns=["*"]))


def test_a_stale_part_of_a_file_without_checksum_is_started_anew(bucket, tmp_path):
    (tmp_path / "betas.npy.part").write_bytes(b"older" * 100_000)
    seen = []
    file = remote(bucket, sha256=None)
    download(file, tmp_path / "betas.npy", progress=seen.append)
    assert bucket.log == ["bytes=500000-", None]
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT
    assert sum(seen) == len(CONTENT)


def test_a_part_that_is_the_whole_file_is_not_fetched_again(bucket, tmp_path):
    (tmp_path / "betas.npy.part").write_bytes(CONTENT)
    download(remote(bucket, n_bytes=len(CONTENT)), tmp_path / "betas.npy", progress=len_of)
    assert bucket.log == []
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT


def test_another_range_than_was_asked_for_is_not_joined(bucket, tmp_path):
    bucket.stale_range = True
    (tmp_path / "betas.npy.part").write_bytes(CONTENT[:1000])
    download(remote(bucket, sha256=None), tmp_path / "betas.npy", progress=len_of)
    assert (tmp_path / "betas.npy").read_bytes() == CONTENT


@pytest.mark.parametrize("moved", ["", "/elsewhere"])
def test_no_credentials_of_this_machine_are_sent(bucket, tmp_path, monkeypatch, moved):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # What is not sent would be, else.
    assert requests.utils.get_netrc_auth(bucket.url) == ("me", "secret")
    bucket.moved = moved
    download(remote(bucket), tmp_path / "betas.npy", progress=len_of)
    list_bucket(FetchBucket(url=bucket.url, prefix="ds1", patterns=["*"]))
    assert len(bucket.credentials) >= 2
    assert set(bucket.credentials) == {None}


def test_a_listing_that_goes_in_a_circle_ends(bucket):
    bucket.circle = True
    with pytest.raises(DownloadError, match=r"goes in a circle: .*'again' came twice"):
        list_bucket(FetchBucket(url=bucket.url, prefix="ds1", patterns=["*"]))


@pytest.mark.parametrize("size", ["", "-1", "many", "1e3", "٣"])
def test_a_listed_size_that_is_none_is_refused(bucket, size):
    bucket.sizes["ds1/betas.npy"] = size
    with pytest.raises(DownloadError, match="expected a key and a number"):
        list_bucket(FetchBucket(url=bucket.url, prefix="ds1", patterns=["*"]))


@pytest.mark.parametrize(
    "key",
    [
        "../outside",
        "a/../../outside",
        "./a",
        "a//b",
        "/etc/passwd",
        "a\nb",
        "a\\b",
        "a\x7f",
        "x" * 300,
        "betas.npy/inside",
        "betas.npy.part",
        MANIFEST,
    ],
)
def test_odd_names_of_objects_are_refused_before_anything_is_written(bucket, tmp_path, key):
    bucket.objects[f"ds1/{key}"] = b"content"
    entry = DatasetEntry(
        name="mine",
        adapter="arrays",
        modality=MODALITIES["none"],
        fetch=FetchSpec(bucket=FetchBucket(url=bucket.url, prefix="ds1", patterns=["*"])),
    )
    with pytest.raises(DatasetError, match="data set 'mine': fetch: "):
        fetch_dataset(entry, tmp_path / "data" / "mine")
    assert list(tmp_path.rglob("*")) == []


def test_an_address_with_a_password_is_refused():
    fetch = FetchSpec(bucket=FetchBucket(url="https://me:secret@host/bucket", patterns=["*"]))
    entry = DatasetEntry(name="mine", adapter="arrays", modality=None, fetch=fetch)
    with pytest.raises(DatasetError, match="public files need none") as refused:
        remote_files(entry)
    assert "secret" not in str(refused.value)


def test_a_bucket_that_cannot_be_reached_is_named():
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9: cannot be listed"):
        list_bucket(FetchBucket(url="http://127.0.0.1:9", patterns=["*"]))
