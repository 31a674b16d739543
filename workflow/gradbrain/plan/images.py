"""Images and outer folds that a study chooses for itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import Plugin
from gradbrain.config.schema import DatasetEntry
from gradbrain.config.study import SHARED
from gradbrain.datasets.fold_files import ENDINGS, fold_problem, is_fold_file, read_fold_file
from gradbrain.datasets.image_choice import check_image_list, read_image_list
from gradbrain.plan.parts import PlanPart
from gradbrain.plan.study_entries import DATA
from gradbrain.store import read_table


class ImagesAndFolds(PlanPart):
    """The images that a study takes of its stimulus sets, and where its outer folds come from."""

    @property
    def image_list(self) -> list[str]:
        """File that names the images of the study, where a file does."""
        images = self._study.settings.images
        return [images] if isinstance(images, str) and images != SHARED else []

    def chosen_from(self, stimuli: str) -> list[str]:
        """Stimulus tables that the images of the study are chosen from.

        Named images may be in any of them.
        """
        sources = self._study.chosen_stimuli[stimuli]
        if self._study.settings.images != SHARED:
            sources = tuple(name for own in self._study.chosen_stimuli.values() for name in own)
        return [self._plan.path("stimuli", stimuli=name) for name in sources]

    def choice_of_images(self, stimuli: str) -> str:
        """Options of the command line that say which images are kept, of which stimulus set."""
        images = self._study.settings.images
        if images == SHARED:
            return "--shared"
        kept = f"--keep {shlex.quote(self._study.chosen_stimuli[stimuli][0])}"
        if isinstance(images, str):
            return f"{kept} --list {shlex.quote(images)}"
        return f"{kept} --images {shlex.quote(json.dumps(images))}"

    @cached_property
    def stimuli_with_folds(self) -> dict[str, str]:
        """Stimulus set -> the file or split that its outer folds come from."""
        found = {
            name: self._study.folds_of(name)
            for name in map(self._study.seen_by, self._plan.subjects)
        }
        return {name: folds for name, folds in found.items() if folds is not None}

    def fold_file(self, stimuli: str) -> list[str]:
        """File of the folds of a stimulus set; none where a split of the data set is named."""
        said = self.stimuli_with_folds[stimuli]
        return [said] if is_fold_file(said) else []

    def split_entry(self, stimuli: str) -> DatasetEntry:
        """Data set whose split is named."""
        return self._study.subjects[self._study.viewers_of(stimuli)[0]]

    def split_plugins(self, stimuli: str) -> list[Plugin]:
        """Adapter that reads the named split; none where a file holds the folds."""
        if self.fold_file(stimuli):
            return []
        return [self._plan.adapter_plugin(self.split_entry(stimuli))]

    def split_options(self, stimuli: str) -> str:
        """Options of the command line that name a split of the data set; none with a file."""
        said = self.stimuli_with_folds[stimuli]
        if is_fold_file(said):
            return ""
        entry = self.split_entry(stimuli)
        viewers = tuple(self._study.viewers_of(stimuli))
        parts = {
            "entry": self._plan.entry_json(entry, viewers),
            "split": said,
            "data": f"{DATA}/{entry.name}",
        }
        return " ".join(f"--{name} {shlex.quote(value)}" for name, value in parts.items())

    def tables_of(self, subject: str) -> dict[str, list[str]]:
        """Tables by which the responses of a subject are narrowed, by command-line option."""
        stimuli = self._study.seen_by(subject)
        tables = {}
        if stimuli in self._study.chosen_stimuli:
            tables["images"] = [self._plan.path("stimuli", stimuli=stimuli)]
        if stimuli in self.stimuli_with_folds:
            tables["folds"] = [self._plan.path("folds", stimuli=stimuli)]
        return tables

    def n_folds_of(self, stimuli: str) -> int | None:
        """Outer folds that the groups of a stimulus set must fill; None where they need not."""
        if stimuli in self.stimuli_with_folds or not self._study.viewers_of(stimuli):
            return None
        return self._study.settings.encoding.n_folds

    def problems(self) -> list[str]:
        """Say what is wrong with folds and lists of images, as far as it is known by now."""
        problems = []
        images = self._study.settings.images
        where = f"{self._study.source('images')}: images"
        for path in self.image_list:
            problems += _problems_of(where, partial(read_image_list, Path(path)))
        if isinstance(images, tuple):
            problems += _problems_of(where, partial(check_image_list, images, where="the list"))
        where = f"{self._study.source('folds')}: folds"
        for name in self.stimuli_with_folds:
            for path in self.fold_file(name):
                problems += _problems_of(where, partial(read_fold_file, Path(path)))
            if not self.fold_file(name):
                problems += self._split_problems(name)
        if not problems:
            for name in map(self._study.seen_by, self._plan.subjects):
                problems += self._too_few_groups(name)
        return list(dict.fromkeys(problems))

    def _split_problems(self, stimuli: str) -> list[str]:
        """Say that no split of the data set is called so."""
        said, entry = self.stimuli_with_folds[stimuli], self.split_entry(stimuli)
        where = f"{self._study.source('folds')}: folds"
        source, options = self._plan.adapter(entry)
        splits = source.splits
        if not splits:
            return [
                f"{where}: {said!r} is no file ({', '.join(ENDINGS)}), and data set {entry.name!r} "
                "brings no splits; write a table of image_id and fold"
            ]
        if said not in splits:
            return [f"{where}: {entry.name!r} has no split {said!r}; it has {', '.join(splits)}"]
        data = Path(DATA) / entry.name
        if not data.is_dir():
            # That it is missing is told elsewhere.
            return []
        own = entry.model_copy(update={"subjects": tuple(self._study.viewers_of(stimuli))})
        return _problems_of(where, partial(source.folds_of_split, own, options, said, data))

    def _too_few_groups(self, stimuli: str) -> list[str]:
        """Say that images do not fill the outer folds, where their table is made already."""
        n_folds, table = self.n_folds_of(stimuli), Path(self._plan.path("stimuli", stimuli=stimuli))
        if n_folds is None or not table.is_file():
            return []
        try:
            problem = fold_problem(list(read_table(table, kind="stimuli")["group"]), n_folds)
        except GradbrainError:
            # A damaged table is told by the job that reads it.
            return []
        where = f"{self._study.source('encoding', 'n_folds')}: stimulus set {stimuli!r}"
        return [f"{where}: {problem}"] if problem else []


def _problems_of(where: str, read: Callable[[], object]) -> list[str]:
    """Say what keeps something of the study from being read."""
    try:
        read()
    except GradbrainError as error:
        return [f"{where}: {error}"]
    return []
