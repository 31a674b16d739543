"""Untrained networks of many families, from timm's metadata alone to activations and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from extract_features import main

from gradbrain.config.schema import ModelEntry
from gradbrain.models import timm_entries
from gradbrain.models.layers import list_layers
from gradbrain.store import open_tree

ARCHITECTURES = (
    *("resnet10t", "resnet18", "resnetv2_18", "test_resnet", "legacy_seresnet18", "resnext26ts"),
    *("mobilenetv2_050", "mobilenetv3_small_050", "mnasnet_small", "lcnet_050", "tinynet_e"),
    *("efficientnet_lite0", "test_efficientnet", "ghostnet_050", "regnetx_002", "regnety_002"),
    *("convnext_atto", "convnextv2_atto", "test_convnext", "repvgg_a0", "mobileone_s0", "vgg11"),
    *("densenet121", "dla46_c", "edgenext_xx_small", "fastvit_t8", "poolformer_s12"),
    *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "test_vit", "mixer_s32_224"),
    *("efficientformerv2_s0", "starnet_s1", "nf_regnet_b0"),
)
SIZE = 64


@pytest.fixture(scope="module")
def entries():
    found = timm_entries.untrained(ARCHITECTURES, seeds=1, input_size=SIZE)
    assert not found.left_out
    return found.entries


def test_they_are_thirty_or_more_of_many_families(entries):
    assert len(entries) == len(ARCHITECTURES) >= 30
    assert len({content["factors"]["family"] for content in entries.values()}) >= 15


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_untrained_network_gives_activations_and_gradients(
    architecture, entries, tmp_path, tools
):
    name = f"{architecture}_untrained_0"
    entry = ModelEntry(name=name, **entries[name])
    table = list_layers(architecture)
    rows = table.iloc[[0, len(table) // 2, len(table) - 1]].drop_duplicates()
    outputs = [tmp_path / f"{layer}.zarr" for layer in rows["layer"]]
    signal_set = tools["signal_set"](tools["backprop"]("feature_norm"))
    stimuli = tools["stimuli"](tmp_path, "seen", 3, 0)
    main(
        [
            *("--model", entry.model_dump_json()),
            *("--layers", *rows["layer"], "--depths", *map(str, rows["depth"])),
            *("--signal-set", signal_set.model_dump_json()),
            *("--stimuli", str(stimuli), "--stimuli-name", "seen"),
            *("--calibration", str(tools["stimuli"](tmp_path, "other", 2, 1))),
            *("--data", str(tmp_path), "--batch-size", "3", "--device", "cpu"),
            *("--output", *map(str, outputs)),
        ]
    )
    stores = [open_tree(output, kind="features", verify=True) for output in outputs]
    for store in stores:
        values = {name: store["signals"][name].values for name in store["signal"].values}
        assert all(one.shape[0] == 3 and np.isfinite(one).all() for one in values.values())
        assert np.ptp(values["activation"], axis=0).max() > 0
    # The last block of a transformer sends back what its way out takes, and no more.
    first = stores[0]["signals"]["gradient_feature_norm"].values
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, rtol=1e-4)
