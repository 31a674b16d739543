"""Signals are known by what the registry says of them: names and other rules change no number."""

import numpy as np
import pandas as pd
import pytest
from trees.unique_variance import write_unique

from gradbrain.config.schema import Cotangents, SignalEntry, SignalSet, StatisticsSettings
from gradbrain.hierarchy.claims import judge
from gradbrain.hierarchy.subject_scores import read_subjects
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.store import open_store, read_statistics, write_statistics, write_store

LAYERS = ("blocks.0", "blocks.1", "blocks.2")
SETTINGS = StatisticsSettings()
SUBJECTS = [f"s{k}" for k in range(6)]


def truth(signal, measure, depth):
    """The signal of backprop holds a unique part; nothing else does."""
    profile = 0.3 - 0.1 * np.abs(np.linspace(0.2, 1.0, 5) - depth)
    if measure == "unique_r2":
        return 0.3 * profile if signal == "gradient_dino" else np.full(5, 0.004)
    return profile


def along_time(signal, measure, depth):
    times = np.arange(-0.08, 0.81, 0.04)
    delay = 0.2 if signal == "gradient_dino" else 0.0
    shape = np.exp(-(((times - 0.2 - 0.1 * depth - delay) / 0.06) ** 2))
    return truth(signal, measure, depth)[0] * shape


def entry(name, role, rule, objective, control_of=()):
    return SignalEntry(name=name, role=role, rule=rule, objective=objective, control_of=control_of)


@pytest.fixture(scope="module")
def two_rules(signal_set):
    """The set of the other tests with the signals of a second rule between its own."""
    family = Cotangents(rule=("feedback",))
    second = (
        entry("feedback_feature_norm", "control", "feedback", "feature_norm", family),
        entry("feedback_dino", "learning", "feedback", "dino"),
        entry("feedback_fixed", "control", "feedback", "fixed_cotangent", family),
    )
    own = signal_set.signals
    return SignalSet(name="two", signals=(*own[:1], *second[:2], *own[1:], *second[2:]))


@pytest.fixture(scope="module")
def stores(make_encoding_store, two_rules, tmp_path_factory):
    """Stores with the signals of both rules, along regions and along time."""
    folder = tmp_path_factory.mktemp("two_rules")
    return [
        make_encoding_store(
            folder / dataset / layer / f"{subject}.zarr",
            layer=layer,
            subject=f"{dataset}-{subject}",
            dataset=dataset,
            modality=modality,
            truth=world,
            signal_set=two_rules,
            seed=seed,
            # A share of the margin can be ruled out at every place.
            noise=0.001,
        )
        for dataset, modality, world in (("regions", "fmri", truth), ("times", "meg", along_time))
        for seed, subject in enumerate(SUBJECTS)
        for layer in LAYERS
    ]


def results(stores, signal_set, folder):
    """Statistics as they are read from files, and claims."""
    subjects = read_subjects(stores, signal_set, write_unique(stores))
    table, draws = folder / "net.parquet", folder / "net.zarr"
    write_statistics(table, draws, summarise_all(subjects, SETTINGS), attrs={"model": "net"})
    statistics = read_statistics([table], [draws])
    return statistics, judge(statistics, SETTINGS, study="test")


@pytest.fixture(scope="module")
def both(stores, two_rules, tmp_path_factory):
    return results(stores, two_rules, tmp_path_factory.mktemp("both"))


def rewritten(stores, folder, change):
    """Copies of stores, changed."""
    paths = []
    for number, path in enumerate(stores):
        store = open_store(path, kind="encoding").load()
        store.attrs.pop("digest")
        paths.append(folder / f"{number}.zarr")
        write_store(paths[-1], change(store), kind="encoding")
    return paths


