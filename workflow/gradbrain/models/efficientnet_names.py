"""What the package efficientnet_pytorch calls the tensors of an EfficientNet that timm makes.

It numbers the blocks of all stages through, and a block's normalisation by the convolution before
it: ``_bn0`` follows the expansion, ``_bn1`` the depthwise convolution, ``_bn2`` the projection.
"""

from __future__ import annotations

from torch import nn

from gradbrain.config.schema import ModelEntry
from gradbrain.models.errors import WeightsError

# Module of the network -> what efficientnet_pytorch calls it.
AROUND = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}
EXPANDING = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
# The blocks of the first stage do not expand.
PLAIN = {
    "conv_dw": "_depthwise_conv",
    "bn1": "_bn1",
    "conv_pw": "_project_conv",
    "bn2": "_bn2",
}


def own_names(network: nn.Module, *, entry: ModelEntry) -> dict[str, str]:
    """Name every tensor of a network as efficientnet_pytorch does; published name -> own name.

    Raises
    ------
    WeightsError
        The network is no EfficientNet, or has modules that are not known here
        (squeeze-and-excitation, which the Lite networks have not).
    """
    stages = getattr(network, "blocks", None)
    modules = dict(AROUND)
    if isinstance(stages, nn.Sequential):
        blocks = [
            (f"blocks.{stage}.{name}", block)
            for stage, content in stages.named_children()
            for name, block in content.named_children()
        ]
        for index, (path, block) in enumerate(blocks):
            parts = EXPANDING if hasattr(block, "conv_pwl") else PLAIN
            modules |= {f"{path}.{own}": f"_blocks.{index}.{its}" for own, its in parts.items()}
    names, unknown = {}, []
    for name in network.state_dict():
        module, _, tensor = name.rpartition(".")
        if module in modules:
            names[f"{modules[module]}.{tensor}"] = name
        else:
            unknown.append(name)
    if unknown:
        raise WeightsError(
            f"model {entry.name!r}: weights: names: efficientnet_pytorch has no names for "
            f"{', '.join(unknown[:3])} of {entry.architecture}; expected an EfficientNet-Lite, "
            "e.g. tf_efficientnet_lite0"
        )
    return names
