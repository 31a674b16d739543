"""Text towers of CLIP and SigLIP 2, read from checkpoints in the published format."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from trees.text_towers import write_clip, write_siglip

from gradbrain.config.schema import ModelEntry
from gradbrain.models.build import build_model
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.text_tower import load_text_tower, text_weights_digest
from gradbrain.models.weights import file_sha256

WORKFLOW = Path(__file__).resolve().parents[3] / "workflow"
TEXTS = ["a photo of a cat.", "A Dog", "it's 12 o'clock, " * 9, "x"]
WIDTHS = {"clip": 12, "siglip": 64}


def entry_of(kind: str, **changes: object) -> ModelEntry:
    n_classes = {"clip": WIDTHS["clip"], "siglip": 0}[kind]
    settings = {
        "name": "small",
        "architecture": "test_vit",
        "weights": {"source": "random"},
        "input_size": 32,
        "kwargs": {"img_size": 32, "num_classes": n_classes},
        "text_tower": {"repository": f"nobody/tiny-{kind}", "kind": kind},
        **changes,
    }
    return ModelEntry.model_validate(settings)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Checkpoints of both halves below data/weights, and the networks that wrote them."""
    data = tmp_path_factory.mktemp("data")
    return data, {
        "clip": write_clip(data / "weights" / "tiny-clip", width=WIDTHS["clip"]),
        "siglip": write_siglip(data / "weights" / "tiny-siglip", width=WIDTHS["siglip"]),
    }


@pytest.fixture
def damaged(published, tmp_path):
    """A copy of the checkpoints that a test may damage."""
    shutil.copytree(published[0], tmp_path / "data")
    return tmp_path / "data"


def tower(kind: str, data: Path, **changes: object):
    return load_text_tower(build_model(entry_of(kind, **changes), data=data))


def reference(kind: str, network, folder: Path, texts) -> tuple[list[list[int]], torch.Tensor]:
    """Tokens and embeddings as transformers' own processors and networks give them."""
    import transformers

    names = {"clip": "CLIPTokenizer", "siglip": "Siglip2Tokenizer"}
    tokenizer = getattr(transformers, names[kind]).from_pretrained(folder)
    length = {"clip": 40, "siglip": 64}[kind]
    tokens = tokenizer(list(texts), padding="max_length", truncation=True, max_length=length)
    numbers = torch.tensor(tokens["input_ids"])
    with torch.no_grad():
        found = network.get_text_features(input_ids=numbers).pooler_output
    return numbers.tolist(), found / found.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_tokens_and_embeddings_are_those_of_the_published_network(kind, published):
    data, networks = published
    found = tower(kind, data)
    folder = data / "weights" / f"tiny-{kind}"
    tokens, embedded = reference(kind, networks[kind], folder, TEXTS)
    assert [found.tokens(text) for text in TEXTS] == tokens
    torch.testing.assert_close(found.embed(TEXTS), embedded)
    assert found.origin == f"folder weights/tiny-{kind}"
    # The writer set logit_scale to 1.5 and SigLIP's logit_bias to −2.
    assert found.scale == pytest.approx(torch.tensor(1.5).exp().item())
    assert found.bias == (0.0 if kind == "clip" else -2.0)