def assert_same_statistics(found, expected):
    """Every value, draw and map is the same; rows in the same order."""
    pd.testing.assert_frame_equal(
        found.table.reset_index(drop=True), expected.table.reset_index(drop=True), check_exact=True
    )
    np.testing.assert_array_equal(found.boot, expected.boot)
    np.testing.assert_array_equal(found.null, expected.null)
    maps = [[one.maps.get(row) for row in one.table.index] for one in (found, expected)]
    for own, other in zip(*maps, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            assert own.equals(other)


def test_a_second_rule_leaves_every_row_of_all_other_signals_as_it_was(
    stores, both, signal_set, tmp_path
):
    known = [signal.name for signal in signal_set.signals] + ["all_activations"]
    alone = rewritten(
        stores, tmp_path, lambda store: store.isel(score_row=np.isin(store["signal"], known))
    )
    statistics, claims = results(alone, signal_set, tmp_path)
    together, claims_together = both
    others = together.table[together.table["rule"] != "feedback"]
    assert_same_statistics(together.of(others), statistics)
    assert len(others) < len(together.table)
    others = claims_together[claims_together["rule"] != "feedback"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, claims, check_exact=True)
    # The rules do differ, in a way that one family for both would show.
    c1 = claims_together[claims_together["prediction"] == "C1"].set_index(["dataset", "rule"])
    assert set(c1.loc[(slice(None), "backprop"), "verdict"]) == {"supported"}
    assert set(c1.loc[(slice(None), "feedback"), "verdict"]) == {"contradicted"}


def test_each_rule_is_held_against_its_own_controls(both, signal_set):
    statistics, claims = both
    against = statistics.table[statistics.table["statistic"] == "control_difference"]
    found = {rule: set(rows["control"]) for rule, rows in against.groupby("rule")}
    assert found == {
        "backprop": set(signal_set.controls_of("gradient_dino")),
        "feedback": {"feedback_feature_norm", "feedback_fixed"},
    }
    c2 = claims[claims["prediction"] == "C2"]
    for rule, rows in c2.groupby("rule"):
        assert set(rows["control"]) <= found[rule]


# A signal may bear the name of all layers' activations, of a column, or of another's role.
NAMES = {
    "activation": "magnitude",
    "gradient_dino": "all_activations",
    "gradient_feature_norm": "zz_shuffled_all",
    "gradient_fixed_cotangent": "activation",
    "gradient_shuffled_dino": "0.5",
    "feedback_dino": "learning",
    "feedback_feature_norm": "gradient_dino",
    "feedback_fixed": "layer",
}


def renamed(signal):
    controlled = signal.control_of
    if isinstance(controlled, tuple):
        controlled = tuple(NAMES[name] for name in controlled)
    return signal.model_copy(update={"name": NAMES[signal.name], "control_of": controlled})


def test_names_decide_nothing(stores, both, two_rules, tmp_path):
    def change(store):
        pairs = zip(store["signal"].values, store["role"].values, strict=True)
        names = [name if role == "baseline" else NAMES[name] for name, role in pairs]
        return store.assign_coords(signal=("score_row", names))

    others = SignalSet(name="others", signals=tuple(map(renamed, two_rules.signals)))
    statistics, claims = results(rewritten(stores, tmp_path, change), others, tmp_path)
    expected, expected_claims = both
    back = {new: old for old, new in NAMES.items()} | {"": ""}
    for frame in (statistics.table, claims):
        frame["signal"], frame["control"] = frame["signal"].map(back), frame["control"].map(back)
    assert_same_statistics(statistics, expected)
    keys = ["prediction", "dataset", "variant", "signal"]
    pd.testing.assert_frame_equal(
        claims.sort_values(keys, ignore_index=True),
        expected_claims.sort_values(keys, ignore_index=True),
        check_exact=True,
    )


def test_rows_of_nuisance_bands_are_no_signals(stores, both, two_rules, tmp_path):
    """A band may even bear the name of a signal."""

    def change(store):
        rows = np.append(np.arange(store.sizes["score_row"]), 0)
        longer = store.isel(score_row=rows)
        last = {"signal": "gradient_dino", "role": "nuisance", "rule": "", "objective": ""}
        for name, text in last.items():
            values = longer[name].values.astype(object)
            values[-1] = text
            longer = longer.assign_coords({name: ("score_row", values.astype(str))})
        return longer

    statistics, claims = results(rewritten(stores, tmp_path, change), two_rules, tmp_path)
    assert_same_statistics(statistics, both[0])
    pd.testing.assert_frame_equal(claims, both[1], check_exact=True)
