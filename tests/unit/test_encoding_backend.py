"""The torch backend against numpy: the same choices and predictions, on every device there is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.backend import NUMPY, TorchBackend, make_backend
from gradbrain.encoding.bands import make_band
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.estimator import BandedRidge
from gradbrain.encoding.fit import make_regression
from gradbrain.encoding.regression import ClosedFormRegression
from gradbrain.encoding.solver import Search, penalty_grid

WIDTHS = {"primal": (20, 30), "dual": (120, 150)}
# A test on a GPU where there is one; the names of the tests that ran say whether there was.
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def make_arguments(form, dtype, selection="gcv", target_groups=None):
    generator = np.random.default_rng(3)
    features = [generator.standard_normal((140, width)) for width in WIDTHS[form]]
    responses = 2 * generator.standard_normal((40, 140))
    for values in features:
        coefficients = generator.standard_normal((40, values.shape[1]))
        responses += coefficients @ values.T / np.sqrt(values.shape[1])
    responses -= responses[:, :100].mean(axis=1, keepdims=True)
    bands = {
        name: make_band(values[:100], values[100:], dtype=dtype)
        for name, values in zip("ab", features, strict=True)
    }
    search = Search(
        penalty_grid(0, 8, 10),
        selection,
        inner_folds=np.arange(100) % 5,
        target_groups=target_groups,
        target_batch=7,
    )
    return bands, np.ascontiguousarray(responses[:, :100], dtype=dtype), search


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("selection", ["gcv", "loo", "kfold"])
@pytest.mark.parametrize("form", WIDTHS)
def test_torch_fits_as_numpy_does(form, selection, device):
    """In float64 to 1e-8; in float32 to 1e-4 of a response's deviation, near-ties apart."""
    for dtype, tolerance, alike in ((np.float64, 1e-8, 1.0), (np.float32, 1e-4, 0.9)):
        arguments = make_arguments(form, dtype, selection)
        ours = ClosedFormRegression(*arguments, 5, NUMPY).pair("a", "b")
        torch_fit = ClosedFormRegression(*arguments, 5, TorchBackend(device)).pair("a", "b")
        assert torch_fit.prediction.dtype == dtype
        same = (ours.log10_penalty == torch_fit.log10_penalty) & (
            ours.band_weight == torch_fit.band_weight
        )
        assert same.mean() >= alike
        for left, right in zip(ours.parts, torch_fit.parts, strict=True):
            np.testing.assert_allclose(left[same], right[same], atol=tolerance * arguments[1].std())
        np.testing.assert_allclose(
            ours.degrees_of_freedom[same], torch_fit.degrees_of_freedom[same], rtol=1e-4
        )


@pytest.mark.parametrize("device", DEVICES)
def test_targets_that_share_their_penalty_do_so_on_torch(device):
    groups = np.repeat([0, 1], 20)
    arguments = make_arguments("dual", np.float64, target_groups=groups)
    ours, theirs = (
        ClosedFormRegression(*arguments, 5, backend).pair("a", "b")
        for backend in (NUMPY, TorchBackend(device))
    )
    np.testing.assert_array_equal(ours.log10_penalty, theirs.log10_penalty)
    np.testing.assert_allclose(ours.prediction, theirs.prediction, atol=1e-8)


@pytest.mark.parametrize("widths", [(9, 20), (60, 90), (9, 20, 15)], ids=str)
def test_the_estimator_takes_a_backend(widths):
    generator = np.random.default_rng(4)
    bands = [generator.standard_normal((60, width)) for width in widths]
    responses = generator.standard_normal((60, 12)) + bands[0][:, :1]
    ours, theirs = (
        BandedRidge(dtype=np.float64, backend=backend, device="cpu").fit(bands, responses)
        for backend in ("numpy", "torch")
    )
    np.testing.assert_array_equal(ours.penalty_, theirs.penalty_)
    np.testing.assert_allclose(ours.predict(bands), theirs.predict(bands), atol=1e-8)


def test_the_settings_choose_the_backend():
    bands, responses, search = make_arguments("primal", np.float64)
    settings = EncodingSettings(backend="torch", device="cpu")
    assert isinstance(make_regression(bands, responses, search, settings)._backend, TorchBackend)
    default = make_regression(bands, responses, search, EncodingSettings())
    assert default._backend is NUMPY


def test_torch_is_imported_only_when_asked_for():
    code = (
        "import sys; import fit_encoding; from gradbrain.encoding.backend import make_backend\n"
        "make_backend('numpy'); before = 'torch' in sys.modules\n"
        "make_backend('torch'); print(before, 'torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    path = f"import sys; sys.path[:0] = {[str(root / 'workflow'), str(root / 'scripts')]!r}\n"
    run = [sys.executable, "-c", path + code]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert found.split() == ["False", "True"]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EncodingError, match=r"torch finds no GPU; set encoding\.device"):
        make_backend("torch", "cuda")
    assert make_backend("torch", "auto").device == "cpu"


def test_himalaya_on_torch_is_refused():
    with pytest.raises(ValueError, match="set solver: closed_form or backend: numpy"):
        EncodingSettings(solver="himalaya", backend="torch")