def test_siglip_reads_lower_case_though_its_published_tokenizer_is_gemmas(published):
    found = tower("siglip", published[0])
    config = json.loads((published[0] / "weights/tiny-siglip/tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "GemmaTokenizer"
    assert torch.equal(found.embed(["A CAT"]), found.embed(["a cat"]))


def test_siglip_does_not_mask_its_padding(published):
    """The embedding is read at the last place, where a text of this length has padding."""
    found = tower("siglip", published[0])
    tokens = torch.tensor([found.tokens("a cat")])
    assert tokens[0, -1] == found.tokenizer.pad_token_id
    with torch.no_grad():
        masked = found.module(input_ids=tokens, attention_mask=(tokens != 0).long()).pooler_output
    masked = masked / masked.norm(dim=-1, keepdim=True)
    assert not torch.allclose(found.embed(["a cat"]), masked, atol=1e-4)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_text_that_is_too_long_keeps_its_end_token(kind, published):
    found = tower(kind, published[0])
    tokens = found.tokens("cat " * 200)
    assert len(tokens) == found.n_tokens
    assert tokens[-1] == found.tokenizer.eos_token_id


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_embedding_of_a_text_does_not_depend_on_its_company(kind, published):
    found = tower(kind, published[0])
    module = found.module.double()
    try:
        together = found.embed(TEXTS)

        @settings(
            max_examples=8,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )
        @given(st.permutations(range(len(TEXTS))), st.integers(1, len(TEXTS)))
        def same_in_any_company(order, count):
            chosen = order[:count]
            alone = found.embed([TEXTS[index] for index in chosen])
            # float64: only the order of additions inside a matrix product may differ.
            torch.testing.assert_close(alone, together[chosen], rtol=1e-10, atol=1e-12)

        same_in_any_company()
    finally:
        module.float()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_tower_is_frozen_and_gives_unit_length(kind, published):
    found = tower(kind, published[0])
    assert not found.module.training
    assert not any(parameter.requires_grad for parameter in found.module.parameters())
    embedded = found.embed(TEXTS)
    assert not embedded.requires_grad
    assert embedded.shape == (len(TEXTS), WIDTHS[kind])
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(len(TEXTS)))


def test_many_texts_are_embedded_in_several_batches(published, monkeypatch):
    found = tower("clip", published[0])
    together = found.embed(TEXTS)
    monkeypatch.setattr("gradbrain.models.text_tower.TEXTS_AT_ONCE", 3)
    torch.testing.assert_close(found.embed(TEXTS), together)


def test_the_digest_is_that_of_the_file_of_weights(published):
    data, _ = published
    path = data / "weights" / "tiny-clip" / "model.safetensors"
    model = build_model(entry_of("clip"), data=data)
    assert load_text_tower(model).weights_digest == file_sha256(path)
    assert text_weights_digest(model) == file_sha256(path)


# --- what is missing or does not fit ---------------------------------------------------------


def rewrite(data: Path, kind: str, change) -> Path:
    path = data / "weights" / f"tiny-{kind}" / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    return path


def drop(name):
    def change(state):
        del state[name]

    return change


def widen(name):
    def change(state):
        state[name] = torch.zeros(3, *state[name].shape)

    return change


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("clip", drop("logit_scale"), "missing logit_scale"),
        ("siglip", drop("logit_bias"), "missing logit_bias"),
        ("clip", drop("text_projection.weight"), "missing text_projection.weight"),
        ("siglip", drop("text_model.head.bias"), "missing head.bias"),
        ("clip", widen("text_projection.weight"), "has shape (3, 12, 16), expected (12, 16)"),
        ("siglip", widen("logit_scale"), "logit_scale holds 3 numbers, expected one"),
    ],
)
def test_a_tensor_that_is_missing_or_does_not_fit_is_named(damaged, kind, change, message):
    path = rewrite(damaged, kind, change)
    with pytest.raises(WeightsError) as caught:
        tower(kind, damaged)
    assert f"model 'small': {path}" in str(caught.value)
    assert message in str(caught.value)


def test_the_numbering_of_positions_in_older_checkpoints_is_no_surplus(damaged):
    def number(state):
        state["text_model.embeddings.position_ids"] = torch.arange(40)[None]

    rewrite(damaged, "clip", number)
    tower("clip", damaged)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_tower_of_another_width_than_the_images_is_refused(published, kind):
    wrong = {"clip": ("test_vit", 7), "siglip": ("vit_tiny_patch16_224", 0)}[kind]
    kwargs = {"img_size": 32, "num_classes": wrong[1]}
    with pytest.raises(WeightsError) as caught:
        tower(kind, published[0], architecture=wrong[0], kwargs=kwargs)
    expected = {"clip": 7, "siglip": 192}[kind]
    assert f"tiny-{kind}/model.safetensors embeds texts in {WIDTHS[kind]}" in str(caught.value)
    assert f"its images in {expected}" in str(caught.value)


