"""The objective of image and caption: its formula, its bank, and its way through an extraction."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from extract_features import main
from trees.text_towers import write_clip, write_siglip

from gradbrain.config.plugins import LIBRARY_PLUGINS, PluginUse
from gradbrain.config.schema import ModelEntry, SignalEntry, TextTower
from gradbrain.models.build import build_model
from gradbrain.models.text_tower import load_text_tower
from gradbrain.models.weights import file_sha256
from gradbrain.objectives import ObjectiveError, build_objective
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.objectives.image_text import imagenet_prompts, wording
from gradbrain.signals.image_stream import StimulusImages, StoredImages
from gradbrain.store import open_tree, write_table

KINDS = ("clip", "siglip")


@pytest.fixture(scope="module")
def text_data(tmp_path_factory):
    """Towers that are as wide as the tiny network's logits (CLIP) and features (SigLIP)."""
    data = tmp_path_factory.mktemp("data")
    write_clip(data / "weights" / "tiny-clip", width=5)
    write_siglip(data / "weights" / "tiny-siglip", width=6)
    return data


@pytest.fixture(params=KINDS)
def tiny_model(request, tiny_model, text_data):
    kind = request.param
    tower = TextTower(repository=f"nobody/tiny-{kind}", kind=kind)
    entry = tiny_model.entry.model_copy(update={"text_tower": tower})
    return dataclasses.replace(tiny_model, entry=entry, data=text_data)


def load(name, model, options, bank, seed=0):
    use = LIBRARY_PLUGINS.resolve(PluginUse("objectives", name, options), where="test")
    return build_objective(use, model, bank, seed=seed)


def build(model, bank, texts="imagenet1k"):
    return load("image_text", model, {"bank": texts}, bank, seed=4)


def distinct_prompts() -> list[str]:
    """Prompts of ImageNet's classes, once each; towers read "Cardigan" as they read "cardigan"."""
    return list({text.lower(): text for text in imagenet_prompts()}.values())


def output_of(model, objective, batch):
    return model.outputs(batch.raw, (objective.output,))[objective.output]


def expected_loss(model, code, caption, negatives):
    """The published formula for one image, written out."""
    tower = load_text_tower(model)
    code = code / code.norm()
    (positive,) = tower.scale * tower.embed([caption]) @ code + tower.bias
    others = tower.scale * tower.embed(negatives) @ code + tower.bias
    if tower.kind == "clip":
        return -torch.log(positive.exp() / (positive.exp() + others.exp().sum()))
    return -torch.log(positive.sigmoid()) - torch.log((-others).sigmoid()).sum()


def test_the_loss_is_the_published_formula_over_captions_of_the_calibration_images(
    tiny_model, bank, batch
):
    objective = build(tiny_model, bank, texts="calibration")
    output = output_of(tiny_model, objective, batch)
    texts = [f"a photo of thing {index}" for index in range(5)]
    found = objective.loss(output, batch)
    for row, caption in enumerate(batch.captions):
        negatives = [text for text in texts if text != caption]
        assert len(negatives) == 4
        expected = expected_loss(tiny_model, output[row], caption, negatives)
        torch.testing.assert_close(found[row], expected)


def test_the_default_bank_is_the_classes_of_imagenet(tiny_model, bank, batch):
    objective = build(tiny_model, bank)
    output = output_of(tiny_model, objective, batch)
    texts = distinct_prompts()
    assert texts[0] == "a photo of a tench."
    expected = expected_loss(tiny_model, output[0], batch.captions[0], texts)
    torch.testing.assert_close(objective.loss(output, batch)[0], expected)
    assert len(imagenet_prompts()) == 1000
    assert objective.report()["n_bank"] == len(texts)
    # Two classes each are called crane, maillot and, but for a capital, cardigan.
    assert len(texts) == 997


