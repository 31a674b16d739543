"""The text half of CLIP and SigLIP 2, which timm does not have, from the package transformers.

Texts are prepared as the networks were trained. CLIP (Radford et al. 2021, arXiv:2103.00020,
section 2.4): begin, text, end, padded to 77 tokens; the embedding is read at the end token, which
padding behind it cannot reach since attention is causal. SigLIP 2 (Tschannen et al. 2025,
arXiv:2502.14786, section 2): lower case, text, end, padded to 64 tokens of Gemma's vocabulary; no
token is masked, padding included, and the embedding is read at the last place. Both lengths are
fixed, so that no text depends on which others stand in its batch.

The learned scale of the comparison, and SigLIP's bias, are read from the same checkpoint.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional

from gradbrain.config.schema import ModelEntry, TextTower
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.weights import SAFETENSORS, UNPINNED, file_sha256, first_line

if TYPE_CHECKING:
    from gradbrain.models.build import OutputName, VisionModel

log = logging.getLogger(__name__)

TEXTS_AT_ONCE = 64
CONFIG = "config.json"
# Tokenizers are published as one file, or as a vocabulary and its merges.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
# Older checkpoints carry the numbering of the positions as a buffer.
POSITION_NUMBERS = "embeddings.position_ids"
LOGIT_SCALE, LOGIT_BIAS = "logit_scale", "logit_bias"


@dataclass(frozen=True)
class TextEncoder:
    """A frozen text tower: texts in, unit-length embeddings out.

    Attributes
    ----------
    module
        ``CLIPTextModelWithProjection`` or ``SiglipTextModel``, in evaluation mode.
    tokenizer
        Of the same repository.
    kind
        ``clip`` or ``siglip``.
    n_tokens
        Length that every text is padded or cut to.
    scale, bias
        Similarities are multiplied by the one, the other is added; CLIP has no bias (0).
    origin
        Where the weights came from, with the revision of the hub repository or ``unpinned``.
    weights_digest
        SHA-256 of the file of weights.
    """

    module: nn.Module
    tokenizer: Any
    kind: Literal["clip", "siglip"]
    n_tokens: int
    scale: float
    bias: float
    origin: str
    weights_digest: str

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Embed texts, (n, D) of unit length, without a graph."""
        device = next(self.module.parameters()).device
        parts = []
        with torch.no_grad():
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                tokens = [self.tokens(text) for text in texts[start : start + TEXTS_AT_ONCE]]
                found = self.module(input_ids=torch.tensor(tokens, device=device))
                embedded = found.text_embeds if self.kind == "clip" else found.pooler_output
                parts.append(functional.normalize(embedded, dim=-1))
        return torch.cat(parts)

    def tokens(self, text: str) -> list[int]:
        """Numbers of the tokens of a text, as many as ``n_tokens``; the end token is kept."""
        if self.kind == "siglip":
            text = text.lower()
        begin = [self.tokenizer.bos_token_id] if self.kind == "clip" else []
        words = self.tokenizer.encode(text, add_special_tokens=False)
        kept = [*begin, *words][: self.n_tokens - 1]
        whole = [*kept, self.tokenizer.eos_token_id]
        return whole + [self.tokenizer.pad_token_id] * (self.n_tokens - len(whole))


def joint_output(model: VisionModel) -> OutputName:
    """Name the output of an image network that lies in one space with texts.

    CLIP's is the visual projection, which timm has as its classifier; SigLIP's the pooled features.

    Raises
    ------
    ModelError
        The model has no text tower, or its network no visual projection.
    """
    entry = model.entry
    if entry.text_tower is None:
        raise ModelError(
            f"model {entry.name!r} has no text tower to compare its images with; name one as "
            "`text_tower` of its entry in models.yaml, or take another objective"
        )
    if entry.text_tower.kind == "siglip":
        return "features"
    if model.n_classes == 0:
        raise ModelError(
            f"model {entry.name!r} ({entry.architecture}) has no visual projection, so that its "
            "features are not in the space of CLIP's texts; take a tag of published CLIP weights, "
            "or set num_classes in its kwargs to the width of that space"
        )
    return "logits"


def text_weights_digest(model: VisionModel) -> str:
    """SHA-256 of the file of a model's text weights; they are fetched if they are not here."""
    joint_output(model)
    folder, _ = _locate(model.entry, model.data)
    return file_sha256(folder / SAFETENSORS)


