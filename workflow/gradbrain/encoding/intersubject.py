"""How well the other subjects predict a subject, target by target: a ceiling for any model.

Where subjects saw the same images and their targets are the same places, the average response of
the others is a prediction like a model's. What the others share with a subject is driven by the
images, so that a model of what people have in common can predict as much: a lower bound of the
noise ceiling (Nili et al. 2014, *PLoS Computational Biology* 10:e1003553, of dissimilarities;
leave-one-out intersubject correlation, Nastase et al. 2019, *Social Cognitive and Affective
Neuroscience* 14:667–685, of responses).

All scores of all subjects follow from the sums and products of responses in each outer fold, which
are gathered in one pass over the images: memory grows with targets, not with images.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.inputs import ImageGroups, TargetUnits, read_image_groups, read_targets
from gradbrain.encoding.places import is_shared, place_coordinates
from gradbrain.encoding.splits import grouped_folds
from gradbrain.encoding.variation import varies
from gradbrain.store import open_store
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.measures import (
    INTERSUBJECT_MEASURES,
    INTERSUBJECT_R,
    INTERSUBJECT_R2,
)

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
# Responses of all subjects that are held at once: 256 MiB in float64.
BLOCK_ENTRIES = 2**25


@dataclass(frozen=True)
class Person:
    """One subject's responses, lined up with those of the others.

    Attributes
    ----------
    path
        File to read.
    store
        Response store.
    images
        Identifiers of images and the groups that stay together.
    targets
        Targets and the units that they belong to.
    """

    path: Path
    store: xr.Dataset
    images: ImageGroups
    targets: TargetUnits

    @property
    def subject(self) -> str:
        """Name of the subject."""
        return str(self.store.attrs["subject"])

    @property
    def places(self) -> pd.MultiIndex:
        """Place of every target, in the order of the store."""
        coords = self.targets.coords
        attrs = self.store.attrs
        names = place_coordinates(attrs["axis"], attrs["space"], coords)
        missing = [name for name in names if name not in coords]
        if missing:
            raise EncodingError(
                f"{self.path}: its targets have no coordinate {missing}, which tells where they "
                f"are; they have {sorted(coords)}: correct the response adapter"
            )
        return pd.MultiIndex.from_arrays([coords[name] for name in names], names=names)

    def responses(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FLOATS:
        """Responses to some images, shape (n_rows, n_columns), float64."""
        neighbours = len(rows) > 0 and np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))
        # Rows that follow each other are read as one piece.
        wanted = slice(rows[0], rows[-1] + 1) if neighbours else rows
        block = self.store["response"].isel(image=wanted).values
        return block.reshape(len(rows), -1)[:, columns].astype(np.float64)


@dataclass(frozen=True)
class Moments:
    """Sums over the images of every outer fold, of responses about some value near their mean.

    Attributes
    ----------
    counts
        Shape (n_folds,). Images.
    sums
        Shape (n_folds, n_people, n_places).
    products
        Shape (n_folds, n_people, n_people, n_places). Of the responses of two subjects to the same
        image. Where a subject lacks a place, its sums and products are 0.
    """

    counts: FLOATS
    sums: FLOATS
    products: FLOATS

    def of(self, fold: int) -> tuple[float, FLOATS, FLOATS]:
        """Count, sums and products over the images of one fold."""
        return float(self.counts[fold]), self.sums[fold], self.products[fold]

    def training(self, fold: int) -> tuple[float, FLOATS, FLOATS]:
        """Count, sums and products over the images of all other folds."""
        others = np.arange(len(self.counts)) != fold
        return (
            float(self.counts[others].sum()),
            self.sums[others].sum(axis=0),
            self.products[others].sum(axis=0),
        )


def intersubject_ceilings(
    paths: Sequence[Path], settings: EncodingSettings, *, study: str
) -> pd.DataFrame:
    """Predict every subject from the average of the others, in the outer folds of the fits.

    Per fold and target, each of the others is standardised by its training images, the average of
    those who have the target is taken, and a line on it is fitted to the subject's responses to the
    training images. ``intersubject_r`` is the Pearson correlation of that line's predictions with
    the held-out responses, ``intersubject_r2`` their R² relative to the training mean. Both are
    averaged over folds and over the targets of a unit.

    Parameters
    ----------
    paths
        Response stores of the subjects of one data set, who saw the same images.
    settings
        Number and seed of outer folds, and the noise ceiling below which targets belong to no unit.
    study
        Name of the study, kept in the table.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``ceilings``, one row per subject, measure and unit. ``n_targets``
        counts the unit's targets that somebody else has as well, ``n_other_subjects`` the others
        who have them, the fewest over these targets. Units without such targets have no row.

    Raises
    ------
    EncodingError
        If there are fewer than two subjects, a subject is there twice, data sets are mixed, or
        targets are not the same places in all subjects.
    """
    people = [_read_person(path, settings) for path in paths]
    _check_people(people)
    empty = pd.DataFrame(columns=list(columns_of("ceilings")))
    rows, folds = _shared_images(people, settings)
    columns, n_others = _shared_places(people)
    if folds is None or not columns.shape[1]:
        return empty
    moments = _gather(people, rows, columns, folds)
    own_folds = people[0].images.folds
    n_folds = len(moments.counts) if own_folds is None else int(own_folds.max()) + 1
    tables = [
        _table(
            person, columns[own], n_others[own], _scores(moments, columns >= 0, own, n_folds), study
        )
        for own, person in enumerate(people)
    ]
    return pd.concat([table for table in tables if len(table)] or [empty], ignore_index=True)


def _read_person(path: Path, settings: EncodingSettings) -> Person:
    return Person(
        path=path,
        store=open_store(path, kind="responses"),
        images=read_image_groups(path),
        targets=read_targets(path, settings.min_noise_ceiling),
    )


def _check_people(people: Sequence[Person]) -> None:
    subjects = sorted(person.subject for person in people)
    datasets = sorted({str(person.store.attrs["dataset"]) for person in people})
    if len(set(subjects)) < 2 or len(set(subjects)) < len(subjects) or len(datasets) > 1:
        raise EncodingError(
            f"responses of {subjects} of the data sets {datasets} were given; a ceiling between "
            "subjects takes two or more of one data set, each once"
        )
    for person in people:
        space = str(person.store.attrs["space"])
        if person.store.attrs["rotation_invariant"] or not is_shared(space):
            raise EncodingError(
                f"{person.path}: its targets live in the space {space!r}, where those of two "
                "subjects are not the same place: there is no ceiling between these subjects"
            )


def _shared_images(
    people: Sequence[Person], settings: EncodingSettings
) -> tuple[list[NDArray[np.intp]], NDArray[np.intp] | None]:
    """Rows of the images that all subjects saw, in one order, and their outer folds.

    Where all saw the same these are the folds of the fits. Without images enough there are none.
    """
    first = people[0].images
    shared = set(first.image_ids).intersection(*(person.images.image_ids for person in people))
    most = max(len(person.images.image_ids) for person in people)
    if len(shared) < most:
        log.warning(
            "%d of %d images were shown to all of the %d subjects; the others have no part in the "
            "ceiling between subjects",
            len(shared),
            most,
            len(people),
        )
    # The order of the first store, so that blocks of images lie together in it.
    kept = np.array([name in shared for name in first.image_ids], dtype=bool)
    in_store = np.argsort(first.order[kept], kind="stable")
    image_ids, groups = first.image_ids[kept][in_store], first.groups[kept][in_store]
    rows = [
        person.images.order[pd.Index(person.images.image_ids).get_indexer(pd.Index(image_ids))]
        for person in people
    ]
    if first.folds is not None:
        own = first.folds[kept][in_store]
        # Those that are never held out stand behind the folds: trained on, and not scored.
        return rows, np.where(own < 0, first.folds.max() + 1, own)
    if len(np.unique(groups)) < settings.n_folds:
        log.warning(
            "the images that all subjects saw belong to %d groups, fewer than encoding.n_folds = "
            "%d: there is no ceiling between these subjects",
            len(np.unique(groups)),
            settings.n_folds,
        )
        return rows, None
    return rows, grouped_folds(groups, settings.n_folds, settings.seed)


def _shared_places(people: Sequence[Person]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Targets that two subjects or more have.

    Returns
    -------
    columns : array of shape (n_people, n_places)
        Position of every place among the subject's targets; −1 where the subject lacks it.
    n_others : array of shape (n_people, n_places)
        How many of the others have it.
    """
    places = [person.places for person in people]
    for person, own in zip(people, places, strict=True):
        if not own.is_unique:
            twice = zip(own.names, own[own.duplicated()][0], strict=True)
            raise EncodingError(
                f"{person.path}: several targets are at the same place, "
                f"{', '.join(f'{name} {value}' for name, value in twice)}; expected one: correct "
                "the response adapter"
            )
    every = places[0]
    for own in places[1:]:
        every = every.union(own, sort=False)
    columns = np.stack([own.get_indexer(every) for own in places])
    present = columns >= 0
    shared = present.sum(axis=0) > 1
    if not shared.any():
        log.warning(
            "no target is at the same %s in two subjects: there is no ceiling between them",
            " and ".join(map(str, every.names)),
        )
    columns, present = columns[:, shared], present[:, shared]
    return columns, present.sum(axis=0) - present


