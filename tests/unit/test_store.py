import hashlib
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gradbrain.store import (
    ColumnStore,
    Statistics,
    StoreError,
    StreamingStore,
    atomic_path,
    column_store,
    open_store,
    open_tree,
    read_statistics,
    read_table,
    write_statistics,
    write_store,
    write_table,
    write_tree,
)
from gradbrain.vocabulary.artefacts import columns_of


def example(seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {"response": (("image", "target"), rng.standard_normal((12, 5)).astype("float32"))},
        coords={
            "image_id": ("image", [f"image-{k:02d}" for k in range(12)]),
            "group": ("image", [f"photograph-{k // 3}" for k in range(12)]),
            "n_repeats": ("image", np.full(12, 3)),
            "roi": ("target", ["V1", "V1", "V2", "V2", "höher"]),
        },
        attrs={"subject": "s1", "roi_order": ["V1", "V2"], "distance": np.float32(2.5)},
    )


def files_below(path):
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def size(file):
    return file.stat().st_size


def test_what_is_written_is_read_back(tmp_path):
    digest = write_store(tmp_path / "a.zarr", example(), kind="responses")
    read = open_store(tmp_path / "a.zarr", kind="responses", verify=True)
    np.testing.assert_array_equal(read.response, example().response)
    assert list(read.roi.values) == ["V1", "V1", "V2", "V2", "höher"]
    assert set(read.coords) == {"image_id", "group", "n_repeats", "roi"}
    assert read.attrs == {
        "subject": "s1", "roi_order": ["V1", "V2"], "distance": 2.5, "digest": digest
    }  # fmt: skip


def test_equal_data_give_equal_bytes_and_digests_whenever_they_are_written(tmp_path):
    first = write_store(tmp_path / "a.zarr", example(), kind="responses", provenance={"run": 1})
    second = write_store(tmp_path / "b.zarr", example(), kind="responses", provenance={"run": 2})
    assert first == second != write_store(tmp_path / "c.zarr", example(1), kind="responses")
    for file in files_below(tmp_path / "a.zarr"):
        twin = tmp_path / "b.zarr" / file.relative_to(tmp_path / "a.zarr")
        assert file.read_bytes() == twin.read_bytes()
    assert json.loads((tmp_path / "a.zarr.provenance.json").read_text())["run"] == 1


def test_a_large_store_is_a_handful_of_files(tmp_path):
    rng = np.random.default_rng(0)
    dataset = xr.Dataset(
        {
            "score": (("score_row", "target"), rng.random((13, 20000), dtype="float32")),
            "boot": (("draw", "target"), rng.random((500, 20000), dtype="float32")),
        },
        coords={
            "roi": ("target", np.repeat(["V1", "V2"], 10000)),
            "measure": ("score_row", [f"m{k}" for k in range(13)]),
        },
    )
    write_store(tmp_path / "a.zarr", dataset, kind="feedback")
    assert len(files_below(tmp_path / "a.zarr")) <= 15


@pytest.mark.parametrize("damage", ["delete a shard", "cut a shard", "no mark", "foreign", "gone"])
def test_a_damaged_store_is_refused_by_name_with_the_way_to_rebuild_it(tmp_path, damage):
    path = tmp_path / "a.zarr"
    write_store(path, example(), kind="responses")
    shard = max(files_below(path / "response" / "c"), key=size)
    if damage == "delete a shard":
        shard.unlink()
    elif damage == "cut a shard":
        os.truncate(shard, size(shard) - 1)
    elif damage == "no mark":
        metadata = json.loads((path / "zarr.json").read_text())
        del metadata["attributes"]["gradbrain"]
        (path / "zarr.json").write_text(json.dumps(metadata))
    elif damage == "foreign":
        (path / "zarr.json").write_text("{}")
    else:
        path.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError) as error:
        open_store(path, kind="responses")
    assert str(path) in str(error.value)
    assert "snakemake" in str(error.value)