def test_a_caption_is_not_its_own_negative_however_it_is_written(tiny_model, bank, batch):
    objective = build(tiny_model, bank)
    output = output_of(tiny_model, objective, batch)
    others = [text for text in distinct_prompts() if text != "a photo of a goldfish."]
    for caption in ("a photo of a goldfish.", "A photo of the  Goldfish"):
        captioned = dataclasses.replace(batch, captions=(caption,) * len(batch))
        expected = expected_loss(tiny_model, output[0], caption, others)
        torch.testing.assert_close(objective.loss(output, captioned)[0], expected)
    assert wording("An airship. ") == "airship"


def test_clips_images_are_projected_and_siglips_are_pooled(tiny_model, bank):
    kind = tiny_model.entry.text_tower.kind
    objective = build(tiny_model, bank)
    assert objective.output == {"clip": "logits", "siglip": "features"}[kind]
    shuffled = load("shuffled_cotangent", tiny_model, {"objective": "image_text"}, bank)
    assert shuffled.output == objective.output


def test_the_length_of_the_output_does_not_matter(tiny_model, bank, batch):
    objective = build(tiny_model, bank)
    output = output_of(tiny_model, objective, batch)
    torch.testing.assert_close(objective.loss(3 * output, batch), objective.loss(output, batch))


@pytest.mark.parametrize("name", ["image_text", "shuffled_cotangent"])
def test_the_derivative_equals_finite_differences(name, tiny_model, bank, batch):
    options = {"objective": "image_text"} if name == "shuffled_cotangent" else {}
    objective = load(name, tiny_model, options, bank, seed=4)
    output = output_of(tiny_model, objective, batch).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: objective.loss(values, batch), (output,))


def test_an_image_has_the_same_scalar_in_any_company(tiny_model, bank, batch):
    objective = build(tiny_model, bank)
    together = objective.loss(output_of(tiny_model, objective, batch), batch)
    fresh = load("image_text", tiny_model, {}, None, seed=4)
    for row in range(len(batch)):
        part = batch.part(slice(row, row + 1))
        alone = fresh.loss(output_of(tiny_model, fresh, part), part)
        # float64: only the order of additions inside a matrix product may differ.
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-10, atol=1e-12)


def test_a_shuffled_cotangent_is_that_of_a_captioned_calibration_image(tiny_model, bank, batch):
    shuffled = load("shuffled_cotangent", tiny_model, {"objective": "image_text"}, bank)
    output = output_of(tiny_model, shuffled, batch).requires_grad_()
    (found,) = torch.autograd.grad(shuffled.loss(output, batch).sum(), output)
    inner, possible = load("image_text", tiny_model, {}, bank), []
    for images in bank.batches():
        leaf = output_of(tiny_model, inner, images).requires_grad_()
        possible.append(torch.autograd.grad(inner.loss(leaf, images).sum(), leaf)[0])
    assert (torch.cdist(found, torch.cat(possible)).min(dim=1).values < 1e-12).all()


def test_the_report_says_which_text_weights_were_compared_with(tiny_model, bank, text_data):
    kind = tiny_model.entry.text_tower.kind
    report = build(tiny_model, bank).report()
    path = text_data / "weights" / f"tiny-{kind}" / "model.safetensors"
    assert report["text_weights"] == f"folder weights/tiny-{kind}"
    assert report["text_weights_digest"] == file_sha256(path)
    assert report["form"] == {"clip": "softmax", "siglip": "sigmoid"}[kind]


def test_an_image_without_caption_is_named(tiny_model, bank, batch):
    objective = build(tiny_model, bank)
    some = dataclasses.replace(batch, captions=(*batch.captions[:2], None, *batch.captions[3:]))
    with pytest.raises(ObjectiveError, match=r"image_text: image 'stimulus2' has no caption"):
        objective.loss(output_of(tiny_model, objective, some), some)


