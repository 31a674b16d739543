"""Fitted models of rules: fitted on calibration images alone, stored, and handed to extraction."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from gradbrain.config.definition import model_definition, signal_definition
from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins, ResolvedUse
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.models.build import VisionModel, build_model
from gradbrain.objectives import own_weights
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.currency import differences, is_current
from gradbrain.signals.device import Compute
from gradbrain.signals.image_stream import StimulusImages, StoredImages
from gradbrain.signals.inverse_models import HELD_OUT_R2, POOR_R2
from gradbrain.signals.needs import Uses, needed_chain, place, plugins_of, uses_of
from gradbrain.signals.rule import FitContext
from gradbrain.store import open_tree, read_definition, write_tree

log = logging.getLogger(__name__)

KIND = "feedback"


def feedback_entries(
    entry: ModelEntry, signal: SignalEntry, chain: Sequence[str], plugins: Plugins
) -> dict[str, Any]:
    """What a fitted model follows from of registry entries, and the digest of it.

    Parameters
    ----------
    entry, signal
        Model and signal.
    chain
        All layers of the model in order of depth; empty where the rule needs none.
    plugins
        Where rules and objectives are looked up.

    Returns
    -------
    dict
        ``model_entry``, ``signal_entry`` and ``chain``, and ``definition``, the SHA-256 of these.
    """
    alone = SignalSet(name=signal.name, signals=(signal,))
    found = {
        "model_entry": model_definition(entry, alone, plugins),
        "signal_entry": signal_definition(signal, plugins),
        "chain": list(chain),
    }
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {"definition": digest, **found}


# --- fitting ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FitJob:
    """Everything that one fit is told.

    Attributes
    ----------
    entry, signal
        Registry entries.
    chain
        All layers of the model in order of depth, for rules that need them.
    calibration, calibration_name
        Table of the calibration images, and the name under which the fit is filed.
    data
        Folder below which checkpoints lie.
    output
        Where the fitted model goes.
    batch_size
        Images per batch.
    code_digest
        Digest of the code that makes the fit.
    plugins
        Where rules, objectives and sources of weights are looked up.
    """

    entry: ModelEntry
    signal: SignalEntry
    chain: tuple[str, ...]
    calibration: Path
    calibration_name: str
    data: Path
    output: Path
    batch_size: int
    code_digest: str
    plugins: Plugins = LIBRARY_PLUGINS


def run_fit(job: FitJob, compute: Compute) -> str | None:
    """Fit the model of a signal's rule, unless it is there already.

    Parameters
    ----------
    job
        What is fitted and where it goes.
    compute
        Device and precision.

    Returns
    -------
    str or None
        Digest of the store; None where the one that is there was kept.

    Raises
    ------
    GradbrainError
        The rule fits nothing, or model, images or signal are not as they should be.
    """
    alone = SignalSet(name=job.signal.name, signals=(job.signal,))
    uses = uses_of(alone.signals, job.plugins)
    rule, *objective = uses[job.signal.name]
    fit = _fit_function(job.signal, rule)
    chain = needed_chain(alone, uses, job.chain)
    images = StimulusImages.read(job.calibration, job.entry)
    model = build_model(
        job.entry,
        data=job.data,
        device=compute.device,
        autocast=compute.autocast,
        view_autocast=compute.view_autocast,
        plugins=job.plugins,
    )
    attributes = {
        "model": job.entry.name,
        "signal": job.signal.name,
        "calibration": job.calibration_name,
        **feedback_entries(job.entry, job.signal, chain, job.plugins),
        "weights_digest": model.weights_digest,
        "calibration_digest": images.digest,
        "code_digest": job.code_digest,
        "precision": compute.precision,
        **own_weights(plugins_of(uses), model),
    }
    if is_current(job.output, attributes, kind=KIND):
        log.info("%s is complete and kept", job.output)
        return None
    log.info(
        "model %s: fitting %s on %d images of %s",
        job.entry.name,
        job.signal.name,
        len(images),
        job.calibration_name,
    )
    context = FitContext(
        signal=job.signal,
        options=rule.options,
        model=model,
        calibration=_bank(model, images, job.batch_size, compute),
        chain=chain,
        objective_use=objective[0] if objective else None,
    )
    tree = _as_tree(fit(context), rule)
    tree.attrs = {**tree.attrs, **attributes}
    held_out = held_out_r2(tree)
    warn_of_poor(held_out, f"model {job.entry.name}, {job.signal.name}")
    facts = {
        **compute.describe(),
        "weights": model.weights_origin,
        "batch_size": job.batch_size,
        "n_images": len(images),
        **({HELD_OUT_R2: held_out} if held_out else {}),
    }
    return write_tree(job.output, tree, kind=KIND, provenance=facts)


def held_out_r2(tree: xr.DataTree) -> dict[str, float]:
    """What fitted models explain of held-out images, by layer, where they say so."""
    return {
        name: round(float(node[HELD_OUT_R2]), 4)
        for name, node in tree.children.items()
        if HELD_OUT_R2 in node
    }


def warn_of_poor(held_out: Mapping[str, float], where: str) -> None:
    """Warn of layers that a fitted model predicts badly, or of which nothing is known."""
    poor = {name: value for name, value in held_out.items() if not value >= POOR_R2}
    if poor:
        log.warning(
            "%s: what the layer above predicts of held-out images is poor (R² below %s): %s; more "
            "random features (hidden) or more calibration images may help",
            where,
            POOR_R2,
            ", ".join(f"{name} {value:.2f}" for name, value in poor.items()),
        )


def _bank(
    model: VisionModel, images: StimulusImages, batch_size: int, compute: Compute
) -> CalibrationBank:
    return CalibrationBank(model, StoredImages(images, batch_size, compute.device).batches)


def _fit_function(signal: SignalEntry, rule: ResolvedUse) -> Any:
    if "fit" not in rule.needs:
        raise SignalError(
            f"{place(signal)}: rule {signal.rule!r} fits no model; only rules whose Options say "
            "that they require 'fit' do"
        )
    fit = getattr(rule.plugin.load(), "fit", None)
    if fit is None:
        raise SignalError(
            f"{rule.plugin.path}: lacks the function fit(context); a rule that requires 'fit' "
            "defines it beside Options and Rule"
        )
    return fit


def _as_tree(found: Any, rule: ResolvedUse) -> xr.DataTree:
    if isinstance(found, xr.Dataset):
        return xr.DataTree(found.copy())
    if isinstance(found, xr.DataTree):
        return found.copy()
    raise SignalError(
        f"{rule.plugin.path}: fit gave {type(found).__name__}, expected an xarray.Dataset or "
        "xarray.DataTree"
    )


# --- use -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FittedModel:
    """A fitted model as it was stored, and the digest that identifies it."""

    content: xr.Dataset | xr.DataTree
    digest: str


def fitted_stores(signal_set: SignalSet, uses: Uses, stores: Sequence[Path]) -> dict[str, Path]:
    """Tell which store is the fitted model of which signal.

    Parameters
    ----------
    signal_set
        Signals.
    uses
        Their rules and objectives.
    stores
        Fitted models; each says in its attributes of which signal it is.

    Returns
    -------
    dict
        Signal name -> its store, for all signals whose rule needs one.

    Raises
    ------
    SignalError
        One is missing, given twice, or of a signal that needs none.
    """
    needing = [signal for signal in signal_set.signals if "fit" in uses[signal.name][0].needs]
    found: dict[str, Path] = {}
    for store in stores:
        name = read_definition(store).get("signal")
        if name not in {signal.name for signal in needing}:
            raise SignalError(
                f"{store}: is {'a fitted model of signal ' + repr(name) if name else 'none'}; "
                f"fitted models are expected of "
                f"{', '.join(signal.name for signal in needing) or 'no signal'} of the signal set "
                f"{signal_set.name!r}"
            )
        if name in found:
            raise SignalError(
                f"{store}: is a fitted model of signal {name!r}, and so is {found[name]}; give one"
            )
        found[name] = store
    for signal in needing:
        if signal.name not in found:
            raise SignalError(
                f"{place(signal)}: rule {signal.rule!r} needs its fitted model, and none is given; "
                "make it with scripts/fit_feedback.py and name its store (--feedback)"
            )
    return found


def open_fitted(store: Path, signal: SignalEntry, expected: Mapping[str, Any]) -> FittedModel:
    """Open the fitted model of a signal, or refuse it.

    Parameters
    ----------
    store
        Where it is.
    signal
        Its signal.
    expected
        Attributes that it must have: :func:`feedback_entries`, ``weights_digest`` and
        ``calibration_digest``.

    Raises
    ------
    SignalError
        It was fitted for another model or signal, with other weights, or on other images.
    StoreError
        It is missing, incomplete, or not of this kind.
    """
    tree = open_tree(store, kind=KIND)
    attributes = {str(key): value for key, value in tree.attrs.items()}
    reasons = []
    if attributes.get("definition") != expected["definition"]:
        reasons += differences(attributes, expected) or ["its definition is another"]
    if attributes.get("weights_digest") != expected["weights_digest"]:
        reasons.append("the weights of the network are others")
    if attributes.get("calibration_digest") != expected["calibration_digest"]:
        reasons.append(
            f"it was fitted on the images of {attributes.get('calibration')!r}, which are not the "
            "calibration images given"
        )
    if reasons:
        raise SignalError(
            f"{store}: was not fitted for {place(signal)} as it is: {'; '.join(reasons)}. Fit it "
            f"again with scripts/fit_feedback.py (rm -r {store})"
        )
    digest = str(attributes["digest"])
    return FittedModel(tree if tree.children else tree.to_dataset(), digest)


def open_all_fitted(
    entry: ModelEntry,
    signal_set: SignalSet,
    uses: Uses,
    chain: Sequence[str],
    stores: Mapping[str, Path],
    digests: Mapping[str, str],
    *,
    plugins: Plugins,
) -> dict[str, FittedModel]:
    """Open the fitted models of all signals of a set that need one.

    Parameters
    ----------
    entry, signal_set, uses
        Model, signals, and their rules and objectives.
    chain
        All layers of the model in order of depth.
    stores
        What :func:`fitted_stores` gave.
    digests
        ``weights_digest`` and ``calibration_digest``.
    plugins
        Where rules and objectives are looked up.

    Returns
    -------
    dict
        Signal name -> its fitted model.
    """
    found = {}
    for signal in signal_set.signals:
        if signal.name in stores:
            own_chain = chain if "chain" in uses[signal.name][0].needs else ()
            expected = {**feedback_entries(entry, signal, own_chain, plugins), **digests}
            found[signal.name] = open_fitted(stores[signal.name], signal, expected)
    return found
