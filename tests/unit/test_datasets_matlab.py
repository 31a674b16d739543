"""Claims about MATLAB files: damaged ones end in one clear error, whatever the reader does."""

import base64
import os
import signal
import sys
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from gradbrain.datasets import matlab
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.matlab import read_mat

# Two of 3,000 files with mutated bytes that end a process with scipy 1.17: by SIGSEGV and SIGBUS.
CRASHING = {
    "mutation 1034": (
        "c-r%I4DoSvQZUssQ1EpO(M`+DNmU5QNi0drFUqx2D9A6)tk6+#E=o--Nlj76&$ChpF3nT$%P&(fvQ#iMu`;r"
        ">GBQ&zGB7e@AOkRZ`tkv(89>Yi#2i4(iiDB*j0{W+#RU*;A~5Yh%ml>DK+FOa1F4n3ArF${1Y!-i13uUjqCx"
        "K4faE?lBzriZ=CXk8Vqqvs$t?z%-vGpk;q!Mt{ruW~`fS_EP_MW4OZTU>E<gL)J}5*Z*Rubqz1%52Lv5>j_9"
        "kVEpY8QKU|-%Qs^IJO#QxPyv0156SL|JkF26J~d24@zdBy>jtDEdk3D_^Wa{RtM>-1)Y_WjT7ZGu|nrZl~<k"
        "8oGq|BPXi{T4aaIe*_BvDcW`XjE2q*B$^G`CjM"
    ),
    "mutation 1382": (
        "c-r%I4DoSvQZUssQ1EpO(M`+DNmU5QNi0cQQj}|@P>^4oSs|g|T$GwvlA5BBpJ$~IT$-ogmtUq}WT{|iVr67"
        "$Wn`vcWME{*Kn7s+^yLFmGk};4h&h0m6$vBr85x)uiVJ}32@DJ(FzrCh1jNih%mNhysg(dR00%-Cjs"
    ),
}


def test_arrays_come_as_they_were_saved_with_those_in_structures_and_nothing_else(tmp_path):
    matrices = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    mixed = np.array([1, "x"], dtype=object)
    content = {"rdms": matrices, "ids": np.arange(5), "cell": mixed, "struct": {"a": 1}}
    savemat(tmp_path / "rdms.mat", content, do_compression=True)
    found = read_mat(tmp_path / "rdms.mat")
    assert set(found) == {"rdms", "ids", "struct.a"}
    np.testing.assert_array_equal(found["rdms"], matrices)
    assert found["rdms"].dtype == np.float32
    assert set(read_mat(tmp_path / "rdms.mat", ["ids"])) == {"ids"}


@pytest.mark.parametrize("name", CRASHING)
def test_a_file_that_ends_its_reader_is_named(tmp_path, name):
    path = tmp_path / "damaged.mat"
    path.write_bytes(zlib.decompress(base64.b85decode(CRASHING[name])))
    with pytest.raises(DatasetError, match=r"damaged\.mat: "):
        read_mat(path)


@pytest.mark.parametrize("fault", ["SIGSEGV", "SIGBUS", "SIGKILL"])
def test_a_reader_that_is_ended_by_a_signal_is_no_end_of_the_job(tmp_path, monkeypatch, fault):
    killer = tmp_path / "killer"
    killer.write_text(
        f"#!{sys.executable}\nimport os\nos.kill(os.getpid(), {int(signal.Signals[fault])})\n"
    )
    killer.chmod(0o755)
    monkeypatch.setattr(matlab.sys, "executable", str(killer))
    with pytest.raises(DatasetError, match=rf"x\.mat: is damaged: .* was ended by {fault}; get"):
        read_mat(tmp_path / "x.mat")


def test_a_reader_that_hangs_is_given_up(tmp_path, monkeypatch):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(matlab.sys, "executable", str(sleeper))
    monkeypatch.setattr(matlab, "TIMEOUT_S", 0.2)
    with pytest.raises(DatasetError, match="could not be read in"):
        read_mat(tmp_path / "x.mat")


def test_what_is_no_matlab_file_is_said_to_be_damaged(tmp_path):
    for content in (b"", b"text", os.urandom(500)):
        (tmp_path / "x.mat").write_bytes(content)
        with pytest.raises(DatasetError, match=r"x\.mat: "):
            read_mat(tmp_path / "x.mat")


def test_a_file_that_unpacks_without_measure_is_stopped(tmp_path, monkeypatch):
    zeros = np.zeros((20_000, 20_000), np.int8)
    savemat(tmp_path / "bomb.mat", {"zeros": zeros}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 2**20
    monkeypatch.setattr(matlab, "BASE_BYTES", 512 << 20)
    with pytest.raises(DatasetError, match=r"asks for more memory than a file of its size"):
        read_mat(tmp_path / "bomb.mat")
    savemat(tmp_path / "small.mat", {"zeros": zeros[:100]})
    assert read_mat(tmp_path / "small.mat")["zeros"].shape == (100, 20_000)