def load_text_tower(model: VisionModel) -> TextEncoder:
    """Load the text tower of a model, frozen, on the device and in the number format of the model.

    Parameters
    ----------
    model
        Image network, whose entry names the tower and whose ``data`` folder may hold it.

    Raises
    ------
    ModelError
        The model has no text tower, or transformers is not installed.
    WeightsError
        Files are missing or damaged, lack a tensor, or embed in another width than the images.
    """
    output, entry = joint_output(model), model.entry
    tower = entry.text_tower
    assert tower is not None
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ModelError(
            f"model {entry.name!r}: its text tower {tower.repository} needs the optional package "
            "transformers, which is not installed: pip install 'transformers>=5,<6'"
        ) from error
    folder, origin = _locate(entry, model.data)
    path = folder / SAFETENSORS
    try:
        module, tokenizer, config = _create(transformers, tower, folder)
    except Exception as error:  # of transformers and tokenizers: a dozen kinds
        raise WeightsError(
            f"model {entry.name!r}: {folder} cannot be read as the text tower of a {tower.kind} "
            f"model ({first_line(error)}); expected {CONFIG} and the tokenizer of "
            f"https://huggingface.co/{tower.repository}"
        ) from error
    state = _read_text_half(path, entry)
    scalars = {name: state.pop(name) for name in _scalars(tower.kind) if name in state}
    _load_strictly(module, state, scalars, path=path, entry=entry)
    _check_fit(model, output, module, tokenizer, path=path)
    encoder = TextEncoder(
        module=module.eval().requires_grad_(False).to(model.device, model.dtype),
        tokenizer=tokenizer,
        kind=tower.kind,
        n_tokens=int(config.max_position_embeddings),
        scale=math.exp(float(scalars[LOGIT_SCALE])),
        bias=float(scalars.get(LOGIT_BIAS, torch.zeros(()))),
        origin=origin,
        weights_digest=file_sha256(path),
    )
    log.info(
        "model %s: text tower from %s, digest %s", entry.name, origin, encoder.weights_digest[:12]
    )
    return encoder


def _locate(entry: ModelEntry, data: Path) -> tuple[Path, str]:
    """Folder of a text tower, below ``data/weights`` or in the hub's cache, and its origin."""
    tower = entry.text_tower
    assert tower is not None
    local = data / tower.folder
    if local.is_dir():
        folder, origin = local, f"folder {tower.folder}"
    else:
        folder = _download(tower, entry, local)
        origin = f"{tower.repository}@{tower.revision or UNPINNED}"
    missing = [name for name in (CONFIG, SAFETENSORS) if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"model {entry.name!r}: {folder} lacks {', '.join(missing)}; expected {CONFIG}, "
            f"{SAFETENSORS} and the tokenizer of https://huggingface.co/{tower.repository} (a "
            "checkpoint that is a pickle is not read)"
        )
    return folder, origin


def _download(tower: TextTower, entry: ModelEntry, local: Path) -> Path:
    """Fetch a tower at its revision, or take it from the hub's cache; never a pickle."""
    from huggingface_hub import snapshot_download

    if tower.revision is None:
        log.warning(
            "model %s: no revision of the text tower is pinned, the newest weights of %s are taken",
            entry.name,
            tower.repository,
        )
    wanted = [CONFIG, SAFETENSORS, *TOKENIZER_FILES]
    try:
        return Path(
            snapshot_download(tower.repository, revision=tower.revision, allow_patterns=wanted)
        )
    except Exception as error:  # of the hub, the network and the cache: a dozen kinds
        at = f" at revision {tower.revision}" if tower.revision else ""
        raise WeightsError(
            f"model {entry.name!r}: the text tower {tower.repository} could not be fetched "
            f"({first_line(error)}). Without network, place {CONFIG}, {SAFETENSORS} and the "
            f"tokenizer's files ({', '.join(TOKENIZER_FILES)}; those that there are) of "
            f"https://huggingface.co/{tower.repository}{at} in the folder {local}"
        ) from error