def test_changed_bytes_of_the_same_length_are_found_when_verified(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, example(), kind="responses")
    shard = max(files_below(path / "response" / "c"), key=size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.zarr"):
        open_store(path, kind="responses", verify=True)


def test_changed_bytes_are_never_read_as_data(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, example(), kind="responses")
    shard = max(files_below(path / "response" / "c"), key=size)
    whole = shard.read_bytes()
    expected = example().response.values
    for position in range(0, len(whole), 7):
        content = bytearray(whole)
        content[position] ^= 0x10
        shard.write_bytes(content)
        try:
            found = open_store(path, kind="responses").response.values
        except Exception:  # which error depends on the byte
            continue
        np.testing.assert_array_equal(found, expected)


def test_every_file_is_listed_with_its_size_and_digest_metadata_included(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, example(), kind="responses")
    mark = json.loads((path / "zarr.json").read_text())["attributes"]["gradbrain"]
    found = {str(file.relative_to(path)): file.read_bytes() for file in files_below(path)}
    del found["zarr.json"]
    assert mark["files"] == {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in found.items()
    }
    assert any(name.endswith("zarr.json") for name in mark["files"])


@pytest.mark.parametrize("file", ["zarr.json", "response/zarr.json", "swapped", "added"])
def test_edited_metadata_and_swapped_files_are_found_when_verified(tmp_path, file):
    path = tmp_path / "a.zarr"
    write_store(path, example(), kind="responses")
    if file == "swapped":
        # Same size, a valid shard, other values.
        write_store(tmp_path / "b.zarr", example(1), kind="responses")
        shard = max(files_below(tmp_path / "b.zarr" / "response" / "c"), key=size)
        target = path / shard.relative_to(tmp_path / "b.zarr")
        if size(shard) != size(target):
            pytest.fail("the two shards must be of one size for this test")
        target.write_bytes(shard.read_bytes())
    elif file == "added":
        (path / "more").write_text("x")
    else:
        metadata = json.loads((path / file).read_text())
        metadata["attributes"]["subject"] = "s2"
        (path / file).write_text(json.dumps(metadata, indent=1))
    # Sizes may differ for metadata of arrays, which is found at once.
    with pytest.raises(StoreError, match=r"a\.zarr"):
        open_store(path, kind="responses", verify=True)


def test_arrays_that_the_kind_does_not_declare_so_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(StoreError, match="'responses' holds 'n_repeats' with dimensions"):
        write_store(tmp_path / "a.zarr", example().drop_vars("n_repeats"), kind="responses")
    turned = example().rename(target="voxel")
    with pytest.raises(StoreError, match=r"'response' has dimensions \('image', 'voxel'\)"):
        write_store(tmp_path / "a.zarr", turned, kind="responses")
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_an_earlier_version_is_told_apart_by_one_line(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, example(), kind="responses")
    metadata = json.loads((path / "zarr.json").read_text())
    # Marks of then were not sealed.
    del metadata["attributes"]["gradbrain"]["seal"]
    for version, told in ((1, "version 1 of its kind"), (None, "an earlier layout of results")):
        metadata["attributes"]["gradbrain"]["version"] = version
        (path / "zarr.json").write_text(json.dumps(metadata))
        with pytest.raises(StoreError, match=told) as error:
            open_store(path, kind="responses")
        assert "\n" not in str(error.value)
        assert "scripts/migrate_results.py" in str(error.value)


def test_a_group_may_lie_in_a_group(tmp_path):
    tree = xr.DataTree.from_dict({"/a/b": xr.Dataset({"score": ("target", [1.0, 2.0])})})
    write_tree(tmp_path / "a.zarr", tree, kind="feedback")
    read = open_tree(tmp_path / "a.zarr", kind="feedback", verify=True)
    assert read["a/b"]["score"].values.tolist() == [1.0, 2.0]


def test_a_tree_comes_back_group_by_group_whatever_groups_are_called(tmp_path):
    tree = xr.DataTree.from_dict(
        {
            "/": xr.Dataset(coords={"depth": ("layer", [0.5, 1.0])}, attrs={"study": "s"}),
            "/a_b": xr.Dataset({"score": ("target", [1.0, 2.0])}, attrs={"axis": "roi"}),
            "/score": xr.Dataset({"score": ("target", [3.0])}, attrs={"axis": "time"}),
        }
    )
    digest = write_tree(tmp_path / "a.zarr", tree, kind="feedback")
    read = open_tree(tmp_path / "a.zarr", kind="feedback", verify=True)
    assert set(read.children) == {"a_b", "score"}
    assert read.attrs == {"study": "s", "digest": digest}
    assert read["score"].attrs == {"axis": "time"}
    assert read["score"]["score"].values.tolist() == [3.0]
    assert open_store(tmp_path / "a.zarr", kind="feedback").attrs["study"] == "s"
    tree["score"].attrs["axis"] = "roi"
    assert write_tree(tmp_path / "b.zarr", tree, kind="feedback") != digest
    shutil.rmtree(tmp_path / "a.zarr" / "score" / "score" / "c")
    with pytest.raises(StoreError, match="its file score/score/c"):
        open_tree(tmp_path / "a.zarr", kind="feedback")


def scores_of_units(values, units):
    return xr.DataArray([values], dims=("layer", "unit"), coords={"layer": ["l"], "unit": units})


def statistics(n_subjects=2, n_draws=4):
    rows = pd.DataFrame(dict.fromkeys(columns_of("hierarchy"), ""), index=range(n_subjects))
    rows = rows.assign(
        dataset=[f"d{k}" for k in range(n_subjects)], statistic="score_at_peak", value=1.0, n=3
    )
    rng = np.random.default_rng(0)
    boot, null = rng.standard_normal((2, n_subjects, n_draws))
    null[1, 2] = np.nan
    maps = {
        0: scores_of_units([1.0, 2.0], ["V1", "V2"]),
        1: scores_of_units([3.0], ["0.1"]),
    }
    return Statistics(rows, boot, null, maps)


def test_statistics_come_back_with_their_draws_and_maps(tmp_path):
    written = statistics()
    table, draws = tmp_path / "h.parquet", tmp_path / "h.zarr"
    write_statistics(table, draws, written, attrs={"model": "m"})
    read = read_statistics([table, table], [draws, draws])
    assert len(read.table) == 4
    np.testing.assert_array_equal(read.boot, np.concatenate([written.boot] * 2))
    np.testing.assert_array_equal(read.null, np.concatenate([written.null] * 2))
    assert read.maps[2].sel(unit="V2").item() == 2.0
    assert read.maps[3].values.tolist() == [[3.0]]
    part = read.of(read.table.iloc[[3, 0]])
    np.testing.assert_array_equal(part.boot, written.boot[[1, 0]])


def test_draws_of_another_run_than_their_table_are_refused(tmp_path):
    table, draws = tmp_path / "h.parquet", tmp_path / "h.zarr"
    write_statistics(table, draws, statistics(), attrs={})
    write_statistics(tmp_path / "x.parquet", draws, statistics(n_subjects=3), attrs={})
    with pytest.raises(StoreError, match="they are of different runs"):
        read_statistics([table], [draws])
    write_statistics(table, draws, statistics(), attrs={})
    write_statistics(tmp_path / "x.parquet", tmp_path / "x.zarr", statistics(n_draws=5), attrs={})
    with pytest.raises(StoreError, match=r"hold \[4, 5\] draws"):
        read_statistics([table, tmp_path / "x.parquet"], [draws, tmp_path / "x.zarr"])


def test_a_store_of_another_kind_is_refused(tmp_path):
    write_store(tmp_path / "a.zarr", example(), kind="responses")
    with pytest.raises(StoreError, match="holds 'responses', expected 'features'"):
        open_store(tmp_path / "a.zarr", kind="features")


def test_values_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path):
    dataset = example()
    dataset.response[3, 2] = np.nan
    with pytest.raises(StoreError, match="'response' holds 1 of 60 values"):
        write_store(tmp_path / "a.zarr", dataset, kind="responses")
    assert list(tmp_path.iterdir()) == []
    dataset.response.attrs["missing_allowed"] = True
    write_store(tmp_path / "a.zarr", dataset, kind="responses")
    assert np.isnan(open_store(tmp_path / "a.zarr", kind="responses").response[3, 2])


