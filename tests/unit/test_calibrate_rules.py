"""The calibration of learning rules: what is planted in small made-up brains is found."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import calibrate_rules as benchmark

from gradbrain.config.study import load_study
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.unique_part import BaselineKernels, SignalKernels
from gradbrain.encoding.variance_components import BaselineCovariance, estimate_components
from gradbrain.plan.jobs import Plan

N_IMAGES, N_TARGETS, N_DRAWS = 80, 60, 99
GROUPS = np.array([f"image-{number:02d}" for number in range(N_IMAGES)])
RULES = ["gradient_cross_entropy", "sign_symmetry", "gradient_feature_norm"]


def drawn(*seed, width=20):
    return np.random.default_rng(seed).standard_normal((N_IMAGES, width))


def read_out(values, *seed):
    responses = values @ np.random.default_rng(seed).standard_normal((values.shape[1], N_TARGETS))
    return (responses / responses.std(axis=0)).T


@pytest.fixture(scope="module")
def look():
    """A region seen through one layer and three rules."""
    activation = drawn(0)
    baseline = BaselineKernels.of([activation], [], GROUPS)
    weights = estimate_components(baseline.all, read_out(activation, 9) + drawn(10, width=60).T)
    covariance = BaselineCovariance.of(baseline.all, weights)
    signals = [
        SignalKernels.of(baseline.plain, drawn(1, rule), learning=False)
        for rule in range(len(RULES))
    ]
    seen = [covariance.seen_root(signal.new) for signal in signals]
    return benchmark.Look(covariance, covariance.packed_forms(seen))


def study(look, planted, seed, n_people=4):
    """People who follow the activation and, in a third of the signal, a rule or none."""
    activation, people, total = drawn(0), [], 0.0
    for person in range(n_people):
        signal = read_out(activation, 3, seed, person)
        if planted is not None:
            learnt = read_out(drawn(1, RULES.index(planted)), 4, seed, person)
            signal = np.sqrt(2 / 3) * signal + np.sqrt(1 / 3) * learnt
        noise = np.random.default_rng([5, seed, person]).standard_normal(signal.shape)
        values = (np.sqrt(0.5) * signal + np.sqrt(0.5) * noise).astype(float)
        products = look.products(values - values.mean(axis=1, keepdims=True))
        people.append(look.components(products)[:, None, None])
        total = total + products
    permutations = draw_images(GROUPS, N_DRAWS, 0, 0).permutations
    null = look.null(total, permutations)[:, :, None, None]
    component = np.stack(people)
    shares = benchmark.shares_at_places(component, np.full((n_people, 1), 0.5))
    observed = benchmark.at_group_peaks(component.sum(axis=0))
    told = benchmark.significant(observed, benchmark.at_group_peaks(null))
    return benchmark.found_rule(shares, told, RULES), shares


@pytest.mark.parametrize("rule", RULES)
def test_the_planted_rule_is_found_with_about_its_share(look, rule):
    found, shares = zip(*(study(look, rule, seed) for seed in range(12)), strict=True)
    assert list(found).count(rule) >= 11
    # What activations predict of it by chance counts as theirs.
    assert 0.2 < np.mean(shares, axis=0)[RULES.index(rule)] < 0.4


def test_nothing_is_found_where_nothing_is_planted(look):
    found = [study(look, None, seed)[0] for seed in range(60)]
    # Three are expected; nine or more have a probability of .003.
    assert sum(rule != "" for rule in found) <= 8


def test_a_rule_must_exceed_the_largest_of_all_and_not_its_own_null_alone():
    null = np.random.default_rng(0).standard_normal((999, 20)) * np.arange(1, 21)
    own = np.quantile(null, 0.97, axis=0)
    assert not benchmark.significant(own, null).any()
    # Of each its own spread: 3.5 standard deviations are as much of a wide rule as of a narrow one.
    assert benchmark.significant(3.5 * np.arange(1, 21), null).all()


def test_the_largest_share_among_significant_rules_is_found():
    shares = np.array([0.9, 0.2, 0.4])
    assert benchmark.found_rule(shares, np.array([False, True, True]), list("abc")) == "c"
    assert benchmark.found_rule(shares, np.zeros(3, dtype=bool), list("abc")) == ""
    assert benchmark.family_of("sign_symmetry_random") == "sign symmetry"
    assert benchmark.family_of("gradient_norm_cross_entropy") == benchmark.CONTROL
    assert benchmark.family_of("") == benchmark.NOTHING


def test_places_are_chosen_by_the_other_people():
    component = np.zeros((3, 1, 1, 2))
    component[:, 0, 0, 0] = 0.1
    # Chance of one person, who would choose it.
    component[0, 0, 0, 1] = 0.15
    explainable = np.tile([0.5, 0.25], (3, 1))
    # The first is read at the first place; the others, to whom the first says the second is better
    # by .15 against .2, at the first as well.
    assert benchmark.shares_at_places(component, explainable) == pytest.approx(0.3 / 1.5)


def results_of(leading, n_seeds=16, n_people=6):
    """Brains in which a rule leads by what noise of one study hides, and of eight does not."""
    random = np.random.default_rng(0)
    component = random.normal(0, 0.05, (n_seeds, n_people, len(RULES), 1, 1))
    component[:, :, RULES.index(leading)] += 0.03
    told = np.zeros((n_seeds, len(RULES)), dtype=bool)
    told[:12, RULES.index(leading)] = True
    return benchmark.Results(RULES, component, np.full((n_seeds, n_people, 1), 0.5), told)


def alike_of(overlaps):
    """How alike rules are: pairs of rules with the overlap of their new parts, a quarter each."""
    both = [*overlaps, *((other, rule, overlap) for rule, other, overlap in overlaps)]
    table = pd.DataFrame(both, columns=["rule", "other", "overlap"])
    return table.assign(cosine=0.1, new_share=0.25)


def test_the_rules_of_two_families_that_are_most_alike_are_named(tmp_path):
    parts = {"sign symmetry": results_of("sign_symmetry")}
    parts["backpropagation"] = results_of("gradient_cross_entropy")
    (tmp_path / "settings.json").write_text(json.dumps({"images": 80}))
    for place, (family, own) in enumerate(parts.items()):
        named = {name: getattr(own, name) for name in ("component", "explainable", "significant")}
        np.savez(tmp_path / f"{place}.npz", family=family, rules=np.array(RULES), **named)
    alike = alike_of(
        [
            ("gradient_cross_entropy", "sign_symmetry", 0.5),
            ("error_cross_entropy", "sign_symmetry_random", 0.7),
        ]
    )
    pair = ("backpropagation", "sign symmetry")
    row = list(benchmark.pairs_table([tmp_path], [pair], alike))[2]
    assert "`error_cross_entropy` · `sign_symmetry_random` | 0.10 | 0.70" in row
    # From a size on at which both have the larger part in four of five studies of their own.
    n_people = int(row.split(" | ")[4].split(" × ")[1])
    assert min(benchmark.told_apart(parts, pair, n_people)) >= 0.8
    smaller = [n for n in benchmark.PEOPLE if n < n_people]
    assert all(min(benchmark.told_apart(parts, pair, n)) < 0.8 for n in smaller)


def test_studies_are_counted_by_what_was_planted_and_found():
    results = {
        "backpropagation": results_of("gradient_cross_entropy"),
        "sign symmetry": results_of("gradient_cross_entropy"),
        benchmark.NOTHING: results_of("gradient_feature_norm"),
    }
    counts = benchmark.confusion(results)
    assert (counts.sum(axis=1) == 16).all()
    assert counts.loc["backpropagation", "backpropagation"] == 12
    assert counts.loc["sign symmetry", "backpropagation"] == 12
    assert counts.loc[benchmark.NOTHING, benchmark.CONTROL] == 12
    assert benchmark.mistaken_pairs(counts) == [("backpropagation", "sign symmetry")]
    alike = alike_of([("gradient_cross_entropy", "sign_symmetry", 0.5)])
    table = benchmark.confusion_table(counts, alike)
    rows = {row.split(" | ")[0].strip("| "): row for row in table}
    assert rows["backpropagation"].split(" | ")[1] == "0.25"
    assert rows["backpropagation"].split(" | ")[2].startswith("0.75 [")
    assert "backpropagation 0.75" in rows["sign symmetry"]


def test_larger_studies_are_made_of_the_people_of_several_seeds():
    results = {
        "backpropagation": results_of("gradient_cross_entropy"),
        "sign symmetry": results_of("sign_symmetry"),
    }
    own = results["backpropagation"]
    assert own.shares(6).shape == (16, 3) and own.shares(48).shape == (2, 3)
    # Every person is used once: the mean over studies of one size is that of any other.
    np.testing.assert_allclose(own.shares(6).mean(axis=0), own.shares(48).mean(axis=0), atol=1e-9)
    pair = ("backpropagation", "sign symmetry")
    assert max(benchmark.told_apart(results, pair, 6)) < 1
    assert benchmark.told_apart(results, pair, 48) == [1, 1]


def test_a_page_says_what_was_found_and_from_which_size_on(tmp_path):
    own = results_of("sign_symmetry", n_seeds=16)
    (tmp_path / "settings.json").write_text(json.dumps({"images": 80}))
    parts = {name: getattr(own, name) for name in ("component", "explainable", "significant")}
    for place, family in enumerate(("sign symmetry", "backpropagation", benchmark.NOTHING)):
        np.savez(tmp_path / f"{place}.npz", family=family, rules=np.array(RULES), **parts)
    rows = [row.strip("| ").split(" | ") for row in benchmark.size_table([tmp_path])][2:]
    assert [row[:2] for row in rows] == [["sign symmetry", "80"], ["backpropagation", "80"]]
    assert float(rows[0][2].split()[0]) < 1 and rows[0][-1].startswith("1.00")
    assert rows[1][-1].startswith("0.00")


def test_every_family_has_a_signal_that_is_planted_and_one_that_is_looked_for():
    config = benchmark.read_yaml(benchmark.ROOT / benchmark.CONFIG)
    study = load_study(config, root=benchmark.ROOT, where=benchmark.CONFIG)
    looked_for = {signal.name for signal in study.signal_set.signals}
    assert set(benchmark.FAMILY) <= looked_for
    assert set(benchmark.FAMILY.values()) == set(benchmark.PLANTED) - {benchmark.NOTHING}
    plan = Plan(study, benchmark.ROOT)
    entry = study.datasets[benchmark.DATASET]
    _, options = plan.adapter(entry)
    planted = study.registries.signal_set(options.planting_signal_set, where="test")
    names = {signal.name for signal in planted.signals}
    wanted = {signal for signal in benchmark.PLANTED.values() if signal}
    assert wanted - names == set(benchmark.POOLED) <= looked_for
    # Another seed and another pooling than any analysis of the study has.
    assert planted.seed != study.signal_set.seed
    assert planted.pooling != study.signal_set.pooling


def test_blocks_of_other_settings_are_refused(tmp_path):
    said = {"images": 4}
    (tmp_path / "settings.json").write_text(json.dumps(said))

    class Other:
        kept = np.arange(6)
        settings = load_study(
            benchmark.read_yaml(benchmark.ROOT / benchmark.CONFIG),
            root=benchmark.ROOT,
            where=benchmark.CONFIG,
        ).settings.encoding
        feature_paths = ()

        def options(self, signal):
            return self.settings

    with pytest.raises(SystemExit, match="other settings"):
        benchmark.check_settings(tmp_path, Other())


def test_cells_are_pooled_two_by_two():
    cells = np.arange(2 * 3 * 16.0).reshape(2, 3, 4, 4)
    found = benchmark.pooled(cells.reshape(2, -1)).reshape(2, 3, 2, 2)
    for row, column in np.ndindex(2, 2):
        own = cells[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(found[:, :, row, column], own.mean(axis=(2, 3)))


def test_the_matrix_is_drawn(tmp_path):
    counts = pd.DataFrame([[3, 1], [0, 4]], index=["a", "b"], columns=["a", "b"])
    benchmark.draw(counts, tmp_path / "folder" / "matrix.png")
    assert (tmp_path / "folder" / "matrix.png").read_bytes().startswith(b"\x89PNG")
