"""What readers make of damaged files of others: told in one line with the file, never followed."""

from __future__ import annotations

import gzip
import hashlib

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from trees.ctf import write_ctf
from trees.nsd import write_mgh, write_session
from trees.things import ctf_info

from gradbrain.config.schema import DatasetEntry, FetchFile, FetchSpec
from gradbrain.datasets.csv_tables import read_csv
from gradbrain.datasets.errors import DatasetError, reading
from gradbrain.datasets.fif_files import check_fif
from gradbrain.datasets.freesurfer import (
    check_trials,
    read_colour_table,
    read_surface,
    read_vertex_values,
)
from gradbrain.datasets.images import ImageError, read_hdf5_image
from gradbrain.datasets.nifti_files import read_nifti
from gradbrain.datasets.npy_files import open_npy
from gradbrain.datasets.pickled_arrays import read_pickled
from gradbrain.datasets.pinned_files import check_pinned
from gradbrain.datasets.recordings import open_recording, read_rows
from gradbrain.datasets.things_meg_raw import open_recording as open_ctf


def test_memory_that_a_file_asks_for_in_vain_is_told_with_its_size(tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes(b"x" * 2**20)
    with (
        pytest.raises(DatasetError, match=r"a\.nc: asks for more memory .* of 1\.0 MiB"),
        reading(path),
    ):
        raise MemoryError


def test_what_a_reader_of_a_format_says_in_several_lines_is_told_in_one(tmp_path):
    with pytest.raises(DatasetError) as told, reading(tmp_path / "a.nc", remedy="get it again"):
        raise RuntimeError("first\nsecond")
    assert str(told.value) == f"{tmp_path}/a.nc: cannot be read (first second); get it again"


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # pandas would take the first column for row names, and call the others by wrong names.
        ("roi,hemisphere.x\nV1,left,3\nV2,left,4\n", "line 2: 3 fields, the head has 2"),
        ("roi,x\nV1,1\nV2\n", "line 3: 1 fields, the head has 2"),
        ("roi,x\nV1,1\nV2,2,3\n", "line 3: 3 fields"),
        ('roi,x\n"V1,1\nV2,2\n', "unexpected end of data"),
        ("roi,roi\nV1,V2\n", "'roi' is there twice"),
        ("roi,x\nV1,1\nV2,2;5\n", r"row 1 \(from 0\): x is '2;5', expected a number"),
        ("roi,x\nV1,1\nV\udce9,2\n", "decode"),
    ],
)
def test_a_table_whose_rows_do_not_fit_its_head_is_refused(tmp_path, text, told):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=told):
        read_csv(path, numbers=["x"])


def test_a_table_with_quotes_empty_lines_and_a_byte_order_mark_is_read_as_it_is(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('\ufeffimage_id,caption\n1,"a, b\nand c"\n\n2,\n', encoding="utf-8")
    table = read_csv(path)
    assert list(table.columns) == ["image_id", "caption"]
    assert list(table["image_id"]) == [1, 2]
    assert table["caption"][0] == "a, b\nand c"


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [lambda b: b + b"\0", lambda b: b[:-1], lambda b: b[:200] + b[180:]]
)
def test_an_array_longer_or_shorter_than_its_head_says_is_refused(tmp_path, change):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(60.0).reshape(6, 10))
    assert np.array_equal(open_npy(path), np.arange(60.0).reshape(6, 10))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises((ValueError, OSError)):
        open_npy(path)
    with pytest.raises(DatasetError, match=r"a\.npy: cannot be read"):
        open_recording(path, n_dimensions=2)


def test_something_behind_a_pickled_object_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, {"a": 1})
    assert read_pickled(path, what="numbers") == {"a": 1}
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DatasetError, match="stands behind the object"):
        read_pickled(path, what="numbers")