def test_a_failed_write_leaves_the_old_store_as_it_was(tmp_path):
    path = tmp_path / "a.zarr"
    digest = write_store(path, example(), kind="responses")
    bad = example()
    bad.response[0, 0] = np.inf
    with pytest.raises(StoreError):
        write_store(path, bad, kind="responses")
    assert open_store(path, kind="responses", verify=True).attrs["digest"] == digest


def test_stale_temporary_siblings_are_swept(tmp_path):
    stale = tmp_path / ".a.zarr.gradbrain-partial-0badcafe"
    stale.mkdir()
    (stale / "chunk").write_text("half")
    write_store(tmp_path / "a.zarr", example(), kind="responses")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def stream(path, rows, batch, attrs=None):
    with StreamingStore(
        path,
        kind="feedback",
        template={"activation": (("image", "feature"), rows.shape, "float32")},
        coords={"image_id": (("image",), np.array([f"i{k}" for k in range(len(rows))]))},
        attrs=attrs or {},
    ) as store:
        for start in range(0, len(rows), batch):
            store.write_rows(start, {"activation": rows[start : start + batch]})
        return store.finish()


def test_a_streamed_store_does_not_depend_on_its_batches_and_equals_a_store_written_at_once(
    tmp_path,
):
    rows = np.random.default_rng(0).standard_normal((103, 7)).astype("float32")
    digests = {stream(tmp_path / f"{batch}.zarr", rows, batch) for batch in (1, 10, 103)}
    at_once = xr.Dataset(
        {"activation": (("image", "feature"), rows)},
        coords={"image_id": ("image", [f"i{k}" for k in range(103)])},
    )
    digests.add(write_store(tmp_path / "once.zarr", at_once, kind="feedback"))
    assert len(digests) == 1
    read = open_store(tmp_path / "10.zarr", kind="feedback", verify=True)
    np.testing.assert_array_equal(read.activation, rows)


