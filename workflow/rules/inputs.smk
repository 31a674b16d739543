# What rules ask of the plan: `of` for what it has by wildcards, functions for what takes more.

# Statistics of a model with their draws and maps, as benchmarks/bench_hundreds.py measures them.
STATISTICS_MB = 20


# Braces in a text are wildcards to Snakemake, unless a function gives it: titles, citations and the
# JSON that holds them are given so.
def as_it_is(value):
    def given(wildcards):
        return value

    return given


def of(ask, *names):
    """Ask the plan for what belongs to some of a job's wildcards."""

    def found(wildcards):
        return ask(*(getattr(wildcards, name) for name in names))

    return found


def code_of(script, ask, *names):
    """Modules behind a script, and those plug-ins that the plan names for a job's wildcards."""

    def found(wildcards):
        return plan.code(script, *ask(*(getattr(wildcards, name) for name in names)))

    return found


def plugins_of(ask, *names):
    """Files of those plug-ins, without the library's own."""

    def found(wildcards):
        return plan.plugin_files(*ask(*(getattr(wildcards, name) for name in names)))

    return found


stimuli_code = code_of("prepare_stimuli", plan.stimuli_plugins, "stimuli")
stimuli_plugins = plugins_of(plan.stimuli_plugins, "stimuli")
split_code = code_of("assign_folds", plan.images.split_plugins, "stimuli")
split_plugins = plugins_of(plan.images.split_plugins, "stimuli")
response_code = code_of("prepare_responses", plan.response_plugins, "subject")
response_plugins = plugins_of(plan.response_plugins, "subject")
activation_plugins = plugins_of(plan.activation_plugins, "signal_set")
extraction_plugins = plugins_of(plan.extraction_plugins, "model", "signal_set")
targets_code = code_of(
    "compute_objective_targets", plan.targets_plugins, "model", "signal_set"
)
targets_plugins = plugins_of(plan.targets_plugins, "model", "signal_set")
feedback_code = code_of("fit_feedback", plan.feedback_plugins, "model", "signal")
feedback_plugins = plugins_of(plan.feedback_plugins, "model", "signal")
reliability_code = code_of("measure_reliability", plan.measured_plugins, "model")
reliability_plugins = plugins_of(plan.measured_plugins, "model")
figure_script_code = code_of("plot_figure", plan.figures.plugins, "figure")
figure_plugins = plugins_of(plan.figures.plugins, "figure")


# Snakemake compares no parameter that follows from the output: entries are part of the command, and
# what reruns a job are those parts of them that its result follows from.
def stimuli_entry(wildcards, output):
    return plan.stimuli_entry(wildcards.stimuli)


def stimuli_data(wildcards):
    return f"data/{plan.stimuli[wildcards.stimuli].name}"


def response_entry(wildcards, output):
    return plan.response_entry(wildcards.subject)


# Checksums are no reason to run again: what was read was compared with them then.
def response_registries(wildcards, output):
    return plan.response_registries(wildcards.subject)


def response_data(wildcards):
    return f"data/{plan.study.subjects[wildcards.subject].name}"


def subject_stimuli(wildcards):
    entry = plan.study.subjects[wildcards.subject]
    return plan.path("stimuli", stimuli=entry.stimuli_of(wildcards.subject))


# What narrows responses to the images, and lays them out in the folds, of the study's own.
def images_and_folds(wildcards):
    tables = plan.images.tables_of(wildcards.subject)
    return [path for paths in tables.values() for path in paths]


def narrowing_options(wildcards, input):
    tables = plan.images.tables_of(wildcards.subject)
    return " ".join(f"--{name} {shlex.join(paths)}" for name, paths in tables.items())


# Folds are of a study, the images of all: checked where images are listed, and no parameter of them.
def fold_option(wildcards, output):
    n_folds = plan.images.n_folds_of(wildcards.stimuli)
    return "" if n_folds is None else f"--n-folds {n_folds}"


def layer_depth(wildcards):
    return plan.layer(wildcards.model, wildcards.layer).depth


def layers_of_stores(wildcards, output):
    return [plan.keys_of("features", store)["layer"] for store in output]


def layers_of_fits(wildcards, output):
    # What is one file, Snakemake gives as a text.
    stores = [output.stores] if isinstance(output.stores, str) else output.stores
    return [plan.keys_of("encoding", store)["layer"] for store in stores]


def depths_of_stores(wildcards, output):
    keys = (plan.keys_of("features", store) for store in output)
    return [plan.layer(key["model"], key["layer"]).depth for key in keys]


# Of the signals that a model's reliability is measured of: those that the study takes from it.
def measured_signals(wildcards):
    return plan.signal_set_json(plan.set_of(wildcards.model))


def measured_model_json(wildcards):
    return plan.extraction_entry(wildcards.model, plan.set_of(wildcards.model))


def measured_weights(wildcards):
    return [
        *plan.weight_inputs(wildcards.model),
        *plan.text_weights(wildcards.model, plan.set_of(wildcards.model)),
    ]


def measured_chain(wildcards):
    signal_set = plan.set_of(wildcards.model)
    return plan.chain(wildcards.model) if plan.takes_chain(signal_set) else []


