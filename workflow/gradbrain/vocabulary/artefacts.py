"""Every kind of result: where it lies, what it holds, which stage makes it, in which version.

Rules take their outputs and inputs from :func:`artefact`, stages their columns and kinds. A kind
has a version of its own, raised by hand with its layout or the meaning of what it holds: it enters
the parameters of the rule that makes the kind, so that this rule and what reads its result run
again, and nothing else. The modules of this package are no input of jobs.

``docs/artefacts.md`` is generated from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

from gradbrain.vocabulary.intervals import FEW_GROUPS, FEW_GROUPS_NOTE
from gradbrain.vocabulary.measures import INTERSUBJECT_MEASURES

RESULTS = "results"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name
        As the file has it.
    meaning
        One line.
    unit
        ``""`` where there is none.
    optional
        Whether a table may lack it.
    """

    name: str
    meaning: str
    unit: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Variable:
    """An array of a store.

    Attributes
    ----------
    name
        As the store has it; ``signals/<signal>`` stands for one array per signal in a group.
    dims
        Names of its dimensions, or several alternatives.
    meaning
        One line.
    unit
        ``""`` where there is none.
    optional
        Whether a store may lack it.
    """

    name: str
    dims: tuple[str, ...]
    meaning: str
    unit: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Artefact:
    """One kind of result.

    Attributes
    ----------
    kind
        Its name: in the mark of stores, and in error messages.
    template
        Path with its keys in braces. Those with ``{study}`` belong to one study, all others are
        shared.
    rule
        Rule that makes it.
    version
        Raised by hand with the layout of this kind, or the meaning of what it holds.
    what
        One line.
    columns
        Of a table, in order.
    variables
        Of a store.
    """

    kind: str
    template: str
    rule: str
    version: int
    what: str
    columns: tuple[Column, ...] = ()
    variables: tuple[Variable, ...] = ()
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        keys = [name for _, name, _, _ in Formatter().parse(self.template) if name]
        object.__setattr__(self, "keys", tuple(keys))

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns that every table of this kind has, in order."""
        return tuple(column.name for column in self.columns if not column.optional)

    @property
    def is_store(self) -> bool:
        """Whether it is a Zarr store, which is a folder."""
        return self.template.endswith(".zarr")

    def path(self, **keys: str) -> str:
        """Path below the working directory.

        Parameters
        ----------
        **keys
            One for each key of the template. Those that are left out stay in braces, as wildcards
            of a rule.

        Raises
        ------
        KeyError
            The template has no such key.
        """
        unknown = sorted(set(keys) - set(self.keys))
        if unknown:
            raise KeyError(f"{self.kind}: the template {self.template} has no key {unknown}")
        return self.template.format_map({key: keys.get(key, f"{{{key}}}") for key in self.keys})

    def keys_of(self, path: str) -> dict[str, str]:
        """Read the keys of a result back from its path.

        Raises
        ------
        ValueError
            The path is not one of this kind.
        """
        pattern = re.escape(self.template)
        for key in self.keys:
            pattern = pattern.replace(re.escape(f"{{{key}}}"), f"(?P<{key}>[^/]+)", 1)
        found = re.fullmatch(pattern, path)
        if found is None:
            raise ValueError(f"{path} is no path of {self.kind}, which are {self.template}")
        return found.groupdict()


# --- columns that several tables share ---------------------------------------------------------

#: Of C2, whose bounds and power take the plant of the signal for the difference.
BESIDE_CONTROL = "of a share of which the control sees nothing"
_STUDY = Column("study", "name of the study")
_DATASET = Column("dataset", "entry of datasets.yaml")
_SUBJECT = Column("subject", "participant, as datasets.yaml names them")
_MODALITY = Column("modality", "entry of modalities.yaml")
_AXIS = Column("axis", "what the unit of the row is: `roi` or `time`")
_MODEL = Column("model", "entry of models.yaml")
_LAYER = Column("layer", "module of the network")
_DEPTH = Column("depth", "relative depth of the layer, in (0, 1]")
_LAYER_INDEX = Column("layer_index", "place of the layer among those of the study, from 0")
_SIGNAL = Column("signal", "entry of signals.yaml")
_ROLE = Column(
    "role",
    "`activation`, `learning`, `control`; `baseline`: all layers' activations, with the nuisance "
    "bands of the study where it has some; `nuisance`: one of these bands alone",
)
_RULE = Column("rule", "credit-assignment rule of the signal")
_OBJECTIVE = Column("objective", "objective of the signal; empty where it has none")
_ROI = Column("roi", "region; empty for times")
_ROI_RANK = Column("roi_rank", "place of the region from low to high, from 0; −1 for times")
_DISTANCE = Column("distance_mm", "distance of the region's centroid from that of V1", "mm")
_TIME = Column("time", "time in the recording; NaN for regions", "s")
_ONSET = Column("onset_source", "what told when images came on, where a data set tells it twice")
_N_GROUPS = Column(
    "n_groups",
    f"groups of images that are never split; below {FEW_GROUPS} intervals rest on few of them",
)
_SIGNAL_IDENTITY = (_SIGNAL, _ROLE, _RULE, _OBJECTIVE)

_SCORES = (
    _STUDY,
    _DATASET,
    _SUBJECT,
    _MODALITY,
    _MODEL,
    _LAYER,
    _DEPTH,
    _LAYER_INDEX,
    *_SIGNAL_IDENTITY,
    Column("measure", "what is scored: `r`, `r2`, `unique_r2`, …"),
    _AXIS,
    _ROI,
    _ROI_RANK,
    _DISTANCE,
    _TIME,
    _ONSET,
    Column("value", "score: mean over the targets of the unit and over outer folds"),
    Column("boot_low", "lower end of the 95 % interval, from bootstrap draws of images"),
    Column("boot_high", "upper end of it; both NaN where a fold holds one group of images"),
    _N_GROUPS,
    Column("null_high", "95th percentile over permutations of images"),
    Column("n_targets", "reliable targets of the unit"),
    Column(
        "n_masked",
        "of these, targets that do not vary over the images of some outer fold and have no score "
        "there",
    ),
    Column(
        "edge_share",
        "share of the targets predicted above zero whose penalty lies on the edge of the grid, in "
        "the fits of this signal",
    ),
    Column("band_weight", "mean weight of the first band over the unit's targets"),
)

_PREDICTION_RSA = (
    *("study", "dataset", "subject", "modality", "model", "layer", "depth", "layer_index"),
    *("signal", "role", "rule", "objective", "measure", "axis", "roi", "roi_rank", "time"),
    *("onset_source", "value", "boot_low", "boot_high", "n_groups", "null_high"),
)
_UNIVERSE = Column("universe", "`base`, or a digest of its choices")
_HIERARCHY = (
    _STUDY,
    _DATASET,
    _SUBJECT,
    _MODALITY,
    _AXIS,
    Column("coverage", "part of cortex that was recorded, in words; empty for all of it"),
    _MODEL,
    *_SIGNAL_IDENTITY,
    Column("variant", "`raw`: the signal alone; `unique`: beyond all layers' activations"),
    Column("statistic", "name of the statistic"),
    Column("value", "the statistic of the subject"),
    Column("value_at_units", "the same from means of units, as draws have it"),
    Column("unit", "unit of the value: `r`, `R2`, `depth`, `s`, `ms`"),
    Column("n", "layers, regions or targets behind it"),
    _N_GROUPS,
    Column("n_folds", "outer folds of the fits"),
    Column("layer", "of statistics of one layer; else empty"),
    Column("depth", "of that layer"),
    Column("roi", "of statistics of one region; else empty"),
    _DISTANCE,
    Column("pole", "`early` or `high` of a region that is contrasted; else empty"),
    Column("best_layer", "how best layers were found; empty where none are"),
    Column("control", "signal that it is held against; else empty"),
    _ONSET,
    Column("explainable", "of unique variance: mean noise ceiling there; NaN where not known"),
    Column("explained", "of unique variance: what all activations explain there"),
    Column(
        "absent_p",
        "of unique variance: p that people hold the margin at any layer or place; beyond a "
        f"control: {BESIDE_CONTROL}",
    ),
    Column(
        "upper_share",
        "of unique variance: largest share that they may hold at any, 95 %; beyond a control: "
        f"{BESIDE_CONTROL}",
    ),
    *(
        Column(f"{name}_{kernel}", f"of unique variance, for {kernel} weights: {meaning}")
        for kernel in ("scaled", "flat")
        for name, meaning in (
            ("held", "what it becomes where the signal is all, of which a control sees nothing"),
            ("cross_variance", "variance of the products of what is planted and the rest"),
            ("dose_variance", "variance of what is planted alone"),
        )
    ),
)
_TIME_COURSES = (
    _STUDY,
    _DATASET,
    _MODALITY,
    _MODEL,
    *_SIGNAL_IDENTITY,
    Column("variant", "`raw`: the signal alone; `unique`: beyond all layers' activations"),
    _LAYER,
    _DEPTH,
    _TIME,
    Column("mean", "score, mean over subjects; NaN where nobody has one"),
    Column(
        "p",
        "family-wise over times and layers, by threshold-free cluster enhancement: a time that "
        "passes is part of a stretch above chance, whose ends are not tested",
    ),
    Column("p_min", "smallest p that the test could give"),
    Column("n_subjects", "subjects who have a score of this layer at this time"),
)
_CLAIMS = (
    Column("prediction", "A1, P1 to P5, C1, C2"),
    _DATASET,
    _MODALITY,
    _AXIS,
    _MODEL,
    *_SIGNAL_IDENTITY,
    Column("variant", "`raw` or `unique`"),
    Column("statistic", "statistic of the hierarchy table that answers"),
    Column("estimate", "mean over subjects"),
    Column("unit", "of the estimate"),
    Column("ci_low", "lower end of the 95 % interval"),
    Column("ci_high", "upper end of the 95 % interval"),
    Column("n_groups", "groups of images, of the subject who has the fewest"),
    Column(
        "interval_note",
        f"`{FEW_GROUPS_NOTE}`: the interval rests on fewer than {FEW_GROUPS} of them",
    ),
    Column("p", "one-sided, in the stated direction"),
    Column("p_min", "smallest p that the test could give"),
    Column("q", "Benjamini–Hochberg over the judged rows of the family"),
    Column("n", "subjects who have the statistic"),
    Column("n_subjects", "subjects of the data set"),
    Column("inference", "whom the row speaks for: `population` or `these_subjects`"),
    Column("verdict", "`supported`, `contradicted`, `undetermined` or `descriptive`"),
    Column("reason", "code of why there is no test or no verdict; empty where there is one"),
    Column("coverage", "part of cortex that the row speaks of; empty for all of it"),
    Column("direction", "`greater` or `less` than the reference, stated beforehand"),
    Column("figure", "figure that shows it"),
    Column("source", "who says so"),
    Column("sentence", "what is said"),
    Column("reference", "what the estimate must exceed"),
    Column(
        "control",
        "C2: control that leaves the smallest difference or, where one has no test, that one",
    ),
    Column("explainable", "C1, C2: mean share of the responses' variance that `estimate` is of"),
    Column(
        "explainable_source",
        "`ceiling`: noise ceilings; `ceiling_of_some`: those of the n subjects who have one, the "
        "others being left out; `explained`: what activations explain, where nobody has one",
    ),
    Column(
        "lower_share",
        "C1, C2: lower 95 % bound, one-sided, by scaled weights: above the reference where p is at "
        f"most .05, whatever q is; C2: the smallest over controls, {BESIDE_CONTROL}",
    ),
    Column(
        "upper_share",
        f"C1, C2: upper 95 % bound, one-sided, by flat weights; C2: {BESIDE_CONTROL}",
    ),
    Column(
        "detectable_share",
        f"C1, C2: smallest share that would be found, with power .8; C2: {BESIDE_CONTROL}",
    ),
    Column("p_opposite", "p in the opposite direction"),
    Column("q_opposite", "q in the opposite direction"),
    Column(
        "reliability",
        "median over layers, of the signal or, where it is lower, of a control that the "
        "row compares it with; NaN where none of them depends on chance",
    ),
    Column("unique_reliability", "the same of what is left after all layers' activations"),
    Column("least_reliable", "signal that `reliability` is of"),
    Column("reliability_threshold", "no verdict below it"),
)
# Of a second opinion: what dissimilarities have none of is left out.
_SECOND_OPINIONS = (
    *(
        column
        for column in _CLAIMS
        if not column.name.startswith(("explainable", "lower_", "upper_", "detectable_"))
    ),
    Column("first_verdict", "of the claim, which the second opinion does not change"),
    Column(
        "agreement",
        "`agrees`, `disagrees` (supported and contradicted), `first_only` or `second_only` (the "
        "other is undetermined), `neither`; empty where the claim carries no verdict",
    ),
)

_CLAIMS_OVER_MODELS = (
    Column("prediction", "A1, P1 to P5, C1, C2"),
    _DATASET,
    _MODALITY,
    _AXIS,
    *_SIGNAL_IDENTITY,
    Column("variant", "`raw` or `unique`"),
    Column("statistic", "statistic of the hierarchy table that answers"),
    Column("control", "control that is exceeded least (C2)"),
    Column("direction", "`greater` or `less` than the reference, stated beforehand"),
    Column("n_models", "trained models that all of these subjects are predicted from"),
    Column("models", "their names"),
    Column("n_subjects", "subjects who have the statistic in all of them"),
    Column("estimate", "mean over subjects and models"),
    Column("unit", "of the estimate"),
    Column("ci_low", "lower end of the 95 % interval for other people and other models"),
    Column("ci_high", "upper end of it"),
    Column("reference", "what the estimate must exceed"),
    Column("p", "one-sided, in the stated direction"),
    Column("p_opposite", "p in the opposite direction"),
    Column("q", "Benjamini–Hochberg over the rows of the same prediction, variant and rule"),
    Column("q_opposite", "q in the opposite direction"),
)

_MODEL_FACTORS = (
    _MODEL,
    Column("architecture", "as its source names it"),
    Column("variant", "other arguments of the architecture, as JSON; empty where there are none"),
    Column("family", "kind of architecture; empty where unknown"),
    Column("trained", "whether its weights were learnt"),
    Column("objective", "what it was trained for; empty where unknown or not trained"),
    Column("diet", "images that it was trained on; empty where unknown or not trained"),
    Column("fine_tuned_on", "images of a later, supervised training; empty of none"),
    Column("learning_rule", "rule that it learnt by; empty: backpropagation"),
    Column("recipe", "variant of the training that is none of these"),
    Column("step", "step of the training; empty: its end"),
    Column("input_size", "edge of the input", "px"),
    Column("parameters", "parameters; empty where unknown", "millions"),
    Column("year", "year of the description; empty where unknown"),
    Column("n_contrasts", "contrasts that it has a part in"),
)
_MODEL_PAIRS = (
    Column("contrast", "as in `model_contrasts`"),
    Column("factor", "what the sides differ in; `named` where the study says what is compared"),
    Column("pair", "setting of all other factors, from 0"),
    Column("side", "`a` or `b`: the contrast is a minus b"),
    Column("level", "level of the side"),
    Column("model", "entry of models.yaml; the mean is taken over those of one side"),
)
_MODEL_CONTRASTS = (
    _STUDY,
    Column("contrast", "factor and levels, a minus b, or the name that the study gives"),
    Column("factor", "what the sides differ in; `named` where the study says what is compared"),
    Column("level_a", "level of the first side"),
    Column("level_b", "level of the second side"),
    _DATASET,
    _MODALITY,
    _AXIS,
    *_SIGNAL_IDENTITY,
    Column("variant", "`raw` or `unique`"),
    Column("method", "`encoding`, `rsa` or `encoding_rsa`"),
    Column("measure", "measure that models are compared by"),
    Column("unit", "of estimate, means and intervals"),
    Column(
        "roi",
        "region; empty: the mean over regions or, along time, the best layer and time",
    ),
    Column("best_layer", "who chooses the layer: `others`, or `own` of a lone subject"),
    Column("n_pairs", "pairs of models: settings of all other factors"),
    Column("n_models_a", "models of the first side"),
    Column("n_models_b", "models of the second side"),
    Column("parameters_a", "their parameters, geometric mean; NaN where unknown", "millions"),
    Column("parameters_b", "the same of the second side", "millions"),
    Column("n", "subjects who have all pairs"),
    Column("n_subjects", "subjects who have any"),
    Column("mean_a", "mean over subjects and pairs of the first side"),
    Column("mean_b", "the same of the second side"),
    Column("estimate", "mean difference, a minus b"),
    Column("ci_low", "lower end of the 95 % interval for other people, of these models and images"),
    Column("ci_high", "upper end of it"),
    Column("p", "two-sided, by flips of people's signs: of these models and images"),
    Column("p_min", "smallest p that the test could give"),
    Column("q", "Benjamini–Hochberg over the contrasts of the family"),
    Column("models_low", "lower end of the 95 % interval for other people and other models"),
    Column("models_high", "upper end of it; NaN of fewer than three pairs"),
    Column("p_over_models", "two-sided, people and pairs both being samples"),
    Column("q_over_models", "the same as q, of it"),
    Column("inference", "whom p speaks for: `population`, or `these_subjects` where there is none"),
    Column("reason", "code of why there is no test; empty where there is one"),
)

# What figures name otherwise than the tables that they are drawn from, or compute.
_FIGURE = tuple(
    Column(name, meaning, unit, optional=True)
    for name, meaning, unit in (
        ("ci_low", "lower end of the 95 % interval of the mean over subjects; NaN of few", ""),
        ("ci_high", "upper end of it", ""),
        ("ceiling", "noise ceiling of the unit, as r between subjects; NaN where unknown", ""),
        ("best_layer_depth", "depth of the best layer of the region, from 0 to 1", ""),
        ("score", "of a region or subject: score of the order of best layers; of a vertex: r", ""),
        ("score_statistic", "statistic of the hierarchy table that this score is", ""),
        ("score_low", "lower end of the interval of the score", ""),
        ("score_high", "upper end of it", ""),
        (
            "criterion",
            "what learning rules are compared by: a claim, or cosine with the gradient",
            "",
        ),
        ("rank", "place of a learning signal by its unique part, from 1; NaN of others", ""),
        (
            "trained_by",
            "learning rule that the study trained the model by; empty of models that it did not",
            "",
        ),
        (
            "share",
            "what a signal explains beside another and all activations; `unit` says of what",
            "",
        ),
        (
            "above_null",
            "share of single estimates that exceed permuted images in 95 % of draws",
            "",
        ),
        ("quantity", "`unique`, or `beyond_control`: minus the control that leaves least", ""),
        ("variance", "unique variance, a share of the responses' variance", ""),
        (
            "part",
            "of the variance that a signal and all activations explain together: "
            "`only_activations`, `shared`, `only_signal`",
            "",
        ),
        ("margin", "share of the responses' variance that it must exceed", ""),
        ("peak_time_ms", "what a subject has of the latencies of averages, from onset", "ms"),
        ("own_peak_time_ms", "peak of the subject's own scores; NaN below chance", "ms"),
        ("temporal_r", "r of depth and peak time, of the subject", ""),
        ("r_low", "lower end of the interval of its mean", ""),
        ("r_high", "upper end of it", ""),
        ("threshold", "reliability below which no verdict is given", ""),
        ("hemisphere", "`left` or `right`", ""),
        ("vertex", "vertex of the surface", ""),
        ("sensor", "name of the sensor", ""),
        ("sensor_x", "flat position, left to right; layout's edge at 1", ""),
        ("sensor_y", "flat position, back to front", ""),
        ("alpha", "level at which q counts as a difference", ""),
        ("not_drawn", "contrasts of the data set that there is no room for", ""),
        ("note", "why the figure shows nothing", ""),
    )
)

# Image coordinates of stores.
_IMAGE_ID = Variable("image_id", ("image",), "identity of the image in its stimulus set")
_SIGNAL_COORDINATES = (
    Variable("signal", ("signal",), "entries of signals.yaml"),
    Variable("role", ("signal",), "what the claims take the signal for"),
    Variable("rule", ("signal",), "its credit-assignment rule"),
    Variable("objective", ("signal",), "its objective; empty where it has none"),
)
_TARGET_COORDINATES = tuple(
    Variable(name, ("target",), meaning, unit, optional=True)
    for name, meaning, unit in (
        ("roi", "region of the target; empty outside all", ""),
        ("hemisphere", "`left`, `right`, or empty", ""),
        ("x", "position, left to right (MNI where the space is)", "mm"),
        ("y", "position, back to front", "mm"),
        ("z", "position, bottom to top", "mm"),
        ("vertex", "vertex or voxel index; −1 where there is none", ""),
    )
)
_SENSOR_COORDINATES = (
    Variable("time", ("time",), "seconds from image onset", "s", optional=True),
    Variable("sensor", ("sensor",), "name of the sensor", optional=True),
    Variable("sensor_x", ("sensor",), "flat position, left to right; layout's edge at 1", "", True),
    Variable("sensor_y", ("sensor",), "flat position, back to front", "", True),
)

_HIERARCHY_DRAWS = (
    Variable("<dataset>/boot", ("row", "draw"), "statistic on resampled images"),
    Variable("<dataset>/null", ("row", "draw"), "statistic on permuted images"),
    Variable(
        "<dataset>/map",
        ("map_row", "layer", "unit"),
        "scores behind statistics at peaks; of the best layer of a region: how alike its null "
        "draws and those of each region are, at each layer; of the peak time of a layer: its null "
        "draws and those of each layer, over times (`all`); NaN where a subject lacks the unit",
    ),
    Variable(
        "<dataset>/expected",
        ("map_row", "kernel", "layer", "unit"),
        "what a map of unique variance becomes where all explainable variance is the signal's",
        optional=True,
    ),
    Variable("<dataset>/row", ("row",), "place of the row in the table, from 0"),
    Variable("<dataset>/subject", ("row",), "subject"),
    Variable("<dataset>/signal", ("row",), "signal, with its role, rule and objective"),
    Variable("<dataset>/variant", ("row",), "variant"),
    Variable("<dataset>/statistic", ("row",), "statistic"),
    Variable("<dataset>/layer_of_row", ("row",), "layer of statistics of one layer"),
    Variable("<dataset>/roi", ("row",), "region of statistics of one region"),
    Variable("<dataset>/best_layer", ("row",), "how best layers were found"),
    Variable("<dataset>/control", ("row",), "signal that it is held against"),
    Variable("<dataset>/map_of", ("map_row",), "row that the map is of"),
    Variable("<dataset>/layer", ("layer",), "modules of the network"),
    Variable("<dataset>/unit", ("unit",), "regions, or times as text"),
)

#: Names of coordinates that say where a target is: along regions, and along time.
TARGET_COORDINATES = tuple(variable.name for variable in _TARGET_COORDINATES)
SENSOR_COORDINATES = tuple(variable.name for variable in _SENSOR_COORDINATES)
#: Columns of text, of whatever table: a file without any text in one is read as if it held numbers.
TEXT = (
    *("study", "dataset", "subject", "modality", "axis", "model", "layer"),
    *("signal", "role", "rule", "objective", "measure", "variant", "statistic", "unit"),
    *("roi", "pole", "onset_source", "best_layer", "control", "coverage"),
    *("prediction", "inference", "verdict", "reason", "direction", "figure", "source", "sentence"),
    *("universe", "kind", "factor", "factor_label", "level", "level_label", "fit"),
    *("least_reliable", "stimuli", "signal_set", "first_verdict", "agreement"),
    *("other", "same_as", "learning_rule", "correction", "trained_by"),
    *("interval_note", "explainable_source", "models", "name", "label", "colour", "group"),
    *("control_of", "time_dataset", "time_modality"),
)
#: Group of a feature store that holds one array per signal: a signal may be called anything.
SIGNALS = "signals"
#: Column of the stimulus table where any image has a caption.
CAPTION = "caption"

_ALL = (
    Artefact(
        kind="stimuli",
        template="results/stimuli/{stimuli}.parquet",
        rule="prepare_stimuli",
        version=3,
        what="images of a stimulus set: identity, group, how to load each (rule `choose_images` "
        "where a study takes some of them)",
        columns=(
            Column("image_id", "identity of the image"),
            Column("group", "what folds must not split, e.g. the source photograph"),
            Column("label", "class index in the models' label space; missing where unknown"),
            Column("loader", "how the image is read"),
            Column("locator", "what the loader is given, e.g. a path"),
            Column("content_sha256", "digest of the decoded pixels"),
            Column(CAPTION, "what the image shows, in words", optional=True),
        ),
    ),
    Artefact(
        kind="folds",
        template="results/{study}/folds/{stimuli}.parquet",
        rule="assign_folds",
        version=1,
        what="outer folds of a study's own (`folds`); images without a row are left out",
        columns=(
            Column("image_id", "identity of the image"),
            Column("fold", "fold that holds it out, from 0; −1: trained on, never held out"),
            Column("name", "what the fold is called"),
        ),
    ),
    Artefact(
        kind="responses",
        template="results/{study}/responses/{subject}.zarr",
        rule="prepare_responses",
        version=3,
        what="responses of one subject, one row per distinct image",
        variables=(
            Variable("response", ("image", "target"), "mean over the repeats of an image"),
            Variable("response", ("image", "time", "sensor"), "the same along time"),
            Variable(
                "noise_ceiling",
                ("target",),
                "explainable share of variance; (time, sensor) along time",
                optional=True,
            ),
            _IMAGE_ID,
            Variable("group", ("image",), "what folds must not split"),
            Variable("n_repeats", ("image",), "presentations behind the row"),
            Variable("test_image", ("image",), "image of a test set of its own", optional=True),
            Variable(
                "fold",
                ("image",),
                "outer fold that holds the image out, of a study with folds of its own; −1: "
                "trained on, never held out",
                optional=True,
            ),
            *_TARGET_COORDINATES,
            *_SENSOR_COORDINATES,
        ),
    ),
    Artefact(
        kind="features",
        template="results/features/{model}/{layer}/{signal_set}/{stimuli}.zarr",
        rule="extract_features",
        version=3,
        what="activations and learning signals of one layer, shared by all studies; of image "
        "statistics (rule `image_statistics`) activations alone",
        variables=(
            Variable(f"{SIGNALS}/<signal>", ("image", "feature"), "the signal, pooled"),
            Variable("objective_value", ("image", "signal"), "NaN for signals without objective"),
            Variable("magnitude", ("image", "signal"), "length of the pooled signal"),
            Variable(
                "cosine_with_backprop",
                ("image", "signal"),
                "of the pooled signal with the backpropagated gradient of its objective in the "
                "same set; NaN for backpropagation itself and where there is none",
                optional=True,
            ),
            Variable(
                "residual",
                ("image", "signal"),
                "what is left of the problem that the rule of the signal solves step by step, "
                "relative to its start; NaN for other rules",
                optional=True,
            ),
            _IMAGE_ID,
            *_SIGNAL_COORDINATES,
        ),
    ),
    Artefact(
        kind="objective_targets",
        template="results/objective_targets/{model}/{signal_set}/{stimuli}.zarr",
        rule="compute_objective_targets",
        version=1,
        what="what objectives that look at views compare an image with, for jobs by layer",
        variables=(
            Variable(
                "<objective>/targets",
                ("image", "…"),
                "what it compares each image with; none where it needs the output alone",
                optional=True,
            ),
            Variable(
                "<objective>/targets_of_disturbed",
                ("disturbed_image", "…"),
                "the same of the first images, disturbed as rounding does; none in half precision",
                optional=True,
            ),
            Variable(
                "<objective>/state_<name>",
                ("…",),
                "what it fitted on calibration images",
                optional=True,
            ),
            _IMAGE_ID,
        ),
    ),
    Artefact(
        kind="trained_network",
        template="results/trained/{model}.zarr",
        rule="train_testbed",
        version=1,
        what="weights of an autoencoder that a learning rule trained, and those through which it "
        "sent errors back, by the names of the network's parameters",
        variables=(
            Variable("weights/<parameter>", ("…",), "weights after training"),
            Variable(
                "feedback/<parameter>",
                ("…",),
                "weights in the place of these on the way back; of rules that have others",
                optional=True,
            ),
        ),
    ),
    Artefact(
        kind="training",
        template="results/trained/{model}.parquet",
        rule="train_testbed",
        version=1,
        what="how an autoencoder learnt: at evenly spread steps the signal of its rule beside the "
        "backpropagated gradient, layer by layer, on photographs that it did not learn from",
        columns=(
            _MODEL,
            Column("learning_rule", "rule that trains the network"),
            Column("seed", "of first weights, feedback, order of images and noise"),
            Column("step", "batches learnt so far"),
            _LAYER,
            _DEPTH,
            Column(
                "correction",
                "of targets: `corrected` for what inverses miss, which trains, or `uncorrected`; "
                "empty for other rules",
            ),
            Column("angle", "of the signal with the gradient, mean over images", "°"),
            Column(
                "turn",
                "by which the signal turns where the same errors arrive at the activities of "
                "another image, mean over images; 0: a fixed matrix",
                "°",
            ),
            Column("weight_angle", "of forward and feedback weights; NaN where targets teach", "°"),
            Column(
                "inverse_r2",
                "of the layer by the one that leads back to it from above; NaN of the last layer",
            ),
            Column("loss", "half the mean square of what the network gives back minus the image"),
            Column("r2", "share of the images' variance that it gives back"),
        ),
    ),
    Artefact(
        kind="feedback",
        template="results/feedback/{model}/{signal}/{calibration}.zarr",
        rule="fit_feedback",
        version=1,
        what="model that a learning rule fitted on calibration images; its arrays are the rule's",
    ),
    Artefact(
        kind="baseline",
        template="results/{study}/baselines/{model}/{subject}.zarr",
        rule="reduce_activations",
        version=3,
        what="principal components of all layers' activations in every outer fold",
        variables=(
            Variable("component", ("split", "image", "component"), "zero where a split has fewer"),
            Variable("n_constant", ("split",), "features that are constant in training"),
            _IMAGE_ID,
        ),
    ),
    Artefact(
        kind="unique",
        template="results/{study}/unique/{model}/{subject}.zarr",
        rule="measure_unique",
        version=2,
        what="variance that each signal of each layer explains beside all activations, with null "
        "draws and what is known of brains that would hold it; shares of the responses' variance",
        variables=(
            Variable("component", ("layer", "signal", "unit"), "estimate; unbiased at zero"),
            Variable("null", ("draw", "layer", "signal", "unit"), "with permuted white responses"),
            Variable(
                "held",
                ("kernel", "layer", "signal", "unit"),
                "what the estimate becomes where all variance is the signal's; learning signals",
            ),
            Variable(
                "cross_variance",
                ("kernel", "layer", "signal", "unit"),
                "variance of the estimate where a share s is planted beside a share r of the rest, "
                "over 4 s r: of the products of both",
            ),
            Variable(
                "dose_variance",
                ("kernel", "layer", "signal", "unit"),
                "the same over s²: of what is planted alone, from how its weights are drawn",
            ),
            Variable("new_share", ("layer", "signal"), "of the signal, beside all activations"),
            Variable("explained", ("unit",), "by all activations and nuisance bands"),
            Variable("explainable", ("unit",), "mean noise ceiling; NaN where not known"),
            *_SIGNAL_COORDINATES,
            Variable("layer", ("layer",), "modules of the network"),
            Variable("depth", ("layer",), "their relative depths"),
            Variable("kernel", ("kernel",), "how weights of a planted share are drawn"),
            Variable("unit", ("unit",), "regions, or times as text"),
            Variable("unit_time", ("unit",), "along time: the time itself", "s", optional=True),
        ),
    ),
    Artefact(
        kind="rule_pairs",
        template="results/{study}/rule_pairs/{model}/{subject}.parquet",
        rule="measure_rule_pairs",
        version=2,
        what="variance that each signal of each layer explains beside all activations and another "
        "signal; of studies that name pairs (`encoding.rule_pairs`)",
        columns=(
            _STUDY,
            _DATASET,
            _SUBJECT,
            _MODALITY,
            _AXIS,
            _MODEL,
            _LAYER,
            _DEPTH,
            *_SIGNAL_IDENTITY,
            Column("other", "signal, of all layers, that it is held against beside activations"),
            _ROI,
            _TIME,
            Column("component", "estimate, a share of the responses' variance; unbiased at zero"),
            Column("null_high", "95 % quantile of the same with permuted white responses"),
            Column("explainable", "mean noise ceiling of the unit; NaN where not known"),
        ),
    ),
    Artefact(
        kind="encoding",
        template="results/{study}/encoding/{model}/{layer}/{subject}.zarr",
        rule="fit_encoding",
        version=4,
        what="encoding scores of one layer and subject per target, with draws per unit",
        variables=(
            Variable("score", ("score_row", "target"), "mean over outer folds"),
            Variable("unit_score", ("score_row", "unit"), "mean over the targets of the unit"),
            Variable("boot", ("draw", "score_row", "unit"), "scores on resampled images"),
            Variable("null", ("draw", "score_row", "unit"), "scores on permuted images"),
            Variable("penalty_log10", ("fit", "target"), "chosen penalty"),
            Variable("band_weight", ("fit", "target"), "weight of the first band"),
            Variable("effective_dof", ("fit", "target"), "effective degrees of freedom"),
            Variable(
                "masked_folds",
                ("target",),
                "outer folds in which the target does not vary and has no score; the mean is that "
                "of the others",
                optional=True,
            ),
            Variable("unit_band_weight", ("fit", "unit"), "mean weight of the first band"),
            Variable(
                "rdm_score",
                ("rdm_row", "unit"),
                "correlation of squared distances between images, predicted and measured: mean "
                "over outer folds; where `rsa.encoding` asks for it",
                optional=True,
            ),
            *(
                Variable(
                    f"rdm_{name}", ("draw", "rdm_row", "unit"), f"on {drawn} images", optional=True
                )
                for name, drawn in (("boot", "resampled"), ("null", "permuted"))
            ),
            *(
                Variable(f"rdm_{name}", ("rdm_row",), f"{name} of the row", optional=True)
                for name in ("signal", "role", "rule", "objective", "measure")
            ),
            Variable("signal", ("score_row",), "signal of the row"),
            Variable(
                "role",
                ("score_row",),
                "its role; `baseline`: all layers' activations, with nuisance bands; `nuisance`: "
                "one of these",
            ),
            Variable("rule", ("score_row",), "its credit-assignment rule"),
            Variable("objective", ("score_row",), "its objective"),
            Variable("measure", ("score_row",), "measure of the row"),
            Variable("row_fit", ("score_row",), "fit that the row is of: its place along `fit`"),
            Variable(
                "edge_share",
                ("score_row",),
                "share of the targets predicted above zero whose penalty lies on the edge of the "
                "grid, in the fits of the row's signal",
            ),
            Variable("fit", ("fit",), "bands of the fit, in words"),
            Variable("fit_band", ("fit", "place"), "signal of each of its bands", optional=True),
            Variable("fit_role", ("fit", "place"), "role of each of its bands", optional=True),
            Variable("unit", ("unit",), "regions, or times as text"),
            Variable("unit_time", ("unit",), "along time: the time itself", "s", optional=True),
            Variable("reliable", ("target",), "targets that are scored"),
            *_TARGET_COORDINATES,
        ),
    ),
    Artefact(
        kind="fit_scores",
        template="results/{study}/encoding/{model}/{layer}/{subject}.parquet",
        rule="fit_encoding",
        version=5,
        what="encoding scores of one layer and subject per region or time",
        columns=_SCORES,
    ),
    Artefact(
        kind="ceilings",
        template="results/{study}/ceilings/{dataset}.parquet",
        rule="compute_ceilings",
        version=4,
        what="how well the other subjects predict a subject",
        columns=(
            _STUDY,
            _DATASET,
            _SUBJECT,
            _MODALITY,
            _AXIS,
            _ROI,
            _ROI_RANK,
            _TIME,
            Column("measure", " or ".join(f"`{name}`" for name in INTERSUBJECT_MEASURES)),
            Column("value", "mean over the targets of the unit"),
            Column("n_targets", "targets that are predicted"),
            Column("n_other_subjects", "subjects whose responses predict"),
        ),
    ),
    Artefact(
        kind="reliability",
        template="results/{study}/reliability/{model}/{stimuli}.parquet",
        rule="measure_reliability",
        version=1,
        what="how well signals that depend on chance repeat themselves, per layer, over the images "
        "of a stimulus set",
        columns=(
            _STUDY,
            _MODEL,
            Column("signal_set", "entry of signal_sets"),
            Column("stimuli", "stimulus set"),
            _LAYER,
            _DEPTH,
            *_SIGNAL_IDENTITY,
            Column(
                "split_half",
                "centred cosine of two independent draws; NaN where the signal is the same for "
                "all images",
            ),
            Column("reliability", "the same of what is used, by Spearman–Brown"),
            Column(
                "unique_split_half",
                "as `split_half`, of what is left after regression on all layers' activations",
            ),
            Column("unique_reliability", "the same of what is used, by Spearman–Brown"),
            Column("n_images", "images that were drawn again"),
            Column("n_training_images", "images that each of two regressions learns from, mean"),
        ),
    ),
    Artefact(
        kind="alikeness",
        template="results/{study}/alikeness/{model}/{stimuli}.parquet",
        rule="compare_signals",
        version=1,
        what="how alike the signals of a network are, per layer, over the images of a stimulus "
        "set; of studies with learning signals of several rules",
        columns=(
            _STUDY,
            _MODEL,
            Column("stimuli", "stimulus set"),
            _LAYER,
            _DEPTH,
            *_SIGNAL_IDENTITY,
            Column("other", "signal that it is compared with"),
            Column("cosine", "of both, pooled, mean over images"),
            Column(
                "same_as",
                "gradient that the signal counts as: their cosine is above .9 at every layer; "
                "empty where there is none",
            ),
        ),
    ),
    Artefact(
        kind="scores",
        template="results/{study}/scores/{model}.parquet",
        rule="collect_scores",
        version=6,
        what="scores of all layers and subjects of a model, with ceilings and reliabilities beside",
        columns=(
            *_SCORES,
            Column("intersubject_r", "r between subjects at the same unit; NaN where unknown"),
            Column("intersubject_r2", "R² between subjects at the same unit; NaN where unknown"),
            Column(
                "reliability",
                "split-half reliability of the signal over its Monte-Carlo randomness, for the "
                "images of the subject; NaN where it has none",
            ),
            Column(
                "unique_reliability",
                "the same of what is left of it after regression on all layers' activations",
            ),
        ),
    ),
    Artefact(
        kind="maps",
        template="results/{study}/maps/{model}.zarr",
        rule="collect_maps",
        version=3,
        what="scores and best layers per target, averaged over subjects: a group per data set",
        variables=(
            Variable(
                "<dataset>/score",
                ("layer", "signal", "measure", "target"),
                "mean score; (time, sensor) in the place of target along time",
            ),
            Variable(
                "<dataset>/best_layer",
                ("signal", "measure", "target"),
                "depth of the best layer; (time, sensor) in the place of target along time",
            ),
            Variable(
                "<dataset>/n_subjects",
                ("target",),
                "subjects who have the target; (time, sensor) along time",
            ),
            Variable("layer", ("layer",), "modules of the network"),
            Variable("depth", ("layer",), "relative depth"),
            Variable("<dataset>/signal", ("signal",), "signals, with their role, rule, objective"),
            Variable("<dataset>/measure", ("measure",), "measures"),
            Variable(
                "<dataset>/subject",
                ("target",),
                "whose the target or sensor is, where subjects do not share them",
                optional=True,
            ),
        ),
    ),
    Artefact(
        kind="rsa",
        template="results/{study}/rsa/{model}/{subject}.parquet",
        rule="compute_rsa",
        version=3,
        what="representational similarity per layer, signal and region or time",
        columns=(
            _STUDY,
            _DATASET,
            _SUBJECT,
            _MODALITY,
            _MODEL,
            _LAYER,
            _DEPTH,
            _LAYER_INDEX,
            *_SIGNAL_IDENTITY,
            _AXIS,
            _ROI,
            _ROI_RANK,
            _TIME,
            _ONSET,
            Column("rho", "Spearman correlation of the two dissimilarity matrices"),
            Column("null_high", "95th percentile over permutations of images"),
            Column("p", "of the permutation test, one-sided"),
            Column("n_images", "images compared"),
        ),
    ),
    Artefact(
        kind="fusion",
        template="results/{study}/fusion/{model}.parquet",
        rule="fuse_space_and_time",
        version=1,
        what="dissimilarities of regions and of times, of the same images, joined through every "
        "layer and signal",
        columns=(
            _STUDY,
            Column("level", "`concepts`: averages over the images of a group; `test_images`"),
            Column("dataset", "data set along regions"),
            Column("modality", "its modality"),
            Column("time_dataset", "data set along time"),
            Column("time_modality", "its modality"),
            _ONSET,
            Column("n_items", "groups of images, or test images, that are compared"),
            Column("n_images", "images behind them"),
            Column("n_subjects", "people of the data set along regions"),
            Column("n_time_subjects", "people of the data set along time"),
            _MODEL,
            _LAYER,
            _DEPTH,
            _LAYER_INDEX,
            *_SIGNAL_IDENTITY,
            _ROI,
            _ROI_RANK,
            _TIME,
            Column("rho", "Spearman correlation of region and time; the same for all layers"),
            Column("rho_null_high", "95th percentile over permutations of what is compared"),
            Column("p", "of the permutation test of `rho`, one-sided"),
            Column("ceiling", "largest `rho` that the people's reliability allows; NaN of one"),
            Column(
                "common", "variance of the ranks at the time that region and layer both explain"
            ),
            Column("common_null_high", "95th percentile of it over the same permutations"),
        ),
    ),
    Artefact(
        kind="rdm_ceilings",
        template="results/{study}/rdm_ceilings/{dataset}.parquet",
        rule="compute_rdm_ceilings",
        version=1,
        what="how alike the dissimilarities of subjects who saw the same images are",
        columns=(
            _STUDY,
            _DATASET,
            _SUBJECT,
            _MODALITY,
            _AXIS,
            _ROI,
            _ROI_RANK,
            _TIME,
            Column("ceiling_low", "r with the mean of the other subjects' dissimilarities"),
            Column("ceiling_high", "r with the mean of all subjects' dissimilarities"),
            Column("n_other_subjects", "subjects in that mean"),
        ),
    ),
    Artefact(
        kind="prediction_rsa",
        template="results/{study}/prediction_rsa/{model}.parquet",
        rule="score_rdms",
        version=1,
        what="how well dissimilarities of held-out predictions are those of responses, per layer, "
        "signal and region or time",
        columns=(
            *(column for column in _SCORES if column.name in _PREDICTION_RSA),
            Column(
                "ceiling_low", "lower bound of the noise ceiling, between subjects; NaN if none"
            ),
            Column("ceiling_high", "upper bound of it"),
        ),
    ),
    Artefact(
        kind="rdm_hierarchy",
        template="results/{study}/rdm_hierarchy/{model}.parquet",
        rule="score_rdms",
        version=2,
        what="statistics of each subject by dissimilarities of held-out predictions, as in "
        "`hierarchy`",
        columns=_HIERARCHY,
    ),
    Artefact(
        kind="rdm_hierarchy_draws",
        template="results/{study}/rdm_hierarchy/{model}.zarr",
        rule="score_rdms",
        version=2,
        what="draws and maps behind them, as in `hierarchy_draws`",
        variables=_HIERARCHY_DRAWS,
    ),
    Artefact(
        kind="second_opinions",
        template="results/{study}/second_opinions.csv",
        rule="test_second_opinions",
        version=2,
        what="every claim as dissimilarities of held-out predictions see it; changes no verdict",
        columns=_SECOND_OPINIONS,
    ),
    Artefact(
        kind="second_page",
        template="results/{study}/second_opinions.md",
        rule="test_second_opinions",
        version=2,
        what="the same as a page for readers",
    ),
    Artefact(
        kind="hierarchy",
        template="results/{study}/hierarchy/{model}.parquet",
        rule="score_hierarchy",
        version=8,
        what="statistics of each subject: where and when layers show up",
        columns=_HIERARCHY,
    ),
    Artefact(
        kind="hierarchy_draws",
        template="results/{study}/hierarchy/{model}.zarr",
        rule="score_hierarchy",
        version=8,
        what="draws and maps behind the statistics, a group per data set; rows are those of the "
        "table, in its order",
        variables=_HIERARCHY_DRAWS,
    ),
    Artefact(
        kind="time_courses",
        template="results/{study}/time_courses/{model}.parquet",
        rule="score_hierarchy",
        version=2,
        what="times at which each layer is above chance; empty without data along time",
        columns=_TIME_COURSES,
    ),
    Artefact(
        kind="claims",
        template="results/{study}/claims.csv",
        rule="test_claims",
        version=7,
        what="every prediction with estimate, interval, tests and verdict",
        columns=_CLAIMS,
    ),
    Artefact(
        kind="claims_over_models",
        template="results/{study}/claims_over_models.csv",
        rule="test_claims",
        version=1,
        what="the predictions over all trained models; empty of fewer than three",
        columns=_CLAIMS_OVER_MODELS,
    ),
    Artefact(
        kind="claims_page",
        template="results/{study}/claims.md",
        rule="test_claims",
        version=7,
        what="the claims as a page for readers",
    ),
    Artefact(
        kind="model_factors",
        template="results/{study}/model_factors.csv",
        rule="compare_models",
        version=1,
        what="what sets the models of a study apart; of studies with models that differ in one "
        "factor",
        columns=_MODEL_FACTORS,
    ),
    Artefact(
        kind="model_pairs",
        template="results/{study}/model_pairs.csv",
        rule="compare_models",
        version=1,
        what="models that are compared with each other, since they differ in one factor",
        columns=_MODEL_PAIRS,
    ),
    Artefact(
        kind="model_contrasts",
        template="results/{study}/model_contrasts.csv",
        rule="compare_models",
        version=2,
        what="differences between models that differ in one factor, tested over subjects",
        columns=_MODEL_CONTRASTS,
    ),
    Artefact(
        kind="universe_hierarchy",
        template="results/{study}/multiverse/fits/{fit}/{dataset}/{model}.parquet",
        rule="fit_universe",
        version=4,
        what="statistics of each subject under other choices, as in `hierarchy`; {fit} is a digest "
        "of the choices that fits follow from",
        columns=_HIERARCHY,
    ),
    Artefact(
        kind="universe_hierarchy_draws",
        template="results/{study}/multiverse/fits/{fit}/{dataset}/{model}.zarr",
        rule="fit_universe",
        version=4,
        what="draws and maps behind them, as in `hierarchy_draws`",
        variables=_HIERARCHY_DRAWS,
    ),
    Artefact(
        kind="universe_scores",
        template="results/{study}/multiverse/scores/{fit}/{dataset}/{model}.parquet",
        rule="fit_universe",
        version=2,
        what="encoding scores of all layers and subjects of these fits",
        columns=_SCORES,
    ),
    Artefact(
        kind="universe_claims",
        template="results/{study}/multiverse/claims/{universe}.csv",
        rule="test_universe",
        version=3,
        what="claims of one universe, as in `claims`",
        columns=_CLAIMS,
    ),
    Artefact(
        kind="universe_page",
        template="results/{study}/multiverse/claims/{universe}.md",
        rule="test_universe",
        version=3,
        what="the same as a page for readers",
    ),
    Artefact(
        kind="universes",
        template="results/{study}/multiverse/universes.csv",
        rule="collect_universes",
        version=1,
        what="choices of every universe, one row per factor",
        columns=(
            _UNIVERSE,
            Column("kind", "`base` (the study as it is), `one_at_a_time` or `combination`"),
            Column("factor", "choice that is varied"),
            Column("factor_label", "its name for readers"),
            Column("factor_order", "its place in the config, from 0"),
            Column("level", "how the universe makes it"),
            Column("level_label", "name of that for readers"),
            Column("level_order", "its place among the levels, from 0; 0: as the study does"),
            Column("fit", "digest of the choices that fits follow from"),
            Column("signal_set", "signal set of its features"),
        ),
    ),
    Artefact(
        kind="specification_curve",
        template="results/{study}/multiverse/claims.csv",
        rule="collect_universes",
        version=1,
        what="claims of all universes",
        columns=(_UNIVERSE, *_CLAIMS),
    ),
    Artefact(
        kind="config",
        template="results/{study}/config.yaml",
        rule="write_config",
        version=3,
        what="settings of the study, defaults included",
    ),
    Artefact(
        kind="entries",
        template="results/{study}/entries.csv",
        rule="write_entries",
        version=1,
        what="registry entries that the study names, as readers see them; read by figures alone",
        columns=(
            Column("kind", "`model`, `signal`, `dataset` or `modality`"),
            Column("name", "key of the entry"),
            Column("order", "place in figures, from 0 within the kind"),
            Column("label", "name for readers; empty: the key, spaced"),
            Column("colour", "of the entry; empty: taken from the palette by order"),
            Column("group", "of models: `trained` or `untrained`; of data sets: the axis"),
            Column("role", "of signals"),
            Column("rule", "of signals"),
            Column("objective", "of signals"),
            Column(
                "control_of",
                "of controls: a signal that it controls; a control of several has a row for each",
            ),
        ),
    ),
    Artefact(
        kind="figure",
        template="results/{study}/figures/{figure}.{ending}",
        rule="plot_figure",
        version=4,
        what="a figure (pdf, png) and the numbers behind it (csv): columns of the tables that it "
        "is drawn from, and of these",
        columns=_FIGURE,
    ),
    Artefact(
        kind="report",
        template="results/{study}/report.html",
        rule="write_report",
        version=4,
        what="all of a study on one page",
    ),
)

ARTEFACTS: Mapping[str, Artefact] = {item.kind: item for item in _ALL}


def artefact(kind: str) -> Artefact:
    """Declaration of a kind of result.

    Raises
    ------
    KeyError
        There is no such kind.
    """
    return ARTEFACTS[kind]


def columns_of(kind: str) -> tuple[str, ...]:
    """Names of the columns of a table, in order; see :attr:`Artefact.column_names`."""
    return ARTEFACTS[kind].column_names
