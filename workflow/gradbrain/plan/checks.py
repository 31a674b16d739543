"""Checks of a study before any job: what is missing, has changed or cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.definition import feature_definition
from gradbrain.config.schema import DatasetEntry
from gradbrain.config.suggestions import choose
from gradbrain.plan.checkpoints import wrong_checkpoints
from gradbrain.plan.parts import PlanPart
from gradbrain.plan.roots import link_root
from gradbrain.plan.signal_checks import SignalChecks
from gradbrain.plan.sizes import absurd_sizes
from gradbrain.plan.study_entries import DATA
from gradbrain.store import read_definition
from gradbrain.vocabulary.artefacts import RESULTS

# Model, signal set, and the attributes of a feature store.
KeptFeatures = tuple[str, str, dict[str, Any]]


class StudyChecks(PlanPart):
    """What must hold before the first job of a study starts."""

    def paths(self) -> None:
        """Refuse folders and files whose names Snakemake would take for patterns.

        Raises
        ------
        GradbrainError
            A path that becomes an input has braces.
        """
        paths = [("the folder of the code", str(self._plan.root))]
        where = f"{self._study.source('plugins')}: plugins"
        paths += [(where, path) for path in self._study.settings.plugins]
        images = self._plan.images
        where = f"{self._study.source('images')}: images"
        paths += [(where, path) for path in images.image_list]
        where = f"{self._study.source('folds')}: folds"
        for name in images.stimuli_with_folds:
            paths += [(where, path) for path in images.fold_file(name)]
        for where, path in paths:
            if "{" in path or "}" in path:
                raise GradbrainError(
                    f"{where}: {path} has braces in its name, which Snakemake takes for wildcards; "
                    "rename it"
                )

    def roots(self) -> None:
        """Refuse roots of what does not exist, before a link is made for them.

        Raises
        ------
        GradbrainError
            A key of ``roots`` is no data set and no folder of checkpoints.
        """
        checkpoints = [path for model in self._study.models for path in self._plan.weights(model)]
        allowed = {"weights", *self._study.registries.datasets}
        allowed |= {Path(path).parts[1] for path in checkpoints}
        for name in self._study.settings.roots:
            where = f"{self._study.source('roots', name)}: roots"
            choose(name, sorted(allowed), what="data set or folder of weights", where=where)

    def link_roots(self) -> list[Path]:
        """Link ``data/<name>`` to each configured root; return the links that are new or changed.

        Raises
        ------
        GradbrainError
            A root is not a folder, or ``data/<name>`` is a folder of its own.
        """
        links = (
            link_root(name, root, Path(DATA), self._study.source("roots", name))
            for name, root in self._study.settings.roots.items()
        )
        return [link for link in links if link is not None]

    def run(self, *, packages: bool = True) -> None:
        """Find what is missing or has changed before any job starts.

        Parameters
        ----------
        packages
            Whether packages that carry weights are looked for, which tells something where jobs
            run in the environment of this interpreter.

        Raises
        ------
        GradbrainError
            One message that lists every problem.
        """
        # First: weights and features of what a band names are looked up below.
        SignalChecks(self._plan).nuisance()
        self.paths()
        problems = []
        for entry in self._study.datasets.values():
            module, options = self._plan.adapter(entry)
            link = Path(DATA) / entry.name
            if link.is_symlink() and not link.exists():
                problems.append(
                    f"data set {entry.name!r}: {link} is a link to a folder that is not there; "
                    f'name its place: --config "roots={{{entry.name}: /path/to/it}}"'
                )
                continue
            # People whom the study leaves out may be missing from this machine.
            chosen = tuple(name for name in entry.subjects if name in self._plan.subjects)
            some = entry.model_copy(update={"subjects": chosen})
            problems += module.check(some, options, Path(DATA) / entry.name)
            problems += self._lost_data(some)
        for model in dict.fromkeys(model for model, _, _, _ in self._plan.all_features()):
            problems += self._missing_weights(model, packages=packages)
        problems += self._plan.images.problems()
        options = self._plan.options_of_datasets
        problems += absurd_sizes(self._study, options, self._plan.plugins)
        kept = self._kept_features()
        problems += [*self._changed_definitions(kept), *self._other_precisions(kept)]
        self._plan.check_signals()
        _ = self._plan.figures
        _ = self._plan.comparisons
        if problems:
            raise GradbrainError("\n".join([f"{self._study.where}: cannot run:", *problems]))

    def checkpoints(self) -> None:
        """Hold the checkpoints that lie here against their networks.

        Raises
        ------
        GradbrainError
            Names and shapes of one are not those of its network.
        """
        files = {
            model: [path for path in self._plan.weights(model) if Path(path).is_file()]
            for model in self._plan.networks
        }
        here = [model for model, paths in files.items() if paths]
        sources = [self._plan.weights_plugin(model) for model in here]
        problems = wrong_checkpoints(
            {model: self._plan.as_json(self._plan.model_entry(model)) for model in here},
            files,
            script=self._plan.script("check_checkpoints"),
            data=DATA,
            plugins=self._plan.plugin_files(*sources),
        )
        if problems:
            raise GradbrainError("\n".join([f"{self._study.where}: cannot run:", *problems]))

    def _missing_weights(self, model: str, *, packages: bool) -> list[str]:
        """Say what the weights of a model lack: files below ``data/``, packages."""
        where = f"{self._study.registries.place('model', model)}: weights"
        problems = [
            f"{where}: there is {'a folder' if Path(path).is_dir() else 'no file'} {path}. "
            f"Place the file there, or name its folder: --config "
            f'"roots={{{Path(path).parts[1]}: /path/to/folder}}"'
            for path in self._plan.weights(model)
            if not Path(path).is_file()
        ]
        if packages:
            entry = self._plan.model_entry(model)
            missing = self._plan.weights_options(model).missing_packages(entry)
            problems += [f"{where}: {sentence}" for sentence in missing]
        return problems

    def _lost_data(self, entry: DatasetEntry) -> list[str]:
        """Say how to fetch a data set again that was removed before all was made from it.

        A data set that arrives by itself comes with its stimulus table; where the table is there
        already, no job fetches it.
        """
        folder = Path(DATA) / entry.name
        if not entry.arrives_by_itself or folder.exists():
            return []
        for subject in entry.subjects:
            stimuli = entry.stimuli_of(subject)
            comes = self._plan.stimuli[stimuli].name == entry.name
            if comes and not Path(self._plan.path("stimuli", stimuli=stimuli)).exists():
                continue
            wanted = [self._plan.path("responses", subject=subject)]
            wanted += [
                self._plan.features(model, layer, signal_set, stimuli)
                for model, signal_set, layer, name in self._plan.all_features()
                if name == stimuli
            ]
            for path in wanted:
                if not Path(path).exists():
                    return [
                        f"data set {entry.name!r}: the folder {folder} is missing and {path} is "
                        "still to be made; fetch it with: python scripts/fetch_dataset.py "
                        f"{entry.name} --registry {self._plan.registry_of(entry)}"
                    ]
        return []

    def _kept_features(self) -> list[KeptFeatures]:
        """Feature stores of the study that are there already."""
        stores = [
            (model, self._plan.set_of(model), layer, stimuli)
            for model in self._plan.models
            for layer in self._plan.layers(model)
            for stimuli in map(self._study.seen_by, self._study.subjects)
        ]
        found = (
            (model, name, read_definition(self._plan.features(model, layer, name, stimuli)))
            for model, name, layer, stimuli in dict.fromkeys([*stores, *self._plan.all_features()])
        )
        return [row for row in found if "definition" in row[2]]

    def _changed_definitions(self, kept: list[KeptFeatures]) -> list[str]:
        expected: dict[tuple[str, str], str] = {}
        changed = []
        for model, signal_set, attributes in kept:
            key = (model, signal_set)
            if key not in expected:
                expected[key] = feature_definition(
                    self._plan.model_entry(model),
                    self._plan.taken_set(model, signal_set),
                    self._plan.plugins,
                )
            if attributes["definition"] != expected[key]:
                changed.append(key)
        return [
            f"the definition of model {model!r} or of signal set {signal_set!r} differs from that "
            f"which its features in {RESULTS}/features/{model}/*/{signal_set}/ were made with. "
            "Features are named by their entries: give the changed entry a new name, or remove "
            "the old features with: rm -r "
            f"{RESULTS}/features/{model}/*/{signal_set}"
            for model, signal_set in dict.fromkeys(changed)
        ]

    def _other_precisions(self, kept: list[KeptFeatures]) -> list[str]:
        """Studies share features: with a precision each, every run would remake the other's."""
        wanted = self._study.settings.features.precision
        found = [
            (model, signal_set, attributes.get("precision", wanted))
            for model, signal_set, attributes in kept
        ]
        return [
            f"features.precision is {wanted!r}, but {RESULTS}/features/{model}/*/{signal_set}/ was "
            f"made with {precision!r}, and studies share features: set features.precision to "
            f"{precision!r}, use a signal set of another name, or, if no other study needs them, "
            f"remove the old features with: rm -r {RESULTS}/features/{model}/*/{signal_set}"
            for model, signal_set, precision in dict.fromkeys(found)
            if precision != wanted
        ]
