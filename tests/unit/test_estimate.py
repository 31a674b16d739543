"""The estimate of a study: its numbers follow from the measured constants and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import estimate_study
import numpy as np
import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.config.schema import (
    EncodingSettings,
    ExpectedSize,
    ReliabilitySettings,
    RsaSettings,
)
from gradbrain.config.study import load_study
from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.fit import make_bands, make_regression, make_search
from gradbrain.encoding.fold_models import FoldModels
from gradbrain.encoding.inputs import LayerFeatures
from gradbrain.encoding.scores import FoldScorer, UnitLayout
from gradbrain.encoding.solver import PrimalProblem
from gradbrain.encoding.splits import OuterSplit
from gradbrain.models.passes import forward_pass
from gradbrain.plan import estimate, fit_costs, job_counts, memory, network_costs
from gradbrain.plan.cost_rates import NetworkCost, Rates
from gradbrain.plan.fit_costs import FitSize, UniqueSize
from gradbrain.plan.jobs import Plan
from gradbrain.store import SignalIdentity

ROOT = Path(__file__).resolve().parents[2]
RATES = Rates()
PAPER = EncodingSettings(baseline_components=1000)
NSD = FitSize(images=10000, targets=40000, units=20, width=1024, all_widths=22528, signals=4)
MEG = replace(NSD, images=22448, targets=38211, units=141)


@pytest.mark.parametrize("test_images", [False, True])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("signals", "nuisance"), [(1, ()), (3, ()), (1, (3,)), (2, (3, 2))])
def test_the_estimate_counts_the_decompositions_that_fits_make(
    monkeypatch, signals, nuisance, paired, test_images
):
    made = Counter()
    original = PrimalProblem.decompose

    def counted(self, weights, **options):
        made[len(self.gram)] += 1
        return original(self, weights, **options)

    monkeypatch.setattr(PrimalProblem, "decompose", counted)
    settings = EncodingSettings(
        n_draws=2, n_band_weights=5, n_simplex_draws=6, baseline_components=7, n_folds=2
    )
    random = np.random.default_rng(0)
    train, test = np.arange(60), np.arange(60, 80)

    def values(width):
        return random.standard_normal((80, width)).astype(np.float32)

    layers = {"a": values(4), "b": values(9)}
    own = {SignalIdentity("activation", "activation"): layers["a"]}
    own |= {SignalIdentity(f"g{number}", "learning"): values(4) for number in range(signals)}
    beside = {SignalIdentity(f"n{width}", "nuisance"): values(width) for width in nuisance}
    features = LayerFeatures(own, layers, list(layers), {"layer": "a"}, beside, paired=paired)
    groups = np.array([f"image{number}" for number in range(80)])
    layout = UnitLayout(("V1",), np.array([3]), 3, False)
    bands = make_bands(features, OuterSplit(0, train, test), settings)
    responses = np.ascontiguousarray(random.standard_normal((3, 80)).astype(np.float32))
    regression = make_regression(
        bands,
        np.ascontiguousarray(responses[:, train]),
        make_search(settings, layout, groups[train]),
        settings,
    )
    draws = draw_images(groups[test], settings.n_draws, settings.seed, 0)
    models = FoldModels(
        regression,
        FoldScorer(np.ascontiguousarray(responses[:, test]), layout, draws),
        features.fits,
        BandWeights.of(len(features.fits.baseline), settings),
    )
    (models.run_test_images if test_images else models.run)()
    size = FitSize(
        images=80,
        targets=3,
        units=1,
        width=4,
        all_widths=13,
        signals=signals,
        nuisance=nuisance,
    )
    tried = fit_costs.rows_tried(size, settings, paired=paired, test_images=test_images)
    assert dict(made) == tried


def test_a_fit_of_the_paper_takes_what_the_page_on_scaling_adds_up():
    # docs/scaling.md, per fold at 40,000 targets.
    assert fit_costs.fit_seconds(NSD, PAPER, RATES) == pytest.approx(5 * (597 + 415), rel=0.005)
    # Five times the scores, of 4,490 held-out images; 38,211 targets.
    longer = 102 + 494 * 38211 / 40000 + 5.04 * 56 * (0.22 + 0.18e-3 * 38211)
    assert fit_costs.fit_seconds(MEG, PAPER, RATES) == pytest.approx(5 * longer, rel=0.005)


def test_components_are_taken_once_per_model_and_subject():
    assert fit_costs.reduction_seconds(NSD, PAPER, RATES) == pytest.approx(5 * 149, rel=0.02)
    assert fit_costs.reduction_seconds(MEG, PAPER, RATES) == pytest.approx(5 * 1204, rel=0.05)
    # 1,000 components of 10,000 images in each of five folds, float32.
    assert fit_costs.reduction_disk_gib(NSD, PAPER) == pytest.approx(4 * 5 * 1e7 / 2**30)


def test_unique_variance_takes_what_was_measured():
    size = UniqueSize(
        images=900, units=1, layers=4, nuisance=0, signals=3, learning=1, all_widths=2048
    )
    # 4 layers, 12 signals of 900 images, one region: 17.3 s of signals and 5.6 s of the region.
    assert fit_costs.unique_seconds(size, PAPER, RATES) == pytest.approx(2 + 17.3 + 5.6, rel=0.1)
    # 0.57 GiB with an interpreter of 0.2.
    needed = fit_costs.unique_memory_gib(size, PAPER, RATES) - RATES.process_gib
    assert needed == pytest.approx(0.37, rel=0.1)


def test_blocks_of_images_bound_the_time_and_memory_of_unique_variance():
    size = UniqueSize(
        images=1000, units=10, layers=8, nuisance=1, signals=6, learning=2, all_widths=8000
    )
    one, ten = (replace(size, images=n) for n in (1000, 10_000))

    def seconds(size, **changes):
        return fit_costs.unique_seconds(size, PAPER.model_copy(update=changes), RATES)

    rest = RATES.start_s
    assert seconds(ten) - rest == pytest.approx(10 * (seconds(one) - rest))
    whole = seconds(ten, unique_images=10_000) - rest
    assert 80 < whole / (seconds(ten) - rest) < 100
    memory = [fit_costs.unique_memory_gib(each, PAPER, RATES) for each in (one, ten)]
    # Activations of more images, and nothing else.
    assert memory[1] - memory[0] == pytest.approx(4 * 9000 * 8000 / 2**30)


def test_the_time_of_a_fit_is_linear_in_targets_and_signals():
    def seconds(**changes):
        return fit_costs.fit_seconds(replace(NSD, **changes), PAPER, RATES)

    none, one, two = (seconds(targets=n) for n in (0, 1000, 2000))
    assert two - one == pytest.approx(one - none)
    zero, single, double = (seconds(signals=n) for n in (0, 1, 2))
    assert double - single == pytest.approx(single - zero)


def test_a_test_split_costs_less_than_a_fold():
    rates = replace(RATES, start_s=0.0)
    folds, all_splits = (
        fit_costs.fit_seconds(replace(NSD, test_images=said), PAPER, rates)
        for said in (False, True)
    )
    # No signal is fitted beside its layer's activation alone.
    assert 0.4 < (all_splits - folds) / (folds / 5) < 0.7


def test_without_components_the_baseline_is_as_wide_as_there_are_images():
    everything = fit_costs.fit_seconds(NSD, EncodingSettings(), RATES)
    assert everything > 5 * fit_costs.fit_seconds(NSD, PAPER, RATES)


def test_a_small_fit_takes_no_longer_than_it_takes_to_start():
    small = FitSize(images=48, targets=16, units=4, width=48, all_widths=96, signals=4)
    seconds = fit_costs.fit_seconds(small, EncodingSettings(), RATES)
    # Five folds: six bands alone, four signals on two lines of nine points.
    fits = 5 * (6 + 4 * 2 * 9) * RATES.small_weights_s
    assert RATES.start_s + fits < seconds < RATES.start_s + fits + 0.1


def test_inner_folds_cost_a_decomposition_each():
    def seconds(**changes):
        rates = replace(RATES, start_s=0.0, row_s=0.0, row_ms_per_target=0.0)
        return fit_costs.fit_seconds(NSD, PAPER.model_copy(update=changes), rates)

    # Five times .8³ of that of all images, and that itself.
    kfold = seconds(selection="kfold", n_inner_folds=5)
    assert kfold == pytest.approx(3.56 * seconds(selection="gcv"))


def test_a_multiverse_costs_its_passes_its_fits_and_its_joins():
    path = ROOT / "config" / "sensitivity.yaml"
    study = load_study(read_yaml(path), root=ROOT, where=str(path))
    plan = Plan(study, ROOT)
    counts = job_counts.job_counts(plan)
    # 35 universes, of which 3 have the fits of the study; 28 sets of fits of one
    # model; 24 signal sets in 6 passes, beside that of the study.
    assert counts["test_universe"] == 35
    assert counts["fit_universe"] == 28
    assert counts["extract_features"] == 6 + 1
    assert counts["collect_universes"] == 1
    nothing = dict.fromkeys(("row_s", "row_ms_per_target", "standardise_s"), 0.0)
    rates = replace(RATES, **nothing)
    widths = {model: dict.fromkeys(plan.layers(model), 100) for model in plan.models}
    costs = {model: NetworkCost(1e9, widths[model]) for model in plan.models}
    sizes = estimate.subject_sizes(
        plan, {"objects92": ExpectedSize(n_images=92, n_targets=182, n_units=2)}
    )
    stages = {row.rule: row for row in estimate.estimate(plan, costs, sizes, rates, gpu=False)}
    plain = Plan(
        replace(study, settings=study.settings.model_copy(update={"sensitivity": None})), ROOT
    )
    alone = {row.rule: row for row in estimate.estimate(plain, costs, sizes, rates, gpu=False)}
    assert "fit_universe" not in alone
    assert stages["fit_encoding"] == alone["fit_encoding"]
    assert stages["extract_features"].cpu_hours == pytest.approx(
        7 * alone["extract_features"].cpu_hours, rel=0.01
    )
    # Signals alone: 15 times by the closed form, 13 times by inner folds, which take 3.56 as long.
    (layers,) = {tuple(layers) for layers in fit_costs.fit_sizes(plan, costs, sizes)}
    alone_s = sum(
        fit_costs.fit_seconds(size, study.settings.encoding, rates, paired=False) - rates.start_s
        for size in layers
    )
    # And 28 times the unique variance of the study itself, apart from its starts.
    unique = alone["measure_unique"]
    unique_s = unique.cpu_hours * 3600 - unique.jobs * rates.start_s
    found = stages["fit_universe"].cpu_hours * 3600 - 28 * (rates.start_s + unique_s)
    assert unique_s > 0
    assert found == pytest.approx((15 + 13 * 3.56) * alone_s * len(plan.subjects), rel=0.02)
    paired = sum(
        fit_costs.fit_seconds(size, study.settings.encoding, rates) - rates.start_s
        for size in layers
    )
    assert 0 < alone_s < 0.5 * paired


def test_memory_is_what_the_jobs_ask_for(demo, monkeypatch):
    monkeypatch.setattr(memory, "array_shape", lambda path, name: (10000, 40000))
    asked = demo.memory.of_fit(demo.subjects[0])
    assert fit_costs.fit_memory_gib(NSD) == pytest.approx(asked / 1024, rel=1e-3)


def test_the_size_of_a_store_is_that_of_its_arrays():
    # A demo store of 320 targets, 8 regions and 100 draws takes 520,249 bytes on disk.
    size = FitSize(images=320, targets=320, units=8, width=160, all_widths=400, signals=4)
    found = fit_costs.fit_disk_gib(size, EncodingSettings(n_draws=100)) * 2**30
    assert found == pytest.approx(520_249, rel=0.3)


def test_passes_are_counted_as_the_objectives_make_them(tmp_path):
    signals = {
        "views": {"role": "learning", "rule": "backprop", "objective": "dino"},
        "more": {
            "role": "learning",
            "rule": "backprop",
            "objective": "view_consistency",
            "options": {"views": {"n_views": 7}},
        },
        "masks": {"role": "learning", "rule": "backprop", "objective": "masked_feature"},
        "norm": {
            "role": "control",
            "rule": "backprop",
            "objective": "feature_norm",
            "control_of": {"rule": ["backprop"]},
        },
    }
    sets = {
        "none": ["activation"],
        "own": ["activation", "views"],
        "seven": ["activation", "more"],
        "masked": ["activation", "masks"],
        "control": ["activation", "views", "norm"],
    }
    content = {
        "signals": signals,
        "signal_sets": {name: {"signals": chosen} for name, chosen in sets.items()},
    }
    (tmp_path / "signals.yaml").write_text(yaml.safe_dump(content))
    path = ROOT / "config" / "config.yaml"
    config = read_yaml(path) | {"registries": [str(tmp_path)]}
    plan = Plan(load_study(config, root=ROOT, where=str(path)), ROOT)
    passes = {name: network_costs.n_passes(plan, name) for name in sets}
    # The stimulus, the views or masked copies of it, and a backward pass for each gradient.
    assert passes == {"none": 1, "own": 34, "seven": 9, "masked": 6, "control": 35}
    # Half a backward pass for a layer in the middle.
    assert network_costs.n_passes(plan, "own", depth=0.5) == 33.5


def test_by_layer_views_are_passed_once_for_all_layers():
    path = ROOT / "config" / "paper.yaml"
    config = read_yaml(path) | {"models": [{"name": "resnet50_imagenet1k", "layers": {"count": 4}}]}
    config["encoding"] = {"baseline_components": 1000}
    stages = {}
    for unit in ("layer", "model"):
        features = {"features": config["features"] | {"unit": unit}}
        plan = Plan(load_study(config | features, root=ROOT, where=str(path)), ROOT)
        images = dict.fromkeys(plan.stimuli, 1000)
        layers = plan.layers("resnet50_imagenet1k")
        costs = {"resnet50_imagenet1k": NetworkCost(8e9, dict.fromkeys(layers, 1024))}
        rates = replace(RATES, start_s=0.0)
        arguments = (plan, costs, images, rates)
        stages[unit] = (
            network_costs.targets_cost(*arguments, gpu=True),
            network_costs.extraction_cost(*arguments, gpu=True),
        )
    depths = [plan.layer("resnet50_imagenet1k", layer).depth for layer in layers]
    # 9 sets of images; for each image 32 views, and by layer itself and part of four ways back.
    passes = 9 * 1000 * 8e9 / (RATES.gpu_tflops * 1e12) / 3600
    (views, by_layer), (none, by_model) = stages["layer"], stages["model"]
    assert (views.jobs, by_layer.jobs, none.jobs, by_model.jobs) == (9, 36, 0, 9)
    assert views.gpu_hours == pytest.approx(32 * passes)
    assert by_layer.gpu_hours == pytest.approx(sum(1 + 4 * (1 - at) for at in depths) * passes)
    assert by_model.gpu_hours == pytest.approx(37 * passes)


@pytest.mark.parametrize("unit", ["layer", "model"])
def test_views_in_bf16_are_counted_at_a_rate_of_their_own_where_they_run_on_a_gpu(unit):
    path = ROOT / "config" / "paper.yaml"
    config = read_yaml(path) | {"models": [{"name": "resnet50_imagenet1k", "layers": {"count": 4}}]}
    del config["encoding"]["nuisance"]
    rates = replace(RATES, start_s=0.0, gpu_tflops=10.0, gpu_bf16_tflops=40.0)
    hours = {}
    for precision in ("fp32", "fp32_views_bf16"):
        features = {"features": config["features"] | {"unit": unit, "precision": precision}}
        plan = Plan(load_study(config | features, root=ROOT, where=str(path)), ROOT)
        images = dict.fromkeys(plan.stimuli, 1000)
        widths = dict.fromkeys(plan.layers("resnet50_imagenet1k"), 1024)
        arguments = (plan, {"resnet50_imagenet1k": NetworkCost(8e9, widths)}, images, rates)
        hours[precision] = [
            sum(
                cost(*arguments, gpu=gpu).gpu_hours + cost(*arguments, gpu=gpu).cpu_hours
                for cost in (network_costs.targets_cost, network_costs.extraction_cost)
            )
            for gpu in (True, False)
        ]
    (exact, on_cores), (reduced, same) = hours.values()
    # Of the 32 views of an image three quarters are saved.
    assert exact - reduced == pytest.approx(9 * 1000 * 8e9 * 24 / 1e13 / 3600)
    assert on_cores == same


def test_the_paper_on_one_node_is_a_fraction_of_the_paper(capsys):
    def printed(name):
        estimate_study.main([str(ROOT / "config" / name), "--json", "--gpus", "1"])
        return json.loads(capsys.readouterr().out)

    paper, node = printed("paper.yaml"), printed("paper_one_node.yaml")
    # A day of 64 cores, and some 30 hours of a GPU at the rates of docs/scaling.md.
    assert node["core_hours"] < 64 * 24 < 5 * 64 * 24 < paper["core_hours"]
    assert node["gpu_hours"] < 31 < paper["gpu_hours"] / 20


def test_operations_of_a_network_are_those_that_its_authors_report():
    registries = Registries([ROOT / "config"])
    entry = registries.model("resnet50_imagenet1k", where="test")
    found = forward_pass(entry, ["layer1.0", "layer4.2"])
    # 4.1 billion multiply-adds (timm's table of ResNet-50 at 224 px), two operations each.
    assert found.flops == pytest.approx(2 * 4.11e9, rel=0.03)
    assert found.channels == {"layer1.0": 256, "layer4.2": 2048}
    assert found.positions == {"layer1.0": 56 * 56, "layer4.2": 7 * 7}
    assert found.n_parameters == 25_557_032


@pytest.fixture
def demo():
    path = ROOT / "config" / "config.yaml"
    return Plan(load_study(read_yaml(path), root=ROOT, where=str(path)), ROOT)


def test_a_second_draw_costs_the_passes_of_what_depends_on_chance_and_a_regression(demo):
    costs = {
        model: NetworkCost(1e9, dict.fromkeys(demo.layers(model), 100)) for model in demo.models
    }

    def cost(n_images=128, images=320, **more):
        reliability = {"n_images": n_images, **more}
        update = {"reliability": ReliabilitySettings(**reliability)}
        settings = demo.study.settings.model_copy(update=update)
        plan = Plan(replace(demo.study, settings=settings), ROOT)
        return network_costs.reliability_cost(plan, costs, {"simulated": images}, RATES, gpu=False)

    assert cost().jobs == len(demo.models) == 1
    passes = network_costs._passes_of(demo, demo.uncertain_signals(demo.models[0]))
    # The job draws 64 images less; what the regression sees is the same.
    saved = 64 * 1e9 * passes / (RATES.core_pass_gflops * 1e9)
    found = 3600 * (cost(128, 64 + 4000).cpu_hours - cost(64, 64 + 4000).cpu_hours)
    assert found == pytest.approx(saved, rel=0.01)
    # The regression is bounded by its own setting, however many images there are.
    assert cost(images=10**5).cpu_hours == cost(images=10**6).cpu_hours
    assert cost(images=10**5, max_training_images=500).memory_gib < cost(images=10**5).memory_gib


def test_second_opinions_cost_jobs_time_and_disk(demo):
    sizes = {
        name: ExpectedSize(n_images=320, n_targets=100, n_units=4) for name in demo.study.datasets
    }
    names = {model: demo.layers(model) for model in demo.models}
    names |= {model: planted for (model, _), planted in demo.planting_models.items()}
    costs = {model: NetworkCost(1e9, dict.fromkeys(layers, 100)) for model, layers in names.items()}
    found = {}
    for asked in (False, True):
        rsa = demo.study.settings.rsa.model_copy(update={"encoding": asked})
        settings = demo.study.settings.model_copy(update={"rsa": rsa})
        plan = Plan(replace(demo.study, settings=settings), ROOT)
        stages = estimate.estimate(plan, costs, sizes, RATES, gpu=False)
        found[asked] = {row.rule: row for row in stages}
    more = {rule: row.jobs - (found[False][rule].jobs if rule in found[False] else 0)
            for rule, row in found[True].items()}  # fmt: skip
    shared = len([e for e in demo.study.datasets.values() if e.stimuli is not None])
    assert {rule: jobs for rule, jobs in more.items() if jobs} == {
        "compute_rdm_ceilings": shared, "score_rdms": len(demo.models), "test_second_opinions": 1,
        "plot_figure": 1,
    }  # fmt: skip
    plain, asked = (found[key]["fit_encoding"] for key in (False, True))
    assert plain.cpu_hours < asked.cpu_hours and plain.disk_gib < asked.disk_gib
    assert plain.memory_gib == asked.memory_gib


def test_time_of_dissimilarities_grows_with_pairs_rows_and_units_up_to_the_bound():
    settings = EncodingSettings(n_folds=5, n_draws=100)

    def seconds(size, **rsa):
        return fit_costs.rdm_seconds(size, settings, RsaSettings(encoding=True, **rsa), RATES)

    size = replace(NSD, images=500, units=10, signals=4)
    # Five folds of 100 images; 14 rows: two of activations, three of each signal.
    pairs = 5 * 100 * 99 / 2
    assert seconds(size) == pytest.approx(pairs * 100 * 14 * 10 * RATES.rdm_ns * 1e-9)
    assert seconds(replace(size, units=20)) == pytest.approx(2 * seconds(size))
    assert seconds(replace(size, images=10**4)) == seconds(replace(size, images=10**5))
    assert seconds(replace(size, images=10**4), max_images=100) == pytest.approx(seconds(size))


def test_extraction_by_layer_costs_more_than_in_one_pass(demo):
    costs = {
        model: NetworkCost(1e9, dict.fromkeys(demo.layers(model), 100)) for model in demo.models
    }
    costs["planting_efficientnet_lite0_96px"] = NetworkCost(
        1e9, {f"blocks.{index}": 100 for index in range(7)}
    )
    images = {"simulated": 320}
    fused = network_costs.extraction_cost(demo, costs, images, RATES, gpu=True)
    features = demo.study.settings.features.model_copy(update={"unit": "layer"})
    settings = demo.study.settings.model_copy(update={"features": features})
    single = Plan(replace(demo.study, settings=settings), ROOT)
    by_layer = network_costs.extraction_cost(single, costs, images, RATES, gpu=True)
    assert fused.jobs == 2
    assert by_layer.jobs == 7 + 4
    assert by_layer.disk_gib == fused.disk_gib
    assert by_layer.gpu_hours > 2 * fused.gpu_hours
    assert fused.cpu_hours == 0


def test_memory_of_extraction_has_the_network_in_it(demo):
    layers = {model: demo.layers(model) for model in demo.models}
    layers["planting_efficientnet_lite0_96px"] = [f"blocks.{index}" for index in range(7)]
    costs = {
        model: NetworkCost(
            1e9,
            dict.fromkeys(names, 100),
            weight_bytes=2**30,
            saved_bytes=2**28,
            layer_bytes=2**25,
            largest_bytes=2**24,
        )
        for model, names in layers.items()
    }
    n_signals = len(demo.study.signal_set.signals)
    rows = 4 * 320 * 100 * n_signals * max(map(len, layers.values()))
    batch = demo.study.settings.features.batch_size
    passes = 2**30 + batch * (2**28 + 2**25 + 2 * 2**24)
    on_cpu, on_gpu = (
        network_costs.extraction_cost(demo, costs, {"simulated": 320}, RATES, gpu=gpu)
        for gpu in (False, True)
    )
    assert on_cpu.memory_gib == pytest.approx(RATES.process_gib + (passes + rows) / 2**30, rel=0.01)
    assert on_cpu.gpu_memory_gib == 0
    assert on_gpu.gpu_memory_gib == pytest.approx(passes / 2**30)
    assert on_gpu.memory_gib == pytest.approx(RATES.process_gib + rows / 2**30, rel=0.01)
    # More images than a batch take no more.
    many = network_costs.extraction_cost(demo, costs, {"simulated": 10**6}, RATES, gpu=True)
    assert many.gpu_memory_gib == on_gpu.gpu_memory_gib


def test_the_estimate_counts_a_large_network(capsys):
    estimate_study.main([str(ROOT / "config" / "paper.yaml"), "--json", "--gpus", "1"])
    rules = json.loads(capsys.readouterr().out)["rules"]
    # Weights of ViT-L and DINOv3 7B and what a batch keeps: far more than a process.
    assert rules["extract_features"]["gpu_memory_gib"] > 5
    assert rules["compute_objective_targets"]["gpu_memory_gib"] > 1


def test_a_rate_of_ones_own_changes_what_it_is_the_rate_of(capsys):
    def printed(*options):
        estimate_study.main([str(ROOT / "config" / "config.yaml"), "--json", *options])
        return json.loads(capsys.readouterr().out)

    usual = printed()
    slow = printed("--rate", "core_pass_gflops=1")
    assert slow["core_hours"] > usual["core_hours"]
    assert slow["rules"]["fit_encoding"] == usual["rules"]["fit_encoding"]
    large = printed("--size", "simulated_fmri_paper_pattern=320,50000,8")
    assert large["rules"]["fit_encoding"]["cpu_hours"] > usual["rules"]["fit_encoding"]["cpu_hours"]
    gpu = printed("--gpus", "1", "--images-per-s", "efficientnet_lite0_96px=100")
    assert gpu["gpu_hours"] > 0
    assert gpu["rates"]["gpu_tflops"] == gpu["rates"]["gpu_bf16_tflops"] < 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "nsd=1,2,3"], "no data set of the study 'nsd'"),
        (["--size", "simulated_fmri_paper_pattern=1,2"], "IMAGES,TARGETS,UNITS"),
        (["--rate", "weights_s=-1"], "--rate weights_s: expected a number above 0, found '-1'"),
        (["--rate", "speed=1"], "no constant 'speed'"),
        (["--images-per-s", "100"], "expected NAME=VALUE"),
    ],
)
def test_a_wrong_option_is_named(options, said):
    with pytest.raises(GradbrainError, match=r".*") as error:
        estimate_study.main([str(ROOT / "config" / "config.yaml"), *options])
    assert said in str(error.value)


def test_a_data_set_of_unknown_size_is_an_error_that_names_the_option(demo):
    entry = demo.study.datasets["simulated_fmri_paper_pattern"]
    demo.study.datasets[entry.name] = entry.model_copy(update={"expected": None})
    with pytest.raises(GradbrainError, match="--size simulated_fmri_paper_pattern=IMAGES"):
        estimate.subject_sizes(demo, {})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--cores", "0"], "--cores: expected an integer >= 1, found '0'"),
        (["--cores", "two"], "--cores: expected an integer >= 1, found 'two'"),
        (["--gpus=-1"], "--gpus: expected an integer >= 0, found '-1'"),
    ],
)
def test_numbers_of_cores_and_gpus_that_cannot_be_are_refused(option, message, capsys):
    with pytest.raises(SystemExit):
        estimate_study.main([str(ROOT / "config" / "config.yaml"), *option])
    assert message in capsys.readouterr().err


def test_fits_of_a_model_in_one_job_start_once(demo):
    rates = RATES
    sizes = {
        name: ExpectedSize(n_images=320, n_targets=100, n_units=4) for name in demo.study.datasets
    }
    layers = {model: demo.layers(model) for model in demo.models}
    layers |= {model: planted for (model, _), planted in demo.planting_models.items()}
    costs = {model: NetworkCost(1e9, dict.fromkeys(names, 100)) for model, names in layers.items()}
    found = {}
    for unit in ("layer", "model"):
        encoding = demo.study.settings.encoding.model_copy(update={"unit": unit})
        settings = demo.study.settings.model_copy(update={"encoding": encoding})
        plan = Plan(replace(demo.study, settings=settings), ROOT)
        stages = estimate.estimate(plan, costs, sizes, rates, gpu=False)
        found[unit] = next(row for row in stages if row.rule == "fit_encoding")
    n_layers = sum(len(demo.layers(model)) for model in demo.models)
    n_models, n_subjects = len(demo.models), len(demo.subjects)
    assert found["layer"].jobs == n_layers * n_subjects
    assert found["model"].jobs == n_models * n_subjects
    saved = found["layer"].cpu_hours - found["model"].cpu_hours
    assert saved == pytest.approx((n_layers - n_models) * n_subjects * rates.start_s / 3600)
    assert found["model"].longest_hours > found["layer"].longest_hours
