"""Numbers that no machine can serve, told before any job by an estimate of the memory they take.

The estimates are lower bounds: what is refused here cannot run anywhere. What fits on some machine
but not on the one at hand is refused by the job itself, which knows its limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gradbrain.config.plugins import Plugins, signal_uses
from gradbrain.config.schema import ExpectedSize, SignalSet
from gradbrain.config.study import ResolvedStudy

GIB = 2**30
#: More than a job gets on the nodes of today's clusters.
MOST_GIB = 4096
#: A count above it is a slip of the keyboard, whatever it counts.
LARGEST_COUNT = 10**12
MOST_PASSES = 100_000
#: The least that a data set may hold, where its entry does not say how large it is.
SMALLEST = ExpectedSize(n_images=2, n_targets=1, n_units=1)


class Need(NamedTuple):
    """Memory that a setting asks for.

    Attributes
    ----------
    key
        The setting, as it stands in the file.
    value
        What it was set to.
    n_bytes
        The least that a job needs for it.
    what
        For what.
    """

    key: str
    value: int
    n_bytes: float
    what: str


def absurd_sizes(study: ResolvedStudy, options: Mapping[str, Any], plugins: Plugins) -> list[str]:
    """Say which numbers of a study ask for more than any machine has.

    Parameters
    ----------
    study
        The study.
    options
        Data set -> its options, validated.
    plugins
        Where rules and objectives are looked up.

    Returns
    -------
    list of str
        One sentence each, with the key, the number, the estimate and what to do.
    """
    told = [
        f"{study.source(*need.key.split('.'))}: {need.key}: {need.value:,} takes "
        f"{need.n_bytes / GIB:,.0f} GiB at the least ({need.what}), and no job gets more than "
        f"{MOST_GIB:,} GiB; lower it"
        for need in _needs(study)
        if need.n_bytes > MOST_GIB * GIB
    ]
    told += [
        f"{place}: {value:,} is more than any job can hold; lower it"
        for place, value in _counts(study, options)
        if value > LARGEST_COUNT
    ]
    told += _endless_signals(study.signal_set, plugins)
    return list(dict.fromkeys(told))


def _needs(study: ResolvedStudy) -> Iterator[Need]:
    settings = study.settings
    encoding, n_signals = settings.encoding, len(study.signal_set.signals) - 1
    for entry in study.datasets.values():
        size = entry.expected or SMALLEST
        # Scores of the activation, and of each signal alone, beside it and beside all layers.
        rows = 5 + 10 * n_signals
        draws = encoding.n_draws
        yield Need(
            "encoding.n_draws",
            draws,
            2.0 * 4 * draws * rows * size.n_units,
            f"resampled and permuted scores of a fit to {entry.name}",
        )
        yield Need(
            "rsa.n_draws",
            settings.rsa.n_draws,
            8.0 * settings.rsa.n_draws * (n_signals + 1) * size.n_units,
            f"permuted correlations of {entry.name}",
        )
        targets = min(encoding.target_batch, size.n_targets)
        yield Need(
            "encoding.n_penalties",
            encoding.n_penalties,
            4.0 * encoding.n_penalties * targets,
            "scores of every penalty",
        )
        for key in ("n_folds", "n_inner_folds"):
            folds = getattr(encoding, key)
            yield Need(f"encoding.{key}", folds, 8.0 * folds * size.n_images, "indices of folds")
    weights = encoding.n_band_weights
    yield Need("encoding.n_band_weights", weights, 16.0 * weights, "weights of bands")
    simplex = encoding.n_simplex_draws
    yield Need("encoding.n_simplex_draws", simplex, 24.0 * simplex, "weights of bands")


def _counts(study: ResolvedStudy, options: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every integer of the study and of the entries that it names, but for seeds."""
    for name, entry in study.datasets.items():
        where = f"{study.registries.place('data set', name)}: options"
        content = options[name].model_dump() if name in options else entry.options
        yield from _integers(content, where)
    for name, model in study.models.items():
        yield from _integers(
            {"input_size": model.input_size, "kwargs": model.kwargs},
            study.registries.place("model", name),
        )
    for signal in study.signal_set.signals:
        where = study.registries.place("signal", signal.name)
        yield from _integers({"options": signal.options, **signal.rule_options}, where)


def _integers(content: Any, where: str) -> Iterator[tuple[str, int]]:
    if isinstance(content, bool):
        return
    if isinstance(content, int):
        yield where, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            if key != "seed":
                yield from _integers(value, f"{where}: {key}")
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _integers(value, where)


def _endless_signals(signal_set: SignalSet, plugins: Plugins) -> Iterator[str]:
    for signal in signal_set.signals:
        where = f"signals.yaml: signal {signal.name!r}"
        for use in signal_uses(signal, plugins, where=where):
            passes = use.options.extra_forward_passes()
            if passes > MOST_PASSES:
                yield (
                    f"{where}: asks for {passes:,.0f} passes through the network per image, "
                    f"expected no more than {MOST_PASSES:,}; lower the number of views or draws"
                )