def test_a_bank_of_captions_needs_images_with_different_ones(tiny_model, batch):
    for captions in ((None,) * 6, ("a cat", "A cat.", None, None, None, None)):
        images = dataclasses.replace(batch, captions=captions)
        bank = CalibrationBank(tiny_model, lambda images=images: iter([images]))
        with pytest.raises(ObjectiveError, match=r"at least two different captions, found"):
            build(tiny_model, bank, texts="calibration")
    with pytest.raises(ObjectiveError, match="needs calibration images"):
        build(tiny_model, None, texts="calibration")


# --- images with captions --------------------------------------------------------------------


def with_captions(path, captions):
    table = pd.read_parquet(path)
    table["caption"] = pd.array(captions, dtype="string")
    write_table(path, table, kind="stimuli")


def test_captions_of_the_table_reach_the_batches_and_those_that_are_stored(tmp_path, tools):
    path = tools["stimuli"](tmp_path, "seen", 5, 0)
    entry = ModelEntry(name="m", architecture="none", weights={"source": "random"}, input_size=32)
    device = torch.device("cpu")
    without = StimulusImages.read(path, entry)
    assert next(without.batches(5, device)).captions == (None,) * 5
    with_captions(path, ["a", None, "c", "d", "e"])
    images = StimulusImages.read(path, entry)
    for batches in (images.batches(2, device), StoredImages(images, 2, device).batches()):
        assert [batch.captions for batch in batches] == [("a", None), ("c", "d"), ("e",)]
    (batch,) = images.batches(5, device)
    assert batch.part(slice(1, 3)).captions == (None, "c")
    assert batch.with_raw(batch.raw + 1).captions == batch.captions


def test_captions_are_part_of_the_digest_of_images_only_where_there_are_any(tmp_path, tools):
    path = tools["stimuli"](tmp_path, "seen", 3, 0)
    entry = ModelEntry(name="m", architecture="none", weights={"source": "random"}, input_size=32)
    before = StimulusImages.read(path, entry).digest
    with_captions(path, [None] * 3)
    assert StimulusImages.read(path, entry).digest == before
    with_captions(path, ["a", "b", None])
    first = StimulusImages.read(path, entry).digest
    with_captions(path, ["a", "c", None])
    assert len({before, first, StimulusImages.read(path, entry).digest}) == 3


# --- a whole extraction ----------------------------------------------------------------------

# The class token goes out alone, so that patches behind the last block have no gradient.
LAYER = "blocks.4"
SHUFFLED = SignalEntry(
    name="gradient_shuffled_image_text",
    role="control",
    rule="backprop",
    objective="shuffled_cotangent",
    options={"objective": "image_text"},
)


class Captioned:
    """A CLIP-like network with its text tower, captioned images, and what extracts from them."""

    def __init__(self, folder, tools) -> None:
        self.folder, self.tools = folder, tools
        write_clip(folder / "weights" / "tiny-clip", width=12)
        self.stimuli = tools["stimuli"](folder, "seen", 7, 0)
        self.calibration = tools["stimuli"](folder, "other", 6, 1)
        with_captions(self.stimuli, [f"a photo of animal {index}" for index in range(7)])
        with_captions(self.calibration, [f"a photo of plant {index}" for index in range(6)])
        self.signal_set = tools["signal_set"](
            tools["backprop"]("image_text"), tools["backprop"]("feature_norm", "control"), SHUFFLED
        )
        self.entry = ModelEntry(
            name="small",
            architecture="test_vit",
            kwargs={"img_size": 32, "num_classes": 12},
            weights={"source": "random"},
            input_size=32,
            text_tower=TextTower(repository="nobody/tiny-clip", kind="clip"),
        )

    def extract(self, batch_size: int = 3, name: str = "features"):
        output = self.folder / name / "seen.zarr"
        main(
            [
                *("--model", self.entry.model_dump_json(), "--layers", LAYER, "--depths", "1.0"),
                *("--signal-set", self.signal_set.model_dump_json()),
                *("--stimuli", str(self.stimuli), "--stimuli-name", "seen"),
                *("--calibration", str(self.calibration), "--data", str(self.folder)),
                *("--output", str(output), "--batch-size", str(batch_size), "--device", "cpu"),
            ]
        )
        return open_tree(output, kind="features", verify=True).load()


