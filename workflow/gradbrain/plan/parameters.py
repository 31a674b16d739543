"""Code and parameters of jobs: what decides whether a job runs again."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from functools import cached_property
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import (
    Plugin,
    Requirement,
    signal_needs,
    signal_plugins,
    viewing_objectives,
)
from gradbrain.config.schema import (
    BASELINE_SETTINGS,
    CEILING_SETTINGS,
    MEASUREMENT_SETTINGS,
    OTHER_RSA_SETTINGS,
    OTHER_THAN_FITS,
    PREDICTION_SETTINGS,
    RULE_PAIR_SETTINGS,
    UNIQUE_SETTINGS,
    DatasetEntry,
    EncodingSettings,
    ReliabilitySettings,
    RsaSettings,
    SignalEntry,
    StrictModel,
)
from gradbrain.plan.code_inputs import import_closure
from gradbrain.plan.entries import entry_records
from gradbrain.plan.parts import remembered
from gradbrain.plan.study_results import StudyResults


def _all_but(section: type[StrictModel], *left_out: str) -> tuple[str, ...]:
    return tuple(key for key in section.model_fields if key not in left_out)


#: Job -> the section of a study, and those of its settings that the result of the job depends on.
JOB_SETTINGS = {
    "fit_encoding": ("encoding", _all_but(EncodingSettings, *OTHER_THAN_FITS)),
    "reduce_activations": ("encoding", BASELINE_SETTINGS),
    "measure_unique": ("encoding", UNIQUE_SETTINGS),
    "measure_rule_pairs": ("encoding", RULE_PAIR_SETTINGS),
    "compute_ceilings": ("encoding", CEILING_SETTINGS),
    "compute_rsa": ("rsa", _all_but(RsaSettings, *OTHER_RSA_SETTINGS)),
    "compare_predictions": ("rsa", PREDICTION_SETTINGS),
    "measure_reliability": ("reliability", MEASUREMENT_SETTINGS),
    "judge_reliability": ("reliability", _all_but(ReliabilitySettings, *MEASUREMENT_SETTINGS)),
}


class JobParameters(StudyResults):
    """Modules behind the jobs of a study, and settings as their command lines take them."""

    def script(self, name: str) -> str:
        """Path of a command-line entry."""
        return str(self.root / "scripts" / f"{name}.py")

    @remembered
    def code(self, script: str, *plugins: Plugin | str) -> list[str]:
        """Modules behind a command-line entry, and those that the job loads by name.

        Parameters
        ----------
        script
            Name of the command-line entry.
        *plugins
            Plug-ins, of the library or not, and names of modules.
        """
        modules = [
            item if isinstance(item, str) else item.module
            for item in plugins
            if isinstance(item, str) or item.in_library
        ]
        files = [item.path for item in plugins if isinstance(item, Plugin) and not item.in_library]
        library = self.root / "workflow"
        found = import_closure(Path(self.script(script)), library, modules, files)
        return [str(file) for file in found[1:]]

    @staticmethod
    def plugin_files(*plugins: Plugin) -> list[str]:
        """Files of those plug-ins that are not the library's, which a job must be told of."""
        return [str(item.path) for item in dict.fromkeys(plugins) if not item.in_library]

    def asset(self, path: str) -> str:
        """Path of a file of the library that is not code."""
        return str(self.root / "workflow" / path)

    def report_assets(self) -> list[str]:
        """Template, style and script of the report."""
        names = ("report.html.jinja", "report.css", "report.js")
        return [self.asset(f"gradbrain/figures/report/{name}") for name in names]

    @cached_property
    def _rule_names(self) -> dict[str, tuple[str, ...]]:
        """Name of a rule -> the entries that had it first."""
        return {}

    def rule_name(self, rule: str, *names: str) -> str:
        """Name of a rule that belongs to a model, a signal set or a data set.

        Snakemake's rules have names of letters, digits and _, entries may also have - and ``.``;
        of entries that differ in these alone, all but the first have a digest in the name.
        """
        name = re.sub(r"\W", "_", "_".join([rule, *names]))
        if self._rule_names.setdefault(name, names) == names:
            return name
        digest = hashlib.sha256("/".join(names).encode()).hexdigest()[:8]
        return f"{name}_{digest}"

    def resolved_config(self) -> str:
        """All settings of the study as JSON, without what belongs to one machine or one run."""
        # Models that were asked for by a pattern have a choice of their own by now.
        asked = {"pattern", "file", "leave_out", "untrained"}
        return self.study.settings.model_dump_json(
            exclude={
                **dict.fromkeys(("roots", "only_models", "only_subjects", "only_layers"), True),
                # A key that says nothing is no reason to write the file again.
                "models": {
                    place: asked if choice.signal_set else asked | {"signal_set"}
                    for place, choice in enumerate(self.study.settings.models)
                },
            }
        )

    def entries(self) -> str:
        """Entries that the study names, as readers see them, as JSON: rows of ``entries.csv``."""
        trained = {model: model not in self.untrained for model in self.study.models}
        return json.dumps(entry_records(self.study, trained), ensure_ascii=False)

    def comparison_options(self) -> str:
        """Folders of those tables, and what sets models apart, as options of the command line.

        Folders, since a command that names every table of hundreds of models is too long to run.
        """
        folders = {
            "scores": Path(self.path("scores")).parent,
            "rsa": Path(self.path("rsa")).parents[1],
        }
        if self.second_opinions:
            folders["prediction-rsa"] = Path(self.path("prediction_rsa")).parent
        words = [word for name, path in folders.items() for word in (f"--{name}", str(path))]
        records = [facts.as_record() for facts in self.model_facts]
        return shlex.join([*words, "--factors", json.dumps(records, separators=(",", ":"))])

    def fusion_options(self, model: str) -> str:
        """Stores of each fusion as options of the command line."""
        words = []
        for space, time, stimuli in self.fused_datasets:
            words += ["--features", *self.features_of_model(model, stimuli)]
            words += ["--space", *self.responses_of(space), "--time", *self.responses_of(time)]
        return shlex.join(words)

    def settings_of(self, job: str) -> str:
        """Settings that the result of a job depends on, as JSON; `JOB_SETTINGS` has the jobs."""
        section, consumed = JOB_SETTINGS[job]
        settings: StrictModel = getattr(self.study.settings, section)
        return settings.model_dump_json(include=set(consumed))

    def stimuli_by_subject(self) -> str:
        """Stimulus set of every selected subject, as JSON."""
        viewed = {name: self.study.seen_by(name) for name in self.subjects}
        return json.dumps(viewed)

    def extraction_plugins(self, model: str, signal_set: str) -> list[Plugin]:
        """Plug-ins that an extraction job uses: rules, objectives, the source of weights."""
        return [*self.signal_plugins(signal_set), self.weights_plugin(model)]

    def targets_plugins(self, model: str, signal_set: str) -> list[Plugin]:
        """Plug-ins that a job of targets uses: objectives that look at views, and weights.

        It reads the options of all signals of the set, and so the files of all that are not the
        library's.
        """
        uses = viewing_objectives(self.signal_set(signal_set).signals, self.plugins)
        foreign = (one for one in self.signal_plugins(signal_set) if not one.in_library)
        found = [plugin for use in uses for plugin in use.plugins]
        return list(dict.fromkeys([*found, *foreign, self.weights_plugin(model)]))

    def measured_plugins(self, model: str) -> list[Plugin]:
        """Plug-ins that a measurement of reliability uses: those of the model's signals."""
        return self.extraction_plugins(model, self.set_of(model))

    def extraction_code(self, model: str, signal_set: str) -> list[str]:
        """Modules that an extraction job uses: its plug-ins, no others."""
        return self.code("extract_features", *self.extraction_plugins(model, signal_set))

    def extraction_entry(self, model: str, signal_set: str) -> str:
        """Entry of a model as JSON, as the extraction of a signal set reads it."""
        return self._network_entry(model, self.needs(signal_set))

    def feedback_model(self, model: str, signal: str) -> str:
        """Entry of a model as JSON, as the fit of a signal's model reads it."""
        return self._network_entry(model, signal_needs(self._fitted_signal(signal), self.plugins))

    def _network_entry(self, model: str, needs: frozenset[Requirement]) -> str:
        """Entry of a model as JSON, without words and what no signal of these needs reads."""
        unused = () if "text_tower" in needs else ("text_tower",)
        return self.as_json(
            self.model_entry(model), without=("label", "colour", "factors", *unused)
        )

    def training_entry(self, model: str) -> str:
        """Entry of a model as JSON, without words, as its training reads it."""
        said = ("label", "colour", "licence", "citation", "default_objective", "sibling", "factors")
        return self.as_json(self.model_entry(model), without=said)

    def signal_set_json(self, signal_set: str) -> str:
        """Signal set as JSON, without labels, colours and who controls whom."""
        return json.dumps(self.signal_set(signal_set).without_words())

    def signal_entry(self, signal: str) -> str:
        """Entry of a signal with a fitted model as JSON, without words."""
        return self.as_json(self._fitted_signal(signal), without=("label", "colour", "control_of"))

    def activation_set_json(self, signal_set: str) -> str:
        """Activation of a signal set as JSON, as image statistics take it."""
        return json.dumps(self.signal_set(signal_set).of_activation().without_words())

    def judged_signals(self, model: str) -> str:
        """Signals of a model as JSON, with who controls whom and without labels and colours."""
        said = {"signals": {"__all__": {"label", "colour"}}}
        return self.taken_set(model, self.set_of(model)).model_dump_json(exclude=said)

    def _fitted_signal(self, name: str) -> SignalEntry:
        sets = dict.fromkeys(signal_set for _, signal_set, _, _ in self.all_features())
        for signal_set in sets:
            for signal in self.fitted_signals(signal_set):
                if signal.name == name:
                    return signal
        raise GradbrainError(
            f"{self.study.where}: no signal {name!r} with a fitted model is part of the study"
        )

    def feedback_plugins(self, model: str, signal: str) -> list[Plugin]:
        """Plug-ins that the fit of a rule's model uses."""
        own = signal_plugins(self._fitted_signal(signal), self.plugins)
        return [*own, self.weights_plugin(model)]

    def response_entry(self, subject: str) -> str:
        """Entry of a subject's data set as JSON; other subjects are no part of its responses."""
        return self.entry_json(self.study.subjects[subject], (subject,))

    def stimuli_entry(self, stimuli: str) -> str:
        """Entry of a stimulus set's data set as JSON, with all subjects who saw its images."""
        entry = self.stimuli[stimuli]
        return self.entry_json(entry, self._viewers(stimuli))

    def responses_determined_by(self, subject: str) -> str:
        """Those parts of :meth:`response_entry` that the responses follow from, as JSON.

        Options are validated ones, so that a default that is written out changes nothing.
        """
        entry = self.study.subjects[subject]
        _, options = self.adapter(entry)
        parts = {"subjects": (subject,), "options": options.model_dump(mode="json")}
        whole = json.loads(
            self.as_json(
                entry.model_copy(update=parts),
                without=("fetch", "expected", "licence", "citation", "label"),
            )
        )
        # What readers call a modality is no part of its responses.
        whole["modality"].pop("label")
        return json.dumps(whole)

    def stimuli_determined_by(self, stimuli: str) -> str:
        """Those parts of :meth:`stimuli_entry` that the images follow from, as JSON."""
        entry = self.stimuli[stimuli]
        module, options = self.adapter(entry)
        parts = {
            "name": entry.name,
            "adapter": entry.adapter,
            "stimuli": entry.stimuli,
            "subjects": self._viewers(stimuli),
            "options": module.of_images(options).model_dump(mode="json"),
        }
        return json.dumps(parts)

    def _viewers(self, stimuli: str) -> tuple[str, ...]:
        """Subjects who saw the images of a stimulus set."""
        entry = self.stimuli[stimuli]
        return entry.subjects if entry.stimuli else (stimuli,)

    def entry_json(self, entry: DatasetEntry, subjects: tuple[str, ...]) -> str:
        """Entry of a data set as JSON, narrowed to some subjects, as jobs read it."""
        narrowed = entry.model_copy(update={"subjects": subjects})
        return self.as_json(narrowed, without=("fetch", "expected"))