def test_a_damaged_file_of_weights_is_named(damaged):
    path = damaged / "weights" / "tiny-clip" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"tiny-clip/model.safetensors cannot be read as safe"):
        tower("clip", damaged)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_named_and_a_pickle_is_not_read(damaged, name):
    folder = damaged / "weights" / "tiny-clip"
    (folder / name).rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=rf"tiny-clip lacks {name}; .*pickle is not read"):
        tower("clip", damaged)


@pytest.mark.parametrize(("name", "content"), [("config.json", "{"), ("vocab.json", None)])
def test_a_config_or_tokenizer_that_cannot_be_read_is_named(damaged, name, content):
    path = damaged / "weights" / "tiny-clip" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(WeightsError, match=r"tiny-clip cannot be read as the text tower of a clip"):
        tower("clip", damaged)


def test_a_tokenizer_of_another_tower_is_refused(damaged):
    folder = damaged / "weights" / "tiny-clip"
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"texts end with token 5, the tokenizer .* with 513"):
        tower("clip", damaged)
    config["text_config"]["eos_token_id"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    tower("clip", damaged)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, "surplus": 514}))
    with pytest.raises(WeightsError, match=r"knows 514 tokens, the tokenizer beside it 515"):
        tower("clip", damaged)


def test_without_network_the_error_says_what_to_place_where(tmp_path, monkeypatch):
    def offline(*arguments, **keywords):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    pinned = {"repository": "nobody/none", "revision": "0" * 40, "kind": "clip"}
    with pytest.raises(WeightsError) as caught:
        tower("clip", tmp_path, text_tower=pinned)
    text = str(caught.value)
    assert "ConnectionError: no network" in text
    assert f"at revision {'0' * 40} in the folder {tmp_path}/weights/none" in text
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert name in text


def test_the_hub_is_asked_for_the_pinned_revision_and_never_for_a_pickle(
    published, tmp_path, monkeypatch, caplog
):
    asked = []

    def hub(repository, *, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        return str(published[0] / "weights" / "tiny-clip")

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    pinned = {"repository": "nobody/none", "revision": "0" * 40, "kind": "clip"}
    assert tower("clip", tmp_path, text_tower=pinned).origin == f"nobody/none@{'0' * 40}"
    assert "no revision" not in caplog.text
    unpinned = {"repository": "nobody/none", "kind": "clip"}
    assert tower("clip", tmp_path, text_tower=unpinned).origin == "nobody/none@unpinned"
    assert "no revision of the text tower is pinned" in caplog.text
    assert [revision for _, revision, _ in asked] == ["0" * 40, None]
    assert all(not name.endswith(".bin") for *_, names in asked for name in names)


def test_without_transformers_the_error_says_what_to_install(published, monkeypatch):
    model = build_model(entry_of("clip"), data=published[0])
    # None in place of a module makes its import fail as if it were not installed.
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"'small'.*tiny-clip needs the optional .*pip install"):
        load_text_tower(model)


def test_a_model_without_text_tower_or_visual_projection_is_refused(published):
    model = build_model(entry_of("clip", text_tower=None), data=published[0])
    with pytest.raises(ModelError, match=r"'small' has no text tower"):
        load_text_tower(model)
    kwargs = {"img_size": 32, "num_classes": 0}
    with pytest.raises(ModelError, match=r"'small' .*has no visual projection"):
        tower("clip", published[0], kwargs=kwargs)


def test_owlvit_may_not_name_a_text_tower():
    with pytest.raises(ValidationError, match=r"OWL-ViT's image tower lie in no space"):
        entry_of("clip", architecture="test_owlvit", source="transformers", kwargs={})


def test_transformers_is_not_imported_for_models_with_a_text_tower_alone():
    code = (
        "import sys; from gradbrain.models.build import build_model;"
        "from gradbrain.config.schema import ModelEntry;"
        "build_model(ModelEntry(name='m', architecture='test_resnet', weights={'source': 'random'},"
        " text_tower={'repository': 'a/b', 'kind': 'clip'}));"
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(WORKFLOW)})