@pytest.mark.filterwarnings("ignore")
def test_a_chunk_of_responses_that_is_gone_is_not_read_as_a_constant(tmp_path):
    path = tmp_path / "a.zarr"
    values = xr.Dataset({"response": (("presentation", "target"), np.ones((8, 4), "int16"))})
    values.to_zarr(path, encoding={"response": {"chunks": (4, 4)}})
    assert open_recording(path, n_dimensions=2).shape == (8, 4)
    (path / "response" / "c" / "1" / "0").unlink()
    with pytest.raises(DatasetError, match="of the 2 chunks of 'response' 1 are there"):
        open_recording(path, n_dimensions=2)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_chunk_is_told_with_its_file(tmp_path):
    path = tmp_path / "a.zarr"
    rng = np.random.default_rng(0)
    xr.Dataset({"response": (("presentation", "target"), rng.random((8, 4)))}).to_zarr(path)
    (path / "response" / "c" / "0" / "0").write_bytes(b"none")
    recording = open_recording(path, n_dimensions=2)
    with pytest.raises(DatasetError, match=r"a\.zarr: cannot be read \(.*; write it again"):
        list(recording.blocks())


@pytest.mark.filterwarnings("ignore")
def test_names_that_are_no_text_are_told_with_their_file(tmp_path):
    path = tmp_path / "a.nc"
    values = xr.Dataset({"response": (("presentation", "target"), np.ones((2, 2)))})
    names = ("presentation", np.array(["one", "two"], dtype=object))
    values.assign_coords(image_id=names).to_netcdf(path)
    assert list(open_recording(path, n_dimensions=2).coordinates["image_id"]) == ["one", "two"]
    path.write_bytes(path.read_bytes().replace(b"two", b"\xfft\xff"))
    with pytest.raises(DatasetError, match=r"a\.nc: cannot be read"):
        open_recording(path, n_dimensions=2)


def test_cells_of_parquet_that_are_no_text_are_told_with_their_file(tmp_path):
    path = tmp_path / "targets.parquet"
    pd.DataFrame({"roi": ["V1", "LOC"], "hemisphere": ["left", "right"]}).to_parquet(path)
    assert list(read_rows(path, columns=("roi",))["roi"]) == ["V1", "LOC"]
    path.write_bytes(path.read_bytes().replace(b"LOC", b"\xffOC"))
    with pytest.raises(DatasetError, match=r"targets\.parquet: cannot be read as a table"):
        read_rows(path, columns=("roi",))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("character", [0x110000, 0xBB2A5265, 0xD800])
def test_characters_that_do_not_exist_are_told_with_their_file(tmp_path, character):
    path = tmp_path / "a.zarr"
    names = np.array(["left", "right"])
    names.view(np.uint32)[1] = character
    values = xr.Dataset({"response": (("presentation", "target"), np.ones((2, 2)))})
    values.assign_coords(hemisphere=("target", names)).to_zarr(path)
    with pytest.raises(DatasetError, match=r"a\.zarr: cannot be read"):
        open_recording(path, n_dimensions=2)


def test_a_damaged_tree_of_hdf5_is_told_with_its_file(tmp_path):
    path = tmp_path / "images.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", data=np.zeros((2, 4, 4, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"SNOD", b"none"))
    with pytest.raises(ImageError, match=r"images\.hdf5: cannot be read as HDF5"):
        read_hdf5_image(path, "imgBrick", 0)


# --- volumes and surfaces -------------------------------------------------------------------------


def test_a_compressed_volume_is_read_to_its_checksum(tmp_path):
    import nibabel

    path = tmp_path / "a.nii.gz"
    values = np.random.default_rng(0).integers(0, 9, (5, 6, 7)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    assert np.array_equal(np.asarray(read_nifti(path).dataobj), values)
    content = bytearray(path.read_bytes())
    # Of the checksum itself: the values are as they were, and nobody can know it.
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.nii\.gz: cannot be read as NIfTI"):
        read_nifti(path)
    plain = gzip.decompress(bytes(content[:-5]) + bytes([content[-5] ^ 1]) + bytes(content[-4:]))
    path.write_bytes(gzip.compress(plain[:400] + plain[390:]))
    with pytest.raises(DatasetError, match="its header says"):
        read_nifti(path)


@pytest.mark.parametrize(("behind", "is_good"), [(16, True), (20, True), (17, False), (96, False)])
def test_behind_the_values_of_a_surface_file_stand_parameters_and_tags_alone(
    tmp_path, behind, is_good
):
    path = tmp_path / "lh.betas.mgh"
    betas = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    write_session(path, betas, width=8)
    content = path.read_bytes()[: 284 + 4 * betas.size]
    path.write_bytes(content + content[-behind:])
    if is_good:
        assert check_trials(path, n_frames=3).n_vertices == 8
        return
    with pytest.raises(DatasetError, match=f"{behind} bytes stand behind its values"):
        check_trials(path, n_frames=3)


def test_compressed_labels_are_read_to_their_checksum(tmp_path):
    path = tmp_path / "lh.streams.mgz"
    write_mgh(path, np.arange(30, dtype=np.int32))
    assert np.array_equal(read_vertex_values(path), np.arange(30))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"lh\.streams\.mgz: cannot be read"):
        read_vertex_values(path)