def _gather(
    people: Sequence[Person],
    rows: Sequence[NDArray[np.intp]],
    columns: NDArray[np.intp],
    folds: NDArray[np.intp],
) -> Moments:
    """Sum responses and their products over the images of every fold, block by block."""
    n_people, n_places = columns.shape
    n_folds = int(folds.max()) + 1
    sums = np.zeros((n_folds, n_people, n_places))
    products = np.zeros((n_folds, n_people, n_people, n_places))
    start = np.zeros((n_people, 1, n_places))
    for images in _blocks(len(folds), max(1, BLOCK_ENTRIES // columns.size)):
        block = np.zeros((n_people, len(images), n_places))
        for values, person, own_rows, own in zip(block, people, rows, columns, strict=True):
            values[:, own >= 0] = person.responses(own_rows[images], own[own >= 0])
        if images[0] == 0:
            # Products about a value near the mean lose no digits to it.
            start = block.mean(axis=1, keepdims=True)
        block -= start
        for fold in np.unique(folds[images]):
            held = block[:, folds[images] == fold]
            sums[fold] += held.sum(axis=1)
            for one, other in combinations_with_replacement(range(n_people), 2):
                product = np.einsum("it,it->t", held[one], held[other])
                products[fold, one, other] += product
                if one != other:
                    products[fold, other, one] += product
    return Moments(np.bincount(folds).astype(float), sums, products)


def _blocks(n_images: int, size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, n_images, size):
        yield np.arange(start, min(start + size, n_images))


def _scores(
    moments: Moments, present: NDArray[np.bool_], own: int, n_folds: int
) -> dict[str, FLOATS]:
    """Scores of one subject at every place, averaged over folds.

    Parameters
    ----------
    moments
        Means and variances of the targets.
    present
        Shape (n_people, n_places), bool. Who has which place.
    own
        The subject that is predicted.
    n_folds
        Folds that are held out.

    Returns
    -------
    dict of str to array of shape (n_places,)
        A target whose others do not vary scores 0. Folds in which it does not vary itself, over
        the training or over the held-out images, are left out; NaN where that is all of them.
    """
    scores: dict[str, FLOATS] = {name: np.zeros(present.shape[1]) for name in INTERSUBJECT_MEASURES}
    n_known = np.zeros(present.shape[1])
    overall = _variance(
        moments.counts.sum(), moments.sums.sum(axis=0), moments.products.sum(axis=0)
    )
    for fold in range(n_folds):
        train, held_out = moments.training(fold), moments.of(fold)
        mean, variance = train[1] / train[0], _variance(*train)
        # The average of the others, up to a factor that neither score depends on.
        usable = present & varies(variance, overall)
        deviation = np.sqrt(variance)
        weight = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=usable)
        weight[own] = 0.0
        inside = _Prediction.about(mean, *train, weight, own)
        slope = _ratio(inside.covariance, inside.variance)
        centred = _Prediction.about(held_out[1] / held_out[0], *held_out, weight, own)
        norms = np.sqrt(np.maximum(centred.variance * centred.observed, 0.0))
        # Of the line, which turns around where the others' responses have the opposite sign.
        correlation = np.sign(slope) * _ratio(centred.covariance, norms)
        outside = _Prediction.about(mean, *held_out, weight, own)
        explained = slope * (2 * outside.covariance - slope * outside.variance)
        known = usable[own] & varies(outside.observed / held_out[0], variance[own])
        if held_out[0] > 1:
            known &= varies(centred.observed / held_out[0], variance[own])
        scores[INTERSUBJECT_R.name] += np.where(known, correlation, 0.0)
        scores[INTERSUBJECT_R2.name] += np.where(known, _ratio(explained, outside.observed), 0.0)
        n_known += known
    return {
        name: np.where(n_known, total / np.maximum(n_known, 1), np.nan)
        for name, total in scores.items()
    }


def _variance(count: float, sums: FLOATS, products: FLOATS) -> FLOATS:
    """Variance of every subject's responses, shape (n_people, n_places)."""
    variance = np.einsum("sst->st", products) / count - (sums / count) ** 2
    return np.asarray(np.maximum(variance, 0.0))


@dataclass(frozen=True)
class _Prediction:
    """Second moments of a subject's responses and the others' average, about some mean.

    Attributes
    ----------
    covariance, variance, observed
        Shape (n_places,). Sums of average times response, average squared, and response squared.
    """

    covariance: FLOATS
    variance: FLOATS
    observed: FLOATS

    @classmethod
    def about(
        cls, mean: FLOATS, count: float, sums: FLOATS, products: FLOATS, weight: FLOATS, own: int
    ) -> _Prediction:
        """Take them of sums and products over `count` images, about `mean` (n_people, n_places)."""
        about = products - mean[:, None] * sums - sums[:, None] * mean
        about += count * mean[:, None] * mean
        average = np.einsum("st,sut->ut", weight, about)
        return cls(average[own], np.einsum("ut,ut->t", weight, average), about[own, own])


def _ratio(numerator: FLOATS, denominator: FLOATS) -> FLOATS:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _table(
    person: Person,
    columns: NDArray[np.intp],
    n_others: NDArray[np.intp],
    scores: dict[str, FLOATS],
    study: str,
) -> pd.DataFrame:
    """Average the scores of a subject over the targets of every unit."""
    attrs, targets = person.store.attrs, person.targets
    # A place without any variance has no score, and is no part of its unit.
    mine = (columns >= 0) & (n_others > 0) & np.isfinite(scores[INTERSUBJECT_R.name])
    unit = targets.unit_of_reliable[columns[mine]]
    at_place = pd.DataFrame({name: values[mine] for name, values in scores.items()})
    grouped = at_place.assign(unit=unit, n_others=n_others[mine])[unit >= 0].groupby("unit")
    means = grouped[list(INTERSUBJECT_MEASURES)].mean()
    found = means.index.to_numpy()
    by_time = targets.time is not None
    names = np.array(targets.names)[found]
    facts = {
        "study": study,
        **{key: attrs[key] for key in ("dataset", "subject", "modality", "axis")},
        "roi": "" if by_time else names,
        "roi_rank": -1 if by_time else found,
        "time": np.nan if targets.time is None else targets.time[found],
        "n_targets": grouped.size().to_numpy(dtype=np.int64),
        "n_other_subjects": grouped["n_others"].min().to_numpy(dtype=np.int64),
    }
    tables = [
        pd.DataFrame({**facts, "measure": name, "value": means[name].to_numpy()})
        for name in INTERSUBJECT_MEASURES
    ]
    return pd.concat(tables, ignore_index=True)[list(columns_of("ceilings"))]
