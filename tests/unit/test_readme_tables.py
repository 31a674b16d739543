"""Tables that docs show of finished studies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import write_readme_tables
from PIL import Image

from gradbrain.config import GradbrainError
from gradbrain.store import write_table
from gradbrain.vocabulary.artefacts import columns_of

TEXTS = {
    "study": "objects92_models",
    "contrast": "training: trained - untrained",
    "factor": "training",
    "level_a": "trained",
    "level_b": "untrained",
    "dataset": "objects92",
    "modality": "fmri",
    "axis": "roi",
    "signal": "gradient_dino",
    "role": "learning",
    "rule": "backprop",
    "objective": "dino",
    "unit": "r",
    "best_layer": "others",
    "inference": "population",
    "reason": "",
}
SIGNAL = {"kind": "signal", "name": "gradient_dino", "order": 0, "label": "gradient (DINO)"}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results with contrasts over all regions and in one, alone and unique."""
    numbers = dict.fromkeys(columns_of("model_contrasts"), np.nan)
    whole = {"mean_a": 0.25, "mean_b": 0.05, "estimate": 0.2, "ci_low": 0.1, "ci_high": 0.3}
    rows = [
        numbers
        | TEXTS
        | {"roi": roi, "variant": variant, "method": method, "measure": "r", "n": 15}
        | {"n_pairs": 4, "n_models_a": 4, "n_models_b": 12, "n_subjects": 15}
        | whole
        | {"q": 0.0004, "q_over_models": over_models}
        for roi, variant, method, over_models in [
            ("", "raw", "encoding", 0.125),
            ("", "raw", "rsa", np.nan),
            ("IT", "raw", "encoding", 0.125),
            ("", "unique", "encoding", 0.125),
        ]
    ]
    folder = tmp_path / "results" / "objects92_models"
    (folder / "figures").mkdir(parents=True)
    table = pd.DataFrame.from_records(rows)[list(columns_of("model_contrasts"))]
    write_table(folder / "model_contrasts.csv", table, kind="model_contrasts")
    entries = pd.DataFrame.from_records([SIGNAL | {"group": ""}], columns=columns_of("entries"))
    write_table(folder / "entries.csv", entries, kind="entries")
    Image.new("RGB", (4, 4)).save(folder / "figures" / "model_contrasts.png")
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(write_readme_tables, "ROOT", tmp_path)
    return folder


def test_contrasts_of_models_are_those_over_all_regions_of_signals_alone(results, tmp_path):
    lines = write_readme_tables.contrasts_of_models(results)
    assert [line for line in lines if "trained - untrained" in line] == [
        "| training: trained - untrained (4) | gradient (DINO) | encoding, r | 0.250 | 0.050 "
        "| +0.200 [+0.100, +0.300] | 0.0004 | 0.125 |",
        "| training: trained - untrained (4) | gradient (DINO) | RSA, ρ | 0.250 | 0.050 "
        "| +0.200 [+0.100, +0.300] | 0.0004 | – |",
    ]
    assert (tmp_path / "docs" / "figures" / "objects92_models.png").is_file()


def test_a_page_without_markers_is_named():
    with pytest.raises(
        GradbrainError, match=r"docs/results\.md: lacks the markers <!-- demo:start"
    ):
        write_readme_tables.replace_section("text", "demo", [], page="docs/results.md")