def measured_feedback(wildcards):
    return plan.feedback(wildcards.model, plan.set_of(wildcards.model))


def reliabilities_of_model(wildcards):
    return plan.whole_model(*plan.reliability(wildcards.model))


def model_weights(wildcards):
    return [
        *plan.weight_inputs(wildcards.model),
        *plan.text_weights(wildcards.model, wildcards.signal_set),
    ]


def calibration_images(wildcards):
    calibration = plan.signal_set(wildcards.signal_set).calibration
    return plan.path("stimuli", stimuli=calibration)


# For rules of one model, made in a loop: a function that looks the model up in it would find the last.
def features_of(model):
    def found(wildcards):
        return plan.features_for_subject(model, wildcards.subject)

    return found


def baseline_of(model):
    def found(wildcards):
        return plan.baseline(model, wildcards.subject)

    return found


def baseline_option(wildcards, input):
    return f"--baseline {shlex.quote(input.baseline[0])}" if input.baseline else ""


def encoding_tables(wildcards):
    return plan.whole_model(*plan.encoding(wildcards.model, kind="fit_scores"))


def encoding_stores(wildcards):
    return plan.whole_model(*plan.encoding(wildcards.model, kind="encoding"))


def unique_of_model(wildcards):
    return plan.whole_model(*plan.unique(wildcards.model))


def fused_responses(wildcards):
    return plan.fused_responses()


def fused_pairs(wildcards, input):
    return plan.fusion_options(wildcards.model)


def ceilings_option(wildcards, input):
    return f"--ceilings {shlex.join(input.ceilings)}" if input.ceilings else ""


def reliability_option(wildcards, input):
    if not input.reliability:
        return ""
    stimuli = shlex.quote(plan.stimuli_by_subject())
    return f"--reliability {shlex.join(input.reliability)} --stimuli {stimuli}"


def score_tables(wildcards):
    return plan.whole_study(*plan.per_model("scores"))


def hierarchy_tables(wildcards):
    return plan.whole_study(*plan.per_model("hierarchy"))


# The tables hold the digests of the draws: a folder that was written again as it was is no reason to
# run what reads both.
def hierarchy_draws(wildcards):
    return [
        ancient(path) for path in plan.whole_study(*plan.per_model("hierarchy_draws"))
    ]


def rdm_tables(wildcards):
    return plan.whole_study(*plan.per_model("rdm_hierarchy"))


# As above: the tables hold the digests of the draws.
def rdm_draws(wildcards):
    stores = plan.whole_study(*plan.per_model("rdm_hierarchy_draws"))
    return [ancient(path) for path in stores]


def compared_tables(wildcards):
    return plan.whole_study(*plan.compared_tables())


def ceiling_memory(wildcards, attempt):
    """Subjects are read one after the other, as a fit reads one."""
    subjects = plan.subjects_of(wildcards.dataset)
    return attempt * max(map(plan.memory.of_fit, subjects))


def memory(mem_mb):
    """Ask for more memory at every attempt: the executor may kill what takes too much."""

    def grown(wildcards, attempt):
        return mem_mb * attempt

    return grown


def fit_memory(wildcards, attempt):
    """Fits of all subjects ask for the same on a cluster: a job array gets what one task asks for."""
    others = [] if workflow.local_exec else plan.subjects
    return attempt * max(map(plan.memory.of_fit, [wildcards.subject, *others]))


def reduction_memory(wildcards, attempt):
    """Like fits: the same for all subjects of a model on a cluster."""
    subjects = [wildcards.subject] if workflow.local_exec else plan.subjects
    return attempt * max(
        plan.memory.of_reduction(wildcards.model, subject) for subject in subjects
    )


def figure_inputs(wildcards):
    inputs = plan.figures.inputs(wildcards.figure)
    return [
        ancient(path) if kind == "hierarchy_draws" else path
        for kind, paths in inputs.items()
        for path in plan.whole_study(*paths)
    ]


def reported_figure(name, ending):
    # A caption of an output cannot hold a wildcard, so that a figure is reported where it is read.
    figure = plan.figures[name]
    labels = {"figure": figure.title, "file": ending.upper()}
    return report(
        plan.path("figure", figure=name, ending=ending),
        # Snakemake looks for a relative one beside this file.
        caption=str(figure.caption.resolve()),
        category="Figures",
        labels=labels,
    )


def reported_figures(ending):
    return [reported_figure(name, ending) for name in plan.figures]


def universe_tables(wildcards):
    return plan.whole_study(
        *plan.multiverse.statistics_of(wildcards.universe, draws=False)
    )


# As of the study itself: the tables hold the digests of the draws.
def universe_draws(wildcards):
    stores = plan.multiverse.statistics_of(wildcards.universe, draws=True)
    return [ancient(path) for path in plan.whole_study(*stores)]


def second_option(wildcards, input):
    return f"--second-opinions {shlex.quote(input.second[0])}" if input.second else ""


def multiverse_options(wildcards, input):
    names = ("--universes", "--specification-curve")
    options = zip(names, input.multiverse)
    return " ".join(f"{name} {shlex.quote(path)}" for name, path in options)
