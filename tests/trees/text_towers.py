"""Small CLIP and SigLIP 2 checkpoints of both halves, with tokenizers, in the published format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel

TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
TEXT |= {"num_attention_heads": 2, "hidden_act": "gelu"}
VISION = {**TEXT, "image_size": 32, "patch_size": 16}


def write_clip(folder: Path, *, width: int, seed: int = 0, **text: Any) -> torch.nn.Module:
    """Write a CLIP whose joint space has `width` dimensions; return it.

    The tokenizer is a vocabulary of single bytes without merges, in ``vocab.json`` and
    ``merges.txt``.
    """
    import transformers

    vocabulary = clip_vocabulary()
    end = vocabulary["<|endoftext|>"]
    text = {
        **TEXT,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 40,
        "bos_token_id": end - 1,
        "eos_token_id": end,
        **text,
    }
    config = transformers.CLIPConfig(
        text_config={**text, "projection_dim": width},
        vision_config={**VISION, "projection_dim": width},
        projection_dim=width,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return save(transformers.CLIPModel, config, folder, seed)


def clip_vocabulary() -> dict[str, int]:
    """Tokens of CLIP's kind: every byte inside and at the end of a word, begin and end."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    return {token: n for n, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}


def write_siglip(folder: Path, *, width: int = 16, seed: int = 0, **text: Any) -> torch.nn.Module:
    """Write a SigLIP 2 whose joint space has `width` dimensions; return it.

    As published, its tokenizer says that it is Gemma's, which keeps upper case.
    """
    import transformers

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,'"
    tokens = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "ca", "cat"]
    tokenizer = transformers.GemmaTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[("c", "a"), ("ca", "t")],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        model_input_names=["input_ids"],
    )
    text = {**TEXT, "vocab_size": len(tokens), "max_position_embeddings": 64, **text}
    config = transformers.SiglipConfig(
        text_config={**text, "projection_size": width, "pad_token_id": 0},
        vision_config={**VISION, "hidden_size": width, "num_attention_heads": 1},
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return save(transformers.SiglipModel, config, folder, seed)


def save(network: Any, config: Any, folder: Path, seed: int) -> torch.nn.Module:
    """Write a network with weights that make texts and images differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = network(config).eval()
        for name, parameter in module.named_parameters():
            if name not in ("logit_scale", "logit_bias"):
                parameter.data += 0.1 * torch.randn_like(parameter)
            elif name == "logit_scale":
                parameter.data.fill_(1.5)
            else:
                parameter.data.fill_(-2.0)
    module.save_pretrained(folder)
    return module
