"""The benchmark of a job: time spent in scores is told from that spent in fits."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import bench_job as benchmark

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.scores import FoldScorer


@pytest.mark.parametrize("method", ["scores", "split", "gain"])
def test_time_in_any_method_of_the_scorer_is_time_of_scores(monkeypatch, method):
    now, calls = [0.0], []
    original = getattr(FoldScorer, method)

    def slow(self, *arguments):
        calls.append(method)
        now[0] += 100.0
        return original(self, *arguments)

    monkeypatch.setattr(FoldScorer, method, slow)
    features = benchmark.make_features(n_images=60, n_features=8, n_layers=2, n_signals=1)
    settings = EncodingSettings(n_draws=5, n_band_weights=3)
    found = benchmark.time_fold(features, 40, settings, lambda: now[0])
    assert calls
    assert found == {"bands": 0.0, "fits": 0.0, "scores": 100.0 * len(calls)}
