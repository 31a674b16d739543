r"""Contrast of an image's caption against a fixed bank of other texts, in CLIP's or SigLIP's form.

With :math:`s` the cosine of image and text in the space that they share, :math:`t` the caption,
:math:`t_j` the texts of the bank, and the scale :math:`a` and bias :math:`b` of the checkpoint:

.. math:: L_\mathrm{CLIP}(x) = -\log \frac{\exp(a\, s(x, t))}
    {\exp(a\, s(x, t)) + \sum_j \exp(a\, s(x, t_j))}

.. math:: L_\mathrm{SigLIP}(x) = -\log \sigma(a\, s(x, t) + b)
    - \sum_j \log \sigma(-(a\, s(x, t_j) + b))

Source: Radford et al. 2021 (arXiv:2103.00020), figure 3, of which this is the half that compares an
image with texts; Zhai et al. 2023 (arXiv:2303.15343), equation 1. The form is that which the
model was trained with. A text of the bank that says what the caption says is left out for that
image; whether it does is told without case, articles and the full stop.

What it stands for: the error signal of a network that learns from images and what is said of them,
pulled to its caption and pushed from other texts, as CLIP and SigLIP were trained. What it does
not: the update that they made at any point of training. There the negatives were the captions of
the same batch of tens of thousands; here they are the same for every image (1,000 prompts of
ImageNet's classes, or the captions of the calibration images), so that no image depends on its
batch. The half that compares a text with images is left out, and the text tower is frozen.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch.nn import functional

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.models.build import VisionModel
from gradbrain.models.text_tower import joint_output, load_text_tower, text_weights_digest
from gradbrain.objectives import ObjectiveError
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.softmax_cross_entropy import softmax_cross_entropy

ARTICLES = {"a", "an", "the"}


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"text_tower", "captions"})

    bank: Literal["imagenet1k", "calibration"] = Field(
        "imagenet1k",
        description="Texts that images are pushed from: `a photo of a <class>.` of ImageNet-1k's "
        "classes, or the distinct captions of the calibration images.",
    )

    def needs(self, inner: frozenset[Requirement] = frozenset()) -> frozenset[Requirement]:
        """Captioned calibration images too, where they are the bank."""
        bank: frozenset[Requirement] = frozenset()
        if self.bank == "calibration":
            bank = frozenset({"calibration", "calibration_captions"})
        return super().needs(inner) | bank


def weights_digest(model: VisionModel) -> str:
    """SHA-256 of the text weights, which the objective's values depend on."""
    return text_weights_digest(model)


def wording(text: str) -> str:
    """Reduce a text to what it says: words in lower case, without articles and full stop."""
    words = text.lower().rstrip(". \n\t").split()
    return " ".join(word for word in words if word not in ARTICLES)


def imagenet_prompts() -> list[str]:
    """Prompts of the classes of ImageNet-1k, with the first of each one's names.

    The template is CLIP's (Radford et al. 2021, section 3.1.4); names from timm, offline.
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    names = (info.index_to_description(index) for index in range(info.num_classes()))
    return [f"a photo of a {name.partition(',')[0].strip()}." for name in names]


class Objective(BaseObjective):
    """Negative log-likelihood of an image's own caption."""

    options: Options

    def prepare(self) -> None:
        """Load the text tower and embed the bank, (n, D)."""
        self.output = joint_output(self.model)
        self._tower = load_text_tower(self.model)
        texts: dict[str, str] = {}
        for text in self._bank_texts():
            texts.setdefault(wording(text), text)
        self._places = {words: place for place, words in enumerate(texts)}
        self._bank = self._tower.embed(list(texts.values()))
        self._embedded: dict[str, torch.Tensor] = {}

    def _bank_texts(self) -> list[str]:
        if self.options.bank == "imagenet1k":
            return imagenet_prompts()
        batches = self.fitted().batches()
        captions = [text for batch in batches for text in batch.captions if text]
        if len({wording(caption) for caption in captions}) < 2:
            raise ObjectiveError(
                "objective image_text: bank: calibration needs calibration images with at least "
                f"two different captions, found {len(set(captions))}; name a stimulus set with "
                "captions as `calibration` of the signal set, or take bank: imagenet1k"
            )
        return captions

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Unit-length embeddings of the captions, (B, D).

        Raises
        ------
        ObjectiveError
            An image has no caption.
        """
        captions = [self._caption(batch, row) for row in range(len(batch))]
        new = [text for text in dict.fromkeys(captions) if text not in self._embedded]
        if new:
            self._embedded |= dict(zip(new, self._tower.embed(new), strict=True))
        return torch.stack([self._embedded[text] for text in captions])

    def _caption(self, batch: ImageBatch, row: int) -> str:
        caption = batch.captions[row]
        if caption is None:
            raise ObjectiveError(
                f"objective image_text: image {batch.image_ids[row]!r} has no caption; give its "
                "data set captions (docs/data.md says how), or take another objective"
            )
        return caption

    def _said_already(self, batch: ImageBatch) -> torch.Tensor:
        """Tell which texts of the bank say what the caption says, (B, n)."""
        same = torch.zeros(len(batch), len(self._bank), dtype=torch.bool)
        for row in range(len(batch)):
            place = self._places.get(wording(self._caption(batch, row)))
            if place is not None:
                same[row, place] = True
        return same.to(self._bank.device)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Negative log-likelihood in nats, (B,)."""
        code = functional.normalize(output, dim=-1)
        scale, bias = self._tower.scale, self._tower.bias
        positive = scale * (code * targets).sum(-1) + bias
        negatives = scale * (code @ self._bank.T) + bias
        same = self._said_already(batch)
        if self._tower.kind == "clip":
            others = negatives.masked_fill(same, -torch.inf)
            scores = torch.cat([positive[:, None], others], dim=1)
            own = torch.zeros_like(scores)
            own[:, 0] = 1
            return softmax_cross_entropy(scores, own)
        pushed = functional.logsigmoid(-negatives).masked_fill(same, 0).sum(1)
        return -(functional.logsigmoid(positive) + pushed)

    def report(self) -> dict[str, Any]:
        """Text weights, form of the comparison and size of the bank."""
        return {
            "form": "softmax" if self._tower.kind == "clip" else "sigmoid",
            "logit_scale": self._tower.scale,
            "logit_bias": self._tower.bias,
            "bank": self.options.bank,
            "n_bank": len(self._bank),
            "text_weights": self._tower.origin,
            "text_weights_digest": self._tower.weights_digest,
        }