def _create(transformers: Any, tower: TextTower, folder: Path) -> tuple[nn.Module, Any, Any]:
    """Build the tower with random weights, its tokenizer and its configuration.

    The classes are named here: what the published configurations of SigLIP 2 name is the tokenizer
    of Gemma, which does not turn text into lower case.
    """
    if tower.kind == "clip":
        config = transformers.CLIPTextConfig.from_pretrained(folder, local_files_only=True)
        network, tokenizer = transformers.CLIPTextModelWithProjection, transformers.CLIPTokenizer
    else:
        config = transformers.SiglipTextConfig.from_pretrained(folder, local_files_only=True)
        network, tokenizer = transformers.SiglipTextModel, transformers.Siglip2Tokenizer
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise FileNotFoundError(f"neither tokenizer.json nor vocab.json is in {folder}")
    return network(config), tokenizer.from_pretrained(folder, local_files_only=True), config


def _scalars(kind: str) -> tuple[str, ...]:
    return (LOGIT_SCALE,) if kind == "clip" else (LOGIT_SCALE, LOGIT_BIAS)


def _read_text_half(path: Path, entry: ModelEntry) -> dict[str, torch.Tensor]:
    """Read the tensors of the text tower out of a checkpoint of both halves, and the scalars."""
    from safetensors import safe_open

    assert entry.text_tower is not None
    kind = entry.text_tower.kind
    state = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                is_text = name.startswith(("text_model.", "text_projection."))
                if name in _scalars(kind) or (is_text and not name.endswith(POSITION_NUMBERS)):
                    state[name] = file.get_tensor(name)
    except Exception as error:  # of safetensors and the disk
        raise WeightsError(
            f"model {entry.name!r}: {path} cannot be read as safetensors ({first_line(error)}); "
            f"get {SAFETENSORS} of https://huggingface.co/{entry.text_tower.repository} again"
        ) from error
    if kind == "clip":
        return state
    # In a checkpoint of both halves SigLIP's text tower has a name, alone it has none.
    return {name.removeprefix("text_model."): tensor for name, tensor in state.items()}


def _load_strictly(
    module: nn.Module,
    state: dict[str, torch.Tensor],
    scalars: dict[str, torch.Tensor],
    *,
    path: Path,
    entry: ModelEntry,
) -> None:
    assert entry.text_tower is not None
    own = module.state_dict()
    missing = [name for name in _scalars(entry.text_tower.kind) if name not in scalars]
    missing += sorted(set(own) - set(state))
    problems = [f"missing {name}" for name in missing]
    problems += [f"unexpected {name}" for name in sorted(set(state) - set(own))]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(state))
        if own[name].shape != state[name].shape
    ]
    problems += [
        f"{name} holds {tensor.numel()} numbers, expected one"
        for name, tensor in scalars.items()
        if tensor.numel() != 1
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(
            f"model {entry.name!r}: {path} does not fit the text tower of its {CONFIG}: "
            f"{'; '.join(problems[:5])}{more}; place both files of "
            f"https://huggingface.co/{entry.text_tower.repository}"
        )
    module.load_state_dict(state, strict=True)


def _check_fit(
    model: VisionModel, output: OutputName, module: Any, tokenizer: Any, *, path: Path
) -> None:
    """Refuse a tower of another width than the images, or a tokenizer of another tower."""
    last = module.text_projection if output == "logits" else module.head
    found = int(last.out_features)
    expected = model.n_classes if output == "logits" else int(model.module.num_features)  # type: ignore[arg-type]
    if found != expected:
        raise WeightsError(
            f"model {model.entry.name!r}: {path} embeds texts in {found} dimensions, the network "
            f"{model.entry.architecture} its images in {expected}; name the text tower that was "
            "trained with these weights"
        )
    # With 2, which no tokenizer of CLIP calls the end, the highest token is taken for it.
    end = getattr(module.config, "eos_token_id", 2)
    if output == "logits" and end not in (2, tokenizer.eos_token_id):
        raise WeightsError(
            f"model {model.entry.name!r}: {path.with_name(CONFIG)} says that texts end with token "
            f"{end}, the tokenizer beside it ends them with {tokenizer.eos_token_id}; place files "
            "of one repository"
        )
    if len(tokenizer) > int(module.config.vocab_size):
        raise WeightsError(
            f"model {model.entry.name!r}: {path} knows {module.config.vocab_size} tokens, the "
            f"tokenizer beside it {len(tokenizer)}; place files of one repository"
        )