@pytest.mark.parametrize("lines", ["3 early\n3 high\n", "3 early\n4 early\n"])
def test_a_label_or_a_name_that_is_there_twice_is_refused(tmp_path, lines):
    path = tmp_path / "streams.mgz.ctab"
    path.write_text(f"0 Unknown\n{lines}")
    with pytest.raises(DatasetError, match=r"line 3.* is there already"):
        read_colour_table(path)


def test_a_surface_of_which_a_block_is_there_twice_is_refused(tmp_path):
    import nibabel

    path = tmp_path / "lh.pial"
    points = np.random.default_rng(0).standard_normal((20, 3)) * 30
    nibabel.freesurfer.write_geometry(path, points, np.array([[0, 1, 2]]))
    assert read_surface(path) == pytest.approx(points, abs=1e-4)
    content = path.read_bytes()
    path.write_bytes(content[:150] + content[138:])
    with pytest.raises(DatasetError, match="name vertices that it does not have"):
        read_surface(path)


# --- recordings -----------------------------------------------------------------------------------


def test_epochs_that_lost_a_block_are_refused(tmp_path):
    import mne

    path = tmp_path / "a-epo.fif"
    info = ctf_info(["MLC11-1609", "MLO11-1609"])
    data = np.random.default_rng(0).standard_normal((6, 2, 50))
    mne.EpochsArray(data, info, verbose="error").save(path, verbose="error")
    check_fif(path)
    content = path.read_bytes()
    for changed in (content[:-200], content[:3000] + content[3036:], content + b"\0" * 40, b"x"):
        path.write_bytes(changed)
        with pytest.raises(DatasetError, match=r"a-epo\.fif: cannot be read as epochs"):
            check_fif(path)


def test_a_recording_that_holds_no_whole_samples_is_refused(tmp_path):
    path = tmp_path / "a.ds"
    data = 1e-13 * np.random.default_rng(0).standard_normal((3, 1200))
    write_ctf(path, [f"MLO1{n}-1609" for n in range(3)], data, np.zeros(1200, int), sfreq=1200)
    assert open_ctf(path).n_times == 1200
    meg4 = path / "a.meg4"
    content = meg4.read_bytes()
    meg4.write_bytes(content[:4000] + content[3992:])
    with pytest.raises(DatasetError, match=r"a\.ds: cannot be read as a CTF recording"):
        open_ctf(path)


# --- checksums ------------------------------------------------------------------------------------


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path):
    content = b"1,2\n"
    spec = FetchSpec(
        base_url="https://example.org",
        files={
            name: FetchFile(url=name, sha256=hashlib.sha256(content).hexdigest())
            for name in ("a.csv", "not_needed.csv")
        },
    )
    entry = DatasetEntry(name="mine", adapter="arrays", modality=None, fetch=spec)
    (tmp_path / "a.csv").write_bytes(content)
    check_pinned(entry, tmp_path)
    (tmp_path / "a.csv").write_bytes(b"1,3\n")
    with pytest.raises(DatasetError, match=r"a\.csv: is not the file that the entry .* pins"):
        check_pinned(entry, tmp_path)


def test_tables_of_others_are_as_pandas_reads_them(tmp_path):
    path = tmp_path / "a.csv"
    table = pd.DataFrame({"a": [1.5, np.nan], "b": ["x, y", 'z"']})
    table.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_csv(path, numbers=["a"]), table)