@pytest.fixture
def captioned(tmp_path, tools):
    return Captioned(tmp_path, tools)


def test_the_gradient_of_image_and_caption_is_extracted_end_to_end(captioned):
    store = captioned.extract()
    found = store["signals/gradient_image_text"].values.astype(float)
    assert found.shape == store["signals/activation"].shape
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found, gradients_by_hand(captioned), rtol=1e-3, atol=1e-6)
    assert np.isfinite(store["objective_value"].values[:, 1:]).all()
    other = captioned.extract(batch_size=7, name="other")
    # float32: matrix products add up in another order for another batch.
    np.testing.assert_allclose(other["signals/gradient_image_text"], found, rtol=1e-3, atol=1e-6)
    digest = file_sha256(captioned.folder / "weights" / "tiny-clip" / "model.safetensors")
    assert store.attrs["image_text_weights"] == digest
    provenance = captioned.folder / "features" / "seen.zarr.provenance.json"
    facts = json.loads(provenance.read_text())["objectives"]["gradient_image_text"]
    assert facts["text_weights_digest"] == digest


def gradients_by_hand(captioned) -> np.ndarray:
    """Mean over tokens of the gradient at the last block, unit length, image by image."""
    model = build_model(captioned.entry, data=captioned.folder)
    images = StimulusImages.read(captioned.stimuli, captioned.entry)
    texts = distinct_prompts()
    kept = []
    model.module.get_submodule(LAYER).register_forward_hook(
        lambda module, inputs, output: kept.append(output.requires_grad_()) or None
    )
    rows = []
    for batch in images.batches(1, torch.device("cpu")):
        (code,) = model.outputs(batch.raw, ("logits",))["logits"]
        loss = expected_loss(model, code, batch.captions[0], texts)
        (gradient,) = torch.autograd.grad(loss, kept[-1])
        prefix = model.module.num_prefix_tokens
        pooled = gradient[0, prefix:].mean(0)
        rows.append((pooled / pooled.norm()).numpy())
    return np.stack(rows)


def test_other_captions_give_other_gradients_and_the_same_activations(captioned, caplog):
    caplog.set_level(logging.INFO)
    before = captioned.extract()
    with_captions(captioned.stimuli, [f"a drawing of car {index}" for index in range(7)])
    after = captioned.extract()
    assert "is made again: stimuli_digest changed" in caplog.text
    assert np.array_equal(before["signals/activation"], after["signals/activation"])
    assert not np.allclose(
        before["signals/gradient_image_text"], after["signals/gradient_image_text"]
    )


def test_other_text_weights_make_the_features_again(captioned, caplog):
    caplog.set_level(logging.INFO)
    captioned.extract()
    write_clip(captioned.folder / "weights" / "tiny-clip", width=12, seed=1)
    captioned.extract()
    assert "is made again: image_text_weights changed" in caplog.text


def test_signals_without_text_neither_read_nor_name_the_text_tower(captioned, tools):
    captioned.signal_set = tools["signal_set"](tools["backprop"]("feature_norm", "control"))
    (captioned.folder / "weights" / "tiny-clip" / "model.safetensors").unlink()
    store = captioned.extract()
    assert "image_text_weights" not in store.attrs
    assert "text_tower" not in store.attrs["model_entry"]


def test_images_without_captions_stop_the_extraction_by_name(captioned):
    with_captions(captioned.stimuli, [*"abcdef", None])
    with pytest.raises(ObjectiveError, match=r"image 'seen_6' has no caption"):
        captioned.extract()
    assert not (captioned.folder / "features" / "seen.zarr").exists()