def test_arrays_that_are_known_beforehand_lie_beside_those_that_are_streamed(tmp_path):
    rows = np.arange(12.0).reshape(6, 2)
    known = {"part/centre": (("width",), np.array([1.0, 2.0])), "part/mean": ((), np.array(3.0))}

    def written(path, known, rows):
        with StreamingStore(
            path,
            kind="feedback",
            template={"part/values": (("image", "value"), rows.shape, rows.dtype)},
            coords={"image_id": (("image",), np.array(list("abcdef")))},
            attrs={},
            whole=known,
        ) as store:
            for start in (0, 4):
                store.write_rows(start, {"part/values": rows[start : start + 4]})
            return store.finish()

    digest = written(tmp_path / "a.zarr", known, rows)
    found = open_tree(tmp_path / "a.zarr", kind="feedback", verify=True)
    assert found.attrs["digest"] == digest and list(found.coords) == ["image_id"]
    np.testing.assert_array_equal(found["part/values"], rows)
    np.testing.assert_array_equal(found["part/centre"], [1.0, 2.0])
    assert float(found["part/mean"]) == 3.0
    other = {**known, "part/mean": ((), np.array(4.0))}
    assert written(tmp_path / "b.zarr", other, rows) != digest
    other["part/mean"] = ((), np.array(np.nan))
    with pytest.raises(StoreError, match="'part/mean' holds 1 of 1 values that are not finite"):
        written(tmp_path / "c.zarr", other, rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_a_stream_larger_than_a_shard_is_read_back(tmp_path):
    rows = np.random.default_rng(0).standard_normal((9000, 1024)).astype("float32")
    stream(tmp_path / "a.zarr", rows, 700)
    read = open_store(tmp_path / "a.zarr", kind="feedback", verify=True)
    np.testing.assert_array_equal(read.activation[[0, 5000, 8999]], rows[[0, 5000, 8999]])


def test_a_stream_that_is_cut_short_leaves_nothing(tmp_path):
    rows = np.ones((10, 3), dtype="float32")
    with (
        pytest.raises(StoreError, match="5 rows of 'activation' were written, expected 10"),
        StreamingStore(
            tmp_path / "a.zarr",
            kind="feedback",
            template={"activation": (("image", "feature"), (10, 3), "float32")},
            coords={},
            attrs={},
        ) as store,
    ):
        store.write_rows(0, {"activation": rows[:5]})
        store.finish()
    assert list(tmp_path.iterdir()) == []


def test_rows_out_of_order_are_refused(tmp_path):
    rows = np.ones((10, 3), dtype="float32")
    with (
        pytest.raises(StoreError, match="expected start 0"),
        StreamingStore(
            tmp_path / "a.zarr",
            kind="feedback",
            template={"activation": (("image", "feature"), (10, 3), "float32")},
            coords={},
            attrs={},
        ) as store,
    ):
        store.write_rows(5, {"activation": rows[5:]})


def stream_columns(path, columns, batch, *, announced=None, rest=None):
    with ColumnStore(
        path,
        kind="feedback",
        name="response",
        dims=("image", "target"),
        n_rows=len(columns),
        max_columns=announced or columns.shape[1],
    ) as store:
        for start in range(0, columns.shape[1], batch):
            store.append(columns[:, start : start + batch])
        return store.finish(xr.Dataset(attrs={"subject": "s1"}) if rest is None else rest)


def test_a_store_streamed_by_column_does_not_depend_on_its_batches(tmp_path, monkeypatch):
    # Chunks of 100 columns.
    monkeypatch.setattr(column_store, "COLUMN_CHUNK_BYTES", 4 * 1000 * 100)
    columns = np.random.default_rng(0).standard_normal((1000, 350)).astype("float32")
    rest = xr.Dataset(
        {"noise_ceiling": ("target", np.linspace(0, 1, 350))},
        coords={"roi": ("target", ["V1"] * 350), "image_id": ("image", np.arange(1000))},
        attrs={"subject": "s1"},
    )
    digests = {
        stream_columns(tmp_path / f"{batch}.zarr", columns, batch, announced=400, rest=rest)
        for batch in (1, 70, 350)
    }
    assert len(digests) == 1
    read = open_store(tmp_path / "70.zarr", kind="feedback", verify=True)
    np.testing.assert_array_equal(read.response, columns)
    assert set(read.coords) == {"roi", "image_id"}
    assert read.attrs == {"subject": "s1", "digest": digests.pop()}
    assert len(files_below(tmp_path / "70.zarr")) <= 15


def test_chunks_of_columns_are_of_one_width_and_hardly_padded(tmp_path, monkeypatch):
    # Chunks of at most 100 columns: of 240, three of 80 and not two of 100 and one of 40.
    monkeypatch.setattr(column_store, "COLUMN_CHUNK_BYTES", 4 * 1000 * 100)
    columns = np.random.default_rng(0).standard_normal((1000, 240)).astype("float32")
    columns[:, 80:160] = 0
    stream_columns(tmp_path / "a.zarr", columns, 120)
    chunks = [size(file) for file in files_below(tmp_path / "a.zarr" / "response" / "c")]
    # Chunks of zeros are written too: a lost file is never data. Each ends in its checksum.
    assert chunks == [4 * 1000 * 80 + 4] * 3
    read = open_store(tmp_path / "a.zarr", kind="feedback", verify=True)
    np.testing.assert_array_equal(read.response, columns)


def test_columns_that_are_not_finite_are_refused_before_more_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(column_store, "COLUMN_CHUNK_BYTES", 4 * 10 * 2)
    columns = np.ones((10, 8), dtype="float32")
    columns[0, 1] = np.inf
    with (
        pytest.raises(StoreError, match="'response' holds 1 of 20"),
        ColumnStore(
            tmp_path / "a.zarr",
            kind="feedback",
            name="response",
            dims=("image", "target"),
            n_rows=10,
            max_columns=8,
        ) as store,
    ):
        store.append(columns[:, :2])
        store.append(columns[:, 2:4])
        pytest.fail("the second chunk was taken")
    assert list(tmp_path.iterdir()) == []


def test_changed_columns_are_found_when_verified(tmp_path):
    path = tmp_path / "a.zarr"
    columns = np.random.default_rng(0).standard_normal((30, 50)).astype("float32")
    stream_columns(path, columns, 7)
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["gradbrain"]["digest"] = "0" * 64
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="was changed or damaged"):
        open_store(path, kind="feedback", verify=True)
    stream_columns(path, columns, 7)
    shard = max(files_below(path / "response" / "c"), key=size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.zarr"):
        open_store(path, kind="feedback", verify=True)


def test_finite_values_whose_sum_overflows_are_kept(tmp_path):
    columns = np.full((4, 3), np.finfo(np.float32).max)
    stream_columns(tmp_path / "a.zarr", columns, 2)
    read = open_store(tmp_path / "a.zarr", kind="feedback", verify=True)
    np.testing.assert_array_equal(read.response, columns)


@pytest.mark.parametrize("fault", ["rows", "too many", "NaN", "coordinates"])
def test_columns_that_do_not_fit_leave_nothing(tmp_path, fault):
    columns = np.ones((10, 6), dtype="float32")
    announced, rest = 6, None
    message = {
        "rows": r"have shape \(10, 2\), expected \(9, any number\)",
        "too many": "6 columns of 'response' were given, announced were 4",
        "NaN": "'response' holds 1 of",
        "coordinates": "coordinates of 5 columns of 'response' were given, written were 6",
    }[fault]
    if fault == "too many":
        announced = 4
    elif fault == "NaN":
        columns[3, 3] = np.nan
    elif fault == "coordinates":
        rest = xr.Dataset(coords={"roi": ("target", ["V1"] * 5)})
    with (
        pytest.raises(StoreError, match=message),
        ColumnStore(
            tmp_path / "a.zarr",
            kind="feedback",
            name="response",
            dims=("image", "target"),
            n_rows=9 if fault == "rows" else 10,
            max_columns=announced,
        ) as store,
    ):
        for start in range(0, 6, 2):
            store.append(columns[:, start : start + 2])
        store.finish(rest if rest is not None else xr.Dataset())
    assert list(tmp_path.iterdir()) == []


def test_tables_come_back_as_written_and_name_what_they_lack(tmp_path):
    frame = pd.DataFrame({"layer": ["a", "b"], "value": [0.5, np.nan]})
    for suffix in ("parquet", "csv"):
        write_table(tmp_path / f"t.{suffix}", frame)
        pd.testing.assert_frame_equal(read_table(tmp_path / f"t.{suffix}"), frame)
        with pytest.raises(StoreError, match=r"lacks the column\(s\) depth"):
            read_table(tmp_path / f"t.{suffix}", columns=["layer", "depth"])
    with pytest.raises(StoreError, match=r"missing\.parquet"):
        read_table(tmp_path / "missing.parquet")


def test_a_table_of_a_kind_has_its_columns_and_no_others(tmp_path):
    frame = pd.DataFrame({name: [""] for name in columns_of("entries")})
    write_table(tmp_path / "t.csv", frame, kind="entries")
    assert list(read_table(tmp_path / "t.csv", kind="entries")) == list(columns_of("entries"))
    with pytest.raises(StoreError, match="missing: label; not declared: name for readers"):
        renamed = frame.rename(columns={"label": "name for readers"})
        write_table(tmp_path / "u.csv", renamed, kind="entries")
    assert not (tmp_path / "u.csv").exists()
    stimuli = pd.DataFrame({name: [""] for name in columns_of("stimuli")})
    write_table(tmp_path / "s.parquet", stimuli, kind="stimuli")
    write_table(tmp_path / "s.parquet", stimuli.assign(caption="a dog"), kind="stimuli")


def test_an_error_while_writing_keeps_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
