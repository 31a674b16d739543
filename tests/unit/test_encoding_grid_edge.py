"""The note on fits whose penalties lie on the edge of the grid."""

import pandas as pd

from gradbrain.encoding.grid_edge import edge_note
from gradbrain.store.file_digests import digest_path, sha256_of


def test_fits_are_counted_once_whatever_rows_they_have(tmp_path):
    rows = [("blocks.1", "s1", 0.3), ("blocks.1", "s1", 0.3), ("blocks.1", "s2", 0.1)]
    for model in ("a", "b"):
        table = pd.DataFrame(rows, columns=["layer", "subject", "edge_share"])
        table.to_parquet(tmp_path / f"{model}.parquet")
    paths = sorted(tmp_path.glob("*.parquet"))
    assert edge_note(paths).startswith("2 of 4 fits have more than 10% of penalties on the edge")
    table.assign(edge_share=0.1).to_parquet(paths[0])
    assert edge_note(paths[:1]) == edge_note([]) == ""


def test_the_signal_with_the_largest_share_speaks_for_its_fit(tmp_path):
    rows = [("blocks.1", "s1", share) for share in (0.0, 0.05, 0.2)]
    table = pd.DataFrame(rows, columns=["layer", "subject", "edge_share"])
    table.to_parquet(tmp_path / "a.parquet")
    assert edge_note([tmp_path / "a.parquet"]).startswith("1 of 1 fits")


def test_a_damaged_table_is_told_of_and_not_counted(tmp_path):
    path = tmp_path / "a.parquet"
    table = pd.DataFrame([("blocks.1", "s1", 0.3)], columns=["layer", "subject", "edge_share"])
    table.to_parquet(path)
    digest_path(path).write_text(f"{sha256_of(path)}  {path.name}\n")
    assert edge_note([path]).startswith("1 of 1 fits")
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    told = edge_note([path])
    assert told.startswith("fits on the edge of the grid are not counted")
    assert f"{path}: was changed or damaged" in told
