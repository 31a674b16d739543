"""The note on fits whose penalties lie on the edge of the grid."""

import pandas as pd

from gradbrain.encoding.grid_edge import edge_note
from gradbrain.store import write_table
from gradbrain.vocabulary.artefacts import columns_of


def write_scores(path, rows):
    """Scores of a model whose rows say no more than layer, subject and share on the edge."""
    table = pd.DataFrame(rows, columns=["layer", "subject", "edge_share"])
    write_table(path, table.reindex(columns=columns_of("scores")), kind="scores")
    return path


def test_fits_are_counted_once_whatever_rows_they_have(tmp_path):
    rows = [("blocks.1", "s1", 0.3), ("blocks.1", "s1", 0.3), ("blocks.1", "s2", 0.1)]
    paths = [write_scores(tmp_path / f"{model}.parquet", rows) for model in ("a", "b")]
    assert edge_note(paths).startswith("2 of 4 fits have more than 10% of penalties on the edge")
    within = write_scores(paths[0], [(layer, subject, 0.1) for layer, subject, _ in rows])
    assert edge_note([within]) == edge_note([]) == ""


def test_the_signal_with_the_largest_share_speaks_for_its_fit(tmp_path):
    rows = [("blocks.1", "s1", share) for share in (0.0, 0.05, 0.2)]
    assert edge_note([write_scores(tmp_path / "a.parquet", rows)]).startswith("1 of 1 fits")


def test_a_damaged_table_is_told_of_and_not_counted(tmp_path):
    path = write_scores(tmp_path / "a.parquet", [("blocks.1", "s1", 0.3)])
    assert edge_note([path]).startswith("1 of 1 fits")
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    told = edge_note([path])
    assert told.startswith("fits on the edge of the grid are not counted")
    assert f"{path}: was changed or damaged" in told
