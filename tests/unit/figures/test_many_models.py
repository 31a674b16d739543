"""Figures of more models than they can show one by one: means of trained and of untrained ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from trees.invented_study import (
    FMRI,
    PLACES,
    SIGNALS,
    Invented,
    claims_table,
    inputs_of,
    write_study,
)

from gradbrain.figures import claims_by_model, claims_overview, many_models, style
from gradbrain.figures.declarations import FigureError, declaration
from gradbrain.figures.drawing import draw_declared
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.names import Names
from gradbrain.store import open_tree, read_statistics, read_tables
from gradbrain.vocabulary.artefacts import columns_of

TRAINED = [f"trained_{i}" for i in range(6)]
UNTRAINED = [f"untrained_{i}" for i in range(3)]
GROUPS = {"trained models, mean of 6": TRAINED, "untrained models, mean of 3": UNTRAINED}
MODELS = {name: (name.replace("_", " "), name.split("_")[0]) for name in (*TRAINED, *UNTRAINED)}


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> FigureInputs:
    """Nine models: one more than are shown one by one."""
    signals = {name: SIGNALS[name] for name in ("activation", "gradient_dino")}
    invented = Invented(signals=signals, models=MODELS, places={FMRI: PLACES[FMRI]})
    return inputs_of(write_study(tmp_path_factory.mktemp("many"), invented))


def test_scores_are_means_over_models_for_each_person_region_and_tenth_of_depth(many):
    found = many.table("scores")
    assert set(found["model"]) == set(GROUPS)
    one_by_one = read_tables("scores", list(many.scores))
    for title, models in GROUPS.items():
        own = one_by_one[one_by_one["model"].isin(models) & (one_by_one["measure"] == "r")]
        own = own[own["role"] == "learning"]
        expected = own.groupby(["subject", "roi", "layer"])["value"].mean()
        rows = found[(found["model"] == title) & (found["measure"] == "r")]
        rows = rows[rows["role"] == "learning"]
        assert len(rows) == len(expected)
        np.testing.assert_allclose(np.sort(rows["value"]), np.sort(expected), rtol=1e-9)
    # Depths .2, .4 … 1 lie in every second tenth.
    assert sorted(set(found["depth"])) == pytest.approx([0.15, 0.35, 0.55, 0.75, 0.95])
    assert set(found["layer"]) >= {"depth 0.1–0.2", "depth 0.9–1.0"}


def test_layers_at_the_upper_end_of_a_tenth_belong_to_it():
    depths = np.array([0.01, 0.1, 0.100001, 0.2, 0.3, 0.7, 0.95, 1.0])
    np.testing.assert_array_equal(many_models.depth_place(depths), [0, 0, 1, 1, 2, 6, 9, 9])


def test_numbers_that_are_missing_in_some_models_are_means_of_the_others():
    mean = many_models._Mean()
    for value in (1.0, np.nan, 3.0):
        mean.add(pd.DataFrame({"roi": ["V1", "V2"], "time": np.nan, "value": [value, np.nan]}))
    table, _ = mean.table()
    assert table["value"].iloc[0] == 2.0 and np.isnan(table["value"].iloc[1])
    assert list(table["roi"]) == ["V1", "V2"]


def test_statistics_and_their_draws_are_means_over_models(many):
    found = many.statistics()
    chosen = found.table["statistic"] == "spatial_r"
    rows = found.table[chosen & (found.table["signal"] == "activation")]
    for title, models in GROUPS.items():
        own = rows[rows["model"] == title]
        parts = [
            read_statistics([table], [draws])
            for table, draws in zip(many.hierarchy, many.hierarchy_draws, strict=True)
            if table.stem in models
        ]
        for row in own.itertuples():
            values, boots = [], []
            for part in parts:
                same = part.table[
                    (part.table["statistic"] == "spatial_r")
                    & (part.table["signal"] == "activation")
                    & (part.table["subject"] == row.subject)
                ]
                values.append(same["value"].iloc[0])
                boots.append(part.boot[same.index[0]])
            assert row.value == pytest.approx(np.mean(values))
            np.testing.assert_allclose(found.boot[row.Index], np.mean(boots, axis=0))
            assert row.n_groups == 100


def test_maps_are_means_over_models(many):
    trees = many.map_stores()
    assert [tree.attrs["model"] for tree in trees] == list(GROUPS)
    stores = [open_tree(path, kind="maps") for path in many.maps if path.stem in UNTRAINED]
    expected = np.mean([store[FMRI]["score"].values for store in stores], axis=0)
    np.testing.assert_allclose(trees[1][FMRI]["score"].values, expected, rtol=1e-5)


def test_maps_of_other_targets_are_refused(many, monkeypatch):
    def fewer(path, kind):
        tree = open_tree(path, kind=kind)
        if path.stem == TRAINED[3]:
            tree[FMRI] = tree[FMRI].to_dataset(inherit=False).isel(target=slice(5))
        return tree

    monkeypatch.setattr(many_models, "open_tree", fewer)
    with pytest.raises(FigureError, match=rf"{TRAINED[3]}.*average maps of the same signals"):
        many.map_stores()


def test_as_many_models_as_can_be_shown_are_shown_one_by_one(many):
    few = replace(many, scores=many.scores[: many_models.MOST_MODELS])
    assert set(few.table("scores")["model"]) == set(list(MODELS)[: many_models.MOST_MODELS])


@pytest.mark.parametrize("name", ["encoding_by_region", "best_layer_by_distance", "cortical_map"])
def test_figures_say_what_a_mean_is_of(many, name):
    drawn, data = draw_declared(declaration(name), many)
    said = " ".join(text.get_text() for text in drawn.findobj(Text)).replace("\n", " ")
    assert all(title in said for title in GROUPS)
    assert set(data["model"]) == set(GROUPS)


def claims_of(n: int) -> tuple[pd.DataFrame, Names]:
    models = {
        f"m{i:03d}": (f"model {i}", "trained" if i < n / 2 else "untrained") for i in range(n)
    }
    claims = claims_table(Invented(models=models))
    random = np.random.default_rng(0)
    judged = claims["verdict"] != "descriptive"
    verdicts = random.choice(["supported", "contradicted", "undetermined"], len(claims))
    return claims.assign(verdict=np.where(judged, verdicts, claims["verdict"])), names_of(models)


def names_of(models: dict[str, tuple[str, str]]) -> Names:
    rows = [
        {"kind": "model", "name": name, "order": order, "label": label, "group": group}
        for order, (name, (label, group)) in enumerate(models.items())
    ]
    return Names.of(pd.DataFrame(rows).reindex(columns=columns_of("entries")).fillna(""))


@pytest.mark.parametrize("n", [8, 224])
def test_every_verdict_on_every_model_has_a_cell(n):
    claims, names = claims_of(n)
    data = claims[claims["verdict"] != "descriptive"]
    names = names.including(data)
    groups = claims_by_model.groups_of(data, names)
    cells = sum(int(group.cells.notna().sum().sum()) for group in groups)
    # There is one learning signal: that of the activation stands in one group of a data set.
    assert cells == len(data)
    with style.applied():
        drawn = claims_by_model.figure(data, names)
    assert drawn.get_figheight() < 16
    patches = [collection for ax in drawn.axes for collection in ax.collections]
    assert sum(len(collection.get_paths()) for collection in patches) == len(data)


def test_many_models_stand_by_what_they_support_trained_ones_first():
    claims, names = claims_of(60)
    data = claims[claims["verdict"] != "descriptive"]
    order = claims_by_model.ordered_models(data, names)
    supported = (data["verdict"] == "supported").groupby(data["model"]).sum()
    for part in (order[:30], order[30:]):
        counts = [supported[name] for name in part]
        assert counts == sorted(counts, reverse=True)
    assert all(names.is_trained(name) for name in order[:30])
    assert not any(names.is_trained(name) for name in order[30:])


def test_verdicts_of_many_models_are_told_apart_without_colour():
    assert claims_by_model.FILLED["contradicted"] < 0.5 * claims_by_model.FILLED["supported"]


def test_the_overview_counts_the_verdicts_of_many_models():
    claims, names = claims_of(60)
    data = claims[claims_overview.COLUMNS]
    counts = claims_overview.counts_of(data)
    row = (FMRI, "", "gradient_dino", "C1", "unique")
    own = data[(data["dataset"] == FMRI) & (data["prediction"] == "C1")]
    assert counts[row].verdicts == own["verdict"].value_counts().to_dict()
    with style.applied():
        drawn = claims_overview.figure(data, names.including(data))
    said = [text.get_text() for text in drawn.findobj(Text)]
    assert f"{counts[row].verdicts['supported']} ✓" in said
    assert drawn.get_figheight() < 12
