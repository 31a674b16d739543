"""Typed, strict settings: what a study, a registry entry and a stage's options may say.

Every class refuses unknown keys. The JSON schema under ``workflow/schemas`` is generated from
these classes by ``scripts/write_schema.py`` and a test keeps both in step.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gradbrain.vocabulary.image_statistics import ALL_LEVELS, ARCHITECTURE
from gradbrain.vocabulary.roles import ACTIVATION, CONTROL, LEARNING, Axis, Role

# What grids of image statistics and the octaves of their pyramid fit into.
STATISTICS_EDGE, SMALLEST_STATISTICS_EDGE = 32, 64
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
# Names become names of files with endings, of which file systems take 255 bytes.
MAX_NAME = 100
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME)]


class StrictModel(BaseModel):
    """A frozen pydantic model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- registries ------------------------------------------------------------------------------


class TextTower(StrictModel):
    """The text half of a model that was trained on images and their captions."""

    repository: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
        description="Hub repository; the folder data/weights/<its last part>/ goes first.",
    )
    revision: str | None = Field(None, description="Pinned revision of the hub repository.")
    kind: Literal["clip", "siglip"] = Field(
        description="Which of the two the checkpoint is of; `siglip` stands for SigLIP 2."
    )

    @property
    def folder(self) -> str:
        """Folder of its files below ``data/``."""
        return f"weights/{self.repository.partition('/')[2]}"


class Weights(BaseModel):
    """Where the weights of a model come from; all keys but `source` are options of the source."""

    # The source is a plug-in, which validates its options strictly before any job.
    model_config = ConfigDict(extra="allow", frozen=True)

    source: Name = Field(
        description="`random`, `file`, `hub`, `package`, `testbed` (trained by the study), `none` "
        "(image statistics), or a plug-in of your own."
    )

    @property
    def options(self) -> dict[str, Any]:
        """Options of the source."""
        return dict(self.model_extra or {})


class ModelFactors(StrictModel):
    """What sets a model apart from others: what controlled comparisons hold equal or vary.

    Empty where unknown or not applicable: such a model takes no part in contrasts of that factor.
    """

    family: str = Field("", description="Kind of architecture, e.g. vision_transformer, resnet.")
    objective: str = Field(
        "", description="What its weights were trained for, e.g. supervised, dinov2, contrastive."
    )
    diet: str = Field("", description="Images that it was trained on, e.g. in1k, laion2b.")
    fine_tuned_on: str = Field("", description="Images of a later, supervised training, if any.")
    learning_rule: str = Field(
        "", description="Rule that its weights were learnt by, where it is not backpropagation."
    )
    recipe: str = Field("", description="Variant of the training that is none of these.")
    step: int | None = Field(
        None, ge=0, description="Step of the training at which the weights were kept."
    )
    parameters: float | None = Field(None, gt=0, description="Parameters, in millions.")
    year: int | None = Field(None, ge=1943, description="Year in which it was described.")


class ModelEntry(StrictModel):
    """One entry of ``config/models.yaml``: a network, its weights and how images enter it.

    Or, with ``source: statistics``, low-level statistics of images in the place of a network.
    """

    name: Name = Field(description="Its key in the registry.")
    architecture: str = Field(description="Name of the architecture in its source.")
    source: Literal["timm", "transformers", "autoencoder", "statistics"] = Field(
        "timm",
        description="Package that has the architecture; transformers is optional. `autoencoder`: "
        "one of this project's, which gives images back. `statistics`: no network, low-level "
        "statistics of the images.",
    )
    kwargs: dict[str, Any] = Field({}, description="Passed on to timm.create_model.")
    weights: Weights = Field(
        description="Where its weights come from, e.g. {source: random, seed: 0}."
    )
    mean: tuple[float, float, float] = Field(
        (0.485, 0.456, 0.406), description="RGB mean, in [0, 1]."
    )
    std: tuple[float, float, float] = Field(
        (0.229, 0.224, 0.225), description="RGB standard deviation, in [0, 1]."
    )
    input_size: int = Field(224, ge=16, description="Edge of the square input in pixels.")
    crop_pct: float = Field(1.0, gt=0, le=1, description="Share of the image kept by the crop.")
    interpolation: Literal["bicubic", "bilinear"] = Field(
        "bicubic", description="How images are resized to the input size."
    )
    text_tower: TextTower | None = Field(
        None, description="Text half of the model; the objective image_text needs it."
    )
    default_objective: str = Field("dino", description="Objective used where none is named.")
    label: str = Field("", description="Name for readers; its key, spaced, where left out.")
    colour: str | None = Field(None, description="Colour in figures, e.g. `#0B7A75`.")
    licence: str = Field("", description="Licence of the weights.")
    citation: str = Field("", description="What to cite.")
    factors: ModelFactors = Field(
        ModelFactors(), description="What sets it apart from other models, for comparisons."
    )
    sibling: Name | None = Field(
        None, description="Smaller entry of the same family, untrained; tests run it in its place."
    )

    @property
    def is_network(self) -> bool:
        """Whether there is a network, which has learning signals and weights."""
        return self.source != "statistics"

    @property
    def has_decoder(self) -> bool:
        """Whether the network gives images back, each of its layers undone by another."""
        return self.source == "autoencoder"

    @model_validator(mode="after")
    def _statistics_are_no_network(self) -> ModelEntry:
        if self.is_network:
            if self.weights.source == "none":
                raise ValueError(
                    "weights: a network has some, found source: none; e.g. {source: random, "
                    "seed: 0}"
                )
            return self
        if (self.architecture, self.weights.source) != (ARCHITECTURE, "none"):
            raise ValueError(
                f"source: statistics goes with architecture: {ARCHITECTURE} and weights: {{source: "
                f"none}}, found {self.architecture} and {self.weights.source}"
            )
        if self.kwargs or self.text_tower is not None:
            raise ValueError("kwargs, text_tower: are of networks; leave them out")
        if self.input_size % STATISTICS_EDGE or self.input_size < SMALLEST_STATISTICS_EDGE:
            raise ValueError(
                f"input_size: image statistics take a multiple of {STATISTICS_EDGE}, "
                f"{SMALLEST_STATISTICS_EDGE} or more, found {self.input_size}"
            )
        return self

    @model_validator(mode="after")
    def _images_and_text_share_a_space(self) -> ModelEntry:
        if self.source == "transformers" and self.text_tower is not None:
            raise ValueError(
                "text_tower: the features of OWL-ViT's image tower lie in no space that it shares "
                "with text; leave the key out"
            )
        return self


class Cotangents(StrictModel):
    """A family of learning signals, by what is sent back and how; an empty list leaves it open."""

    rule: tuple[str, ...] = Field((), description="Rules that send the cotangent back.")
    objective: tuple[str, ...] = Field((), description="Objectives whose cotangent it is.")

    @model_validator(mode="after")
    def _says_something(self) -> Cotangents:
        if not (self.rule or self.objective):
            raise ValueError("rule, objective: give one or both, e.g. {rule: [backprop]}")
        return self


#: Per-image scaling of learning signals and controls.
Normalise = Literal["unit", "unit_and_magnitude", "none"]

# What no signal may be called: the index of a feature store, which its group inherits, and the file
# of that group.
STORE_NAMES = frozenset({"signal", "zarr.json"})


class SignalEntry(StrictModel):
    """One entry of ``signals`` in ``config/signals.yaml``: a feature space of a layer."""

    name: Name = Field(description="Its key in the registry; nothing is read off it.")
    role: Role = Field(description="What the claims take it for.")
    rule: str = Field(description="Credit-assignment rule, a plug-in.")
    rule_options: dict[str, Any] = Field({}, description="Options of the rule.")
    objective: str | None = Field(
        None, description="Objective, a plug-in; none for rules that read none."
    )
    options: dict[str, Any] = Field({}, description="Options of the objective.")
    control_of: Cotangents | tuple[Name, ...] = Field(
        (),
        description="Of a control: the learning signals that it controls, by name, or all of a "
        "family of cotangents.",
    )
    normalise: Normalise | None = Field(
        None,
        description="Per-image scaling of this signal, where it is not that of the signal set: "
        "`none` for rules that say something by the length of their signal.",
    )
    label: str = Field("", description="Name for readers; its key, spaced, where left out.")
    colour: str | None = Field(None, description="Colour in figures, e.g. `#0B7A75`.")

    @field_validator("name")
    @classmethod
    def _is_no_name_of_stores(cls, name: str) -> str:
        if name in STORE_NAMES:
            raise ValueError(
                f"{name!r} is what stores call something of their own; give the signal another name"
            )
        return name

    @model_validator(mode="after")
    def _only_controls_control(self) -> SignalEntry:
        if self.control_of and self.role != CONTROL:
            raise ValueError(f"control_of: is of `role: control`, found role: {self.role}")
        return self

    def controls(self, signal: SignalEntry) -> bool:
        """Whether this signal is a control of a learning signal."""
        if self.role != CONTROL or signal.role != LEARNING:
            return False
        family = self.control_of
        if not isinstance(family, Cotangents):
            return signal.name in family
        return (not family.rule or signal.rule in family.rule) and (
            not family.objective or signal.objective in family.objective
        )


#: What a layer gives for one image: a class token before patches, patches alone (registers aside),
#: a map of positions, one vector, or something else, which cannot be pooled.
LayerLayout = Literal["class_and_patches", "patches", "map", "vector", "other"]


#: Whether the kernels of a network are its parameters, or computed from them in each pass.
WeightsKind = Literal["plain", "computed"]


class Pooling(StrictModel):
    """How tokens or spatial maps become one row of features per image."""

    kind: Literal["cls", "mean", "cls_mean", "grid"] = Field(
        "mean", description="Class token, mean over patches, both, or a grid of means."
    )
    size: int = Field(1, ge=1, description="Edge g of the g x g grid.")

    def accepts(self, layout: LayerLayout) -> bool:
        """Whether a layer with this layout can be pooled so."""
        if self.kind in ("cls", "cls_mean"):
            return layout == "class_and_patches"
        return layout != "other"


class Projection(StrictModel):
    """Seeded sparse random projection (Li, Hastie & Church 2006)."""

    n_components: int = Field(ge=1, description="Features kept.")
    seed: int = Field(0, description="Seed of the projection matrix.")


class SignalSet(StrictModel):
    """One entry of ``signal_sets``: the signals that one extraction job takes."""

    name: Name = Field(description="Its key in the registry.")
    signals: tuple[SignalEntry, ...] = Field(
        min_length=1, description="Names of signals; one of them has `role: activation`."
    )
    pooling: Pooling = Field(Pooling(), description="The same for activations and signals.")
    projection: Projection | None = Field(None, description="After pooling, if given.")
    normalise: Normalise = Field(
        "unit",
        description="Per-image scaling of learning signals and controls: to unit length; the same "
        "with the logarithm of the length beside it as a feature; or none.",
    )
    calibration: str = Field(
        "calibration", description="Stimulus set that whatever must be fitted is fitted on."
    )
    seed: int = Field(0, description="Seed of views, cotangents and banks.")

    @property
    def activation(self) -> str:
        """Name of its activation."""
        return next(signal.name for signal in self.signals if signal.role == ACTIVATION)

    def of_activation(self) -> SignalSet:
        """The set as what is no network takes it: its activation, nothing pooled or fitted."""
        kept = tuple(signal for signal in self.signals if signal.role == ACTIVATION)
        return SignalSet(name=self.name, signals=kept)

    def controls_of(self, name: str) -> tuple[str, ...]:
        """Names of the controls of a learning signal, in the order of the set."""
        signal = next(signal for signal in self.signals if signal.name == name)
        return tuple(control.name for control in self.signals if control.controls(signal))

    def normalise_of(self, signal: SignalEntry) -> Normalise:
        """How a signal is scaled in this set."""
        return signal.normalise or self.normalise

    def without_words(self) -> dict[str, Any]:
        """What its values follow from, as JSON: without labels, colours and who controls whom."""
        said = {"label", "colour", "control_of"}
        return self.model_dump(mode="json", exclude={"signals": {"__all__": said}})


class FetchFile(StrictModel):
    """A public file: its path below ``base_url`` and its checksum."""

    url: str = Field(description="Path below base_url.")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="Checksum.")


class FetchBucket(StrictModel):
    """Files of a public S3 bucket, listed when they are asked for."""

    url: str = Field(
        description="Address of the bucket, e.g. https://s3.amazonaws.com/openneuro.org."
    )
    prefix: str = Field("", description="Folder in the bucket that becomes data/<name>.")
    patterns: tuple[str, ...] = Field(
        min_length=1, description="Which files below prefix, e.g. derivatives/preprocessed/*.fif."
    )


class FetchSpec(StrictModel):
    """Where a data set is from: public files at a pinned revision, a public bucket, or by hand."""

    base_url: str = Field("", description="Address that the paths of files start from.")
    files: dict[str, FetchFile] = Field({}, description="Path below data/<name> -> file.")
    bucket: FetchBucket | None = Field(None, description="Public S3 bucket of the files.")
    when_missing: bool = Field(
        False,
        description="Whether a run fetches the files by itself where data/<name> is missing; "
        "else scripts/fetch_dataset.py does when called.",
    )
    instructions: str = Field(
        "", description="How to get what cannot be fetched: agreement, command, place."
    )

    @model_validator(mode="after")
    def _says_something(self) -> FetchSpec:
        if bool(self.files) != bool(self.base_url):
            raise ValueError("base_url, files: give both or none")
        if not (self.files or self.bucket or self.instructions):
            raise ValueError("give files with base_url, bucket, or instructions")
        if self.when_missing and self.bucket:
            raise ValueError("when_missing: only pinned files are fetched without being asked for")
        return self

    @property
    def is_fetchable(self) -> bool:
        """Whether there is anything that can be fetched."""
        return bool(self.files or self.bucket)


class ExpectedSize(StrictModel):
    """Size of the responses of one subject, the largest where they differ."""

    n_images: int = Field(ge=1, description="Distinct images.")
    n_targets: int = Field(ge=1, description="Voxels, vertices, or sensors x times.")
    n_units: int = Field(1, ge=1, description="Regions or times.")
    test_images: bool = Field(
        False, description="Whether images are set apart, which are one more split to fit."
    )


class Modality(StrictModel):
    """One entry of ``config/modalities.yaml``: a kind of measurement."""

    name: Name = Field(description="Its key in the registry.")
    axis: Axis = Field(
        description="What scores are laid out along: `roi`, regions of cortex; `time`, times after "
        "image onset, over sensors."
    )
    unit: str = Field("", description="Unit of its responses, where the data set says no other.")
    label: str = Field("", description="Name for readers; its key where left out.")
    sensors: str = Field(
        "sensors", description="What one place of measurement is called, in the plural."
    )


class DatasetEntry(StrictModel):
    """One entry of ``config/datasets.yaml``: responses of subjects to images."""

    name: Name = Field(description="Its key in the registry.")
    adapter: Name = Field(description="Module of gradbrain.datasets that reads the data set.")
    modality: Modality | None = Field(
        description="Entry of modalities.yaml; `none` for sets that hold images only."
    )
    subjects: tuple[Name, ...] = Field((), description="Full names, unique over data sets.")
    stimuli: Name | None = Field(
        None, description="Stimulus set shared by all subjects; none: one set per subject."
    )
    options: dict[str, Any] = Field({}, description="Options of the adapter.")
    label: str = Field("", description="Name for readers; its key, spaced, where left out.")
    licence: str = Field("", description="Licence of the data.")
    citation: str = Field("", description="What to cite.")
    fetch: FetchSpec | None = Field(None, description="Where the data set comes from.")
    expected: ExpectedSize | None = Field(
        None,
        description="Size of one subject, for estimates of a study's cost alone.",
    )

    @model_validator(mode="after")
    def _somebody_saw_the_images(self) -> DatasetEntry:
        if self.modality is not None and not self.subjects:
            raise ValueError("subjects: name at least one; only `modality: none` has no subjects")
        return self

    @property
    def axis(self) -> Axis | None:
        """What scores of its responses are laid out along; None where it holds images only."""
        return None if self.modality is None else self.modality.axis

    @property
    def modality_name(self) -> str:
        """Name of its modality; ``"none"`` where it holds images only."""
        return "none" if self.modality is None else self.modality.name

    @property
    def arrives_by_itself(self) -> bool:
        """Whether a run fetches the data set where its folder is missing."""
        return self.fetch is not None and self.fetch.when_missing

    def stimuli_of(self, subject: str) -> str:
        """Name of the stimulus set that a subject saw."""
        return self.stimuli if self.stimuli is not None else subject


# --- settings of the stages ------------------------------------------------------------------


Precision = Literal["fp32", "tf32", "bf16", "fp16", "fp32_views_bf16", "tf32_views_bf16"]
#: End of the name of a precision in which augmented views pass in bf16.
VIEWS_BF16 = "_views_bf16"


def precision_of_passes(precision: str) -> str:
    """Number format of all passes but those of augmented views."""
    return precision.removesuffix(VIEWS_BF16)


class FeatureSettings(StrictModel):
    """Section ``features`` of a study: which signals, and how they are extracted."""

    signal_set: Name = Field(description="Entry of signal_sets in signals.yaml.")
    unit: Literal["layer", "model"] = Field(
        "layer", description="One extraction job per layer, or one for all layers of a model."
    )
    batch_size: int = Field(32, ge=1, description="Images per batch; results do not depend on it.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes a GPU where there is one."
    )
    precision: Precision = Field(
        "fp32",
        description="Number format of the network's passes; with `_views_bf16` behind it, of all "
        "but those of augmented views and masked copies, which run in bf16: for GPUs, and for "
        "processors that compute in it.",
    )
    threads: int = Field(
        2,
        ge=1,
        description="Processor threads of a job of extraction. Two small networks side by side, of "
        "one thread each, take less time than one after the other with two.",
    )


# Settings of the section encoding that no result depends on: how jobs are cut, and where they run.
RESOURCE_SETTINGS = ("unit", "device")
# Settings of the section encoding that fits do not depend on.
OTHER_THAN_FITS = (*RESOURCE_SETTINGS, "rule_pairs")
# Settings of the section encoding that the reduction of all layers' activations depends on.
BASELINE_SETTINGS = ("baseline_components", "n_folds", "seed", "dtype")
# Settings of the section encoding that the unique part of signals depends on.
UNIQUE_SETTINGS = ("unique_images", "n_draws", "seed", "min_noise_ceiling", "nuisance")
# Settings of the section encoding that the unique part beside another signal depends on.
RULE_PAIR_SETTINGS = (*UNIQUE_SETTINGS, "rule_pairs")
# Settings of the section encoding that the ceiling between subjects depends on.
CEILING_SETTINGS = ("n_folds", "seed", "min_noise_ceiling")


class NuisanceBand(StrictModel):
    """A feature space that stands beside all layers' activations in every baseline."""

    name: Name = Field(description="Its name in tables.")
    model: Name = Field(description="Entry of models.yaml.")
    layer: str = Field(
        ALL_LEVELS,
        description="Layer of that model; of image statistics `all` is all levels side by side.",
    )
    signal_set: Name | None = Field(
        None, description="Entry of signal_sets; that of the study where left out."
    )
    signal: Name | None = Field(
        None, description="Signal of that set; its activation where left out."
    )


class EncodingSettings(StrictModel):
    """Section ``encoding``: the nested cross-validated banded ridge regression."""

    unit: Literal["layer", "model"] = Field(
        "layer",
        description="One job of fits per layer, or one for all layers of a model, which starts "
        "once and shares decompositions; results are the same.",
    )
    variance_partitioning: bool = Field(
        True,
        description="Whether signals are also fitted together with their layer's activation and "
        "with those of all layers: what both explain and what signals add, in held-out R². No claim"
        " reads these fits, which are most of the cost (docs/scaling.md).",
    )
    n_folds: int = Field(5, ge=2, description="Outer folds; groups of images are never split.")
    log10_penalty_min: float = Field(0.0, ge=-12, le=15, description="Smallest penalty.")
    log10_penalty_max: float = Field(8.0, ge=-12, le=15, description="Largest penalty.")
    n_penalties: int = Field(10, ge=1, description="Penalties, log-spaced between the two ends.")
    n_band_weights: int = Field(11, ge=2, description="Points on the line between two bands.")
    nuisance: tuple[NuisanceBand, ...] = Field(
        (),
        description="Further bands beside all layers' activations, which signals must exceed, e.g. "
        "`[{name: image_statistics, model: image_statistics}]`.",
    )
    n_simplex_draws: int = Field(
        50, ge=1, description="Random points on the simplex of three or more band weights."
    )
    selection: Literal["auto", "gcv", "loo", "kfold"] = Field(
        "auto",
        description="How penalty and band weight are chosen inside the training folds. `auto`: "
        "`gcv`, but grouped `kfold` where images come in groups, which the others do not know.",
    )
    n_inner_folds: int = Field(
        5,
        ge=2,
        description="Grouped inner folds of `kfold` and himalaya; under `auto` no more than "
        "there are groups.",
    )
    solver: Literal["closed_form", "himalaya"] = Field(
        "closed_form", description="`himalaya` is the reference implementation, and slower."
    )
    backend: Literal["numpy", "torch"] = Field(
        "numpy", description="What runs the closed form; results are the same up to rounding."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Of torch; `auto` takes a GPU where there is one."
    )
    penalty_scope: Literal["target", "roi"] = Field(
        "target", description="`roi`: one penalty and band weight for all targets of a region."
    )
    n_draws: int = Field(
        200,
        ge=1,
        description="Bootstrap and permutation draws kept per score; of fewer than 19 no layer or "
        "region is above chance.",
    )
    seed: int = Field(0, ge=0, description="Seed of folds and draws.")
    unique_images: int = Field(
        1000,
        ge=10,
        description="Images at most that the unique part of signals is estimated from together; "
        "more are split into blocks. Time grows as its square, precision as its root.",
    )
    rule_pairs: tuple[Name, ...] = Field(
        (),
        description="Signals of which every one is held against every other: what each explains "
        "beside all activations and that other one. None: no pair is.",
    )
    baseline_components: int | None = Field(
        None,
        ge=1,
        description="Principal components kept of all layers' activations, taken once per model "
        "and subject; none: all features. Set it where they outnumber images by far.",
    )
    target_batch: int = Field(20000, ge=1, description="Targets solved at once; bounds memory.")
    min_noise_ceiling: float | None = Field(
        None, description="Targets below are masked and counted; none: all targets are kept."
    )
    ceiling_floor: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Targets whose noise ceiling is lower have no part in normalised scores.",
    )
    save_predictions: tuple[str, ...] = Field(
        (), description="Regions whose held-out predictions are kept in the store."
    )
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="Number format of the products; decompositions are float64."
    )

    @model_validator(mode="after")
    def _penalties_ascend(self) -> EncodingSettings:
        if self.log10_penalty_min > self.log10_penalty_max:
            raise ValueError(
                f"log10_penalty_min ({self.log10_penalty_min}) is above "
                f"log10_penalty_max ({self.log10_penalty_max})"
            )
        return self

    @model_validator(mode="after")
    def _pairs_are_of_two_signals(self) -> EncodingSettings:
        if len(self.rule_pairs) == 1 or len(set(self.rule_pairs)) != len(self.rule_pairs):
            raise ValueError(
                f"rule_pairs: {', '.join(self.rule_pairs)}: name two signals or more, each once"
            )
        return self

    @model_validator(mode="after")
    def _nuisance_bands_have_names_of_their_own(self) -> EncodingSettings:
        names = [band.name for band in self.nuisance]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"nuisance: {', '.join(twice)} is there twice; give each its own name")
        return self

    @model_validator(mode="after")
    def _himalaya_runs_on_numpy(self) -> EncodingSettings:
        if self.solver == "himalaya" and self.backend != "numpy":
            raise ValueError(
                f"solver: himalaya runs on `backend: numpy` only, found {self.backend}; set "
                "solver: closed_form or backend: numpy"
            )
        return self


# Settings of the section rsa that dissimilarities of predictions depend on.
PREDICTION_SETTINGS = ("encoding", "max_images")
# Settings of the section rsa that are no business of comparisons with one person's responses.
OTHER_RSA_SETTINGS = (*PREDICTION_SETTINGS, "fusion")


class RsaSettings(StrictModel):
    """Section ``rsa``: representational similarity, of features and of held-out predictions."""

    n_draws: int = Field(200, ge=1, description="Permutations of the images.")
    seed: int = Field(0, ge=0, description="Seed of the permutations.")
    encoding: bool = Field(
        False,
        description="Whether dissimilarities of the held-out predictions of the fits are compared "
        "with measured ones as well, and every claim that can be put so gets a second opinion.",
    )
    fusion: bool = Field(
        False,
        description="Whether a data set along regions and one along time, of the same images, are "
        "fused by their dissimilarities, through every layer.",
    )
    max_images: int = Field(
        200,
        ge=4,
        description="Images of an outer fold that dissimilarities of predictions are taken "
        "between; of more, groups are drawn.",
    )


# Settings of the section reliability that the measurement depends on.
MEASUREMENT_SETTINGS = ("n_images", "max_training_images", "seed")


class ReliabilitySettings(StrictModel):
    """Section ``reliability``: how well signals that depend on chance repeat themselves."""

    n_images: int = Field(
        128, ge=3, description="Images of a stimulus set that signals are drawn again for."
    )
    threshold: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Signals whose reliability is lower, or that of a control, get no verdict.",
    )
    unique_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The same for unique parts: what is left of a signal after regression on all "
        "layers' activations; none: they are judged whatever it is.",
    )
    max_training_images: int = Field(
        4000,
        ge=10,
        description="Images at most that this regression learns from; bounds memory and time.",
    )
    seed: int = Field(0, ge=0, description="Seed of the choice of images.")


class StatisticsSettings(StrictModel):
    """Section ``statistics``: summaries of the hierarchy and the tests of the claims."""

    alpha: float = Field(0.05, gt=0, lt=1, description="Level at which q decides a verdict.")
    smallest_unique_share: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of the explainable variance that the unique part of a signal, and its "
        "contrast with controls, must exceed.",
    )
    best_layer: Literal["argmax", "centre_of_mass"] = Field(
        "argmax", description="How the best layer of a target or region is found."
    )
    distance: Literal["mm", "rank"] = Field(
        "mm", description="What regions' best layers are correlated with: mm from V1, or its rank."
    )
    peak_fraction: float = Field(0.95, gt=0, le=1, description="Share of the maximum: peak times.")
    min_subjects: int = Field(6, ge=2, description="Subjects needed for population inference.")
    seed: int = Field(0, ge=0, description="Seed of flips and of maps.")


class FigureSettings(StrictModel):
    """Section ``figures``: which figures a study draws; `all` takes every one that applies."""

    names: Literal["all"] | tuple[Name, ...] = Field("all", description="Figures drawn.")


# --- a study ---------------------------------------------------------------------------------


class DatasetChoice(StrictModel):
    """A data set of a study and the subjects taken from it."""

    name: Name = Field(description="Entry of datasets.yaml.")
    subjects: Literal["all"] | tuple[Name, ...] = Field("all", description="Subjects taken.")


class LayerCount(StrictModel):
    """As many layers as asked, at the relative depths of Raugel et al. 2025."""

    count: int = Field(
        ge=1,
        description="22 takes the depths of the predecessor; a model with fewer layers gives all.",
    )


class ModelChoice(StrictModel):
    """A model of a study, or many at once, and the layers taken from each."""

    name: Name = Field("", description="Entry of models.yaml.", validate_default=False)
    pattern: str = Field(
        "", description="All entries whose names match, e.g. `vit_*`, in the place of `name`."
    )
    file: str = Field(
        "",
        description="Text file with a name or pattern per line, in the place of `name`; `#` starts "
        "a comment. A path starts from the folder in which the command runs.",
    )
    leave_out: tuple[str, ...] = Field(
        (), description="Names and patterns of entries that `pattern` or `file` matches beside."
    )
    untrained: int = Field(
        0,
        ge=0,
        description="Initialisations of each network that the study takes beside its trained "
        "weights; three or more say how much chance there is in one.",
    )
    layers: Literal["all"] | tuple[str, ...] | LayerCount = Field(
        "all", description="All, some by name, or a count spread over depth."
    )
    signal_set: Name | None = Field(
        None,
        description="Signal set taken from these models in the place of features.signal_set: some "
        "of its signals, such as activations alone, with all else as there.",
    )

    @model_validator(mode="after")
    def _says_which(self) -> ModelChoice:
        given = [key for key in ("name", "pattern", "file") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                f"expected one of name, pattern and file, found {' and '.join(given) or 'none'}"
            )
        if self.name and self.leave_out:
            raise ValueError("leave_out: goes with pattern or file, found it with name")
        if not self.name and isinstance(self.layers, tuple):
            raise ValueError(
                f"layers: names of layers are those of one model; with {given[0]} give all or "
                "{count: 22}"
            )
        return self


class Level(StrictModel):
    """One way of making a choice: what it changes in the study; the first level changes nothing."""

    name: Name = Field(description="In tables, and in the names of signal sets that follow.")
    label: str = Field("", description="Name for readers; `name`, spaced, where left out.")
    signal_set: dict[str, Any] = Field(
        {}, description="Keys of the study's signal set, e.g. {pooling: {kind: grid, size: 2}}."
    )
    signals: dict[Name, dict[str, Any]] = Field(
        {}, description="Signal -> its `options` or `rule_options` that differ."
    )
    encoding: dict[str, Any] = Field({}, description="Keys of the section encoding.")
    statistics: dict[str, Any] = Field({}, description="Keys of the section statistics.")

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return bool(self.signal_set or self.signals or self.encoding or self.statistics)


class Factor(StrictModel):
    """A choice of analysis that verdicts may hang on."""

    name: Name = Field(description="In tables.")
    label: str = Field("", description="Name for readers; `name`, spaced, where left out.")
    levels: tuple[Level, ...] = Field(
        min_length=2, description="Ways of making it; the first one is the study as it is."
    )

    @model_validator(mode="after")
    def _levels_differ(self) -> Factor:
        names = [level.name for level in self.levels]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"levels: {', '.join(twice)} is there twice; give each its own name")
        if self.levels[0].changes:
            raise ValueError(
                f"levels: the first one, {names[0]!r}, stands for the study as it is; leave out "
                "what it changes, or put a level without changes before it"
            )
        idle = [level.name for level in self.levels[1:] if not level.changes]
        if idle:
            raise ValueError(f"levels: {', '.join(idle)} changes nothing; say what it changes")
        return self


class SensitivitySettings(StrictModel):
    """Section ``sensitivity``: choices that are varied, and how many combinations of them."""

    factors: tuple[Factor, ...] = Field(min_length=1, description="Choices that are varied.")
    n_combinations: int = Field(
        24, ge=0, le=10_000, description="Drawn combinations, beside one factor at a time."
    )
    seed: int = Field(0, ge=0, description="Seed of the combinations.")

    @model_validator(mode="after")
    def _factors_differ(self) -> SensitivitySettings:
        names = [factor.name for factor in self.factors]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"factors: {', '.join(twice)} is there twice; give each its own name")
        return self


#: What models may differ in, in the order of tables and figures.
FactorName = Literal[
    "training",
    "objective",
    "diet",
    "fine_tuned_on",
    "learning_rule",
    "recipe",
    "step",
    "input_size",
    "family",
    "parameters",
]


class NamedContrast(StrictModel):
    """A comparison of models that the study asks for by name, whatever they differ in."""

    name: str = Field(
        min_length=1, max_length=200, description="In tables, and for readers of the figure."
    )
    a: str = Field("a", description="What the first model of each pair is called.")
    b: str = Field("b", description="What the second is called; the contrast is a minus b.")
    pairs: tuple[tuple[str, str], ...] = Field(
        min_length=1,
        description="[model, model], names or patterns; the mean is taken of all that match, and "
        "no model may be there twice.",
    )


class ContrastSettings(StrictModel):
    """Controlled comparisons: models of the study that differ in one factor."""

    factors: Literal["all"] | tuple[FactorName, ...] = Field(
        "all", description="Factors by which pairs are looked for; an empty list: none."
    )
    leave_out: tuple[str, ...] = Field(
        (),
        description="Names and patterns of contrasts that are not made, e.g. `recipe: *`; the dry "
        "run lists their names.",
    )
    named: tuple[NamedContrast, ...] = Field(
        (), description="Comparisons of one's own, beside those that are found."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> ContrastSettings:
        names = [contrast.name for contrast in self.named]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named: {', '.join(twice)} is there twice; give each its own name")
        return self


class Study(StrictModel):
    """A study: one config file."""

    study: Name = Field(description="Name of the study: its folder below results/.")
    title: str = Field("", max_length=500, description="One line for readers.")
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1, description="Data sets.")
    models: tuple[ModelChoice, ...] = Field(
        min_length=1, description="Models, one by one or by patterns."
    )
    images: Literal["shared"] | tuple[str, ...] | str | None = Field(
        None,
        description="Images taken: `shared`, those that all people of all data sets saw, matched "
        "by their ids; a list of ids; or a file with one on each line or a column `image_id`. "
        "None: all.",
    )
    folds: str | dict[Name, str] | None = Field(
        None,
        description="Outer folds in the place of `encoding.n_folds`: a file (.csv, .tsv or .json), "
        "or the name of a split that comes with the data set; for all data sets, or {data set: "
        "file or name}.",
    )
    features: FeatureSettings = Field(description="Signals and their extraction.")
    encoding: EncodingSettings = Field(EncodingSettings(), description="Banded ridge fits.")
    rsa: RsaSettings = Field(RsaSettings(), description="Representational similarity.")
    reliability: ReliabilitySettings = Field(
        ReliabilitySettings(), description="Reliability of signals that depend on chance."
    )
    statistics: StatisticsSettings = Field(StatisticsSettings(), description="Tests of claims.")
    figures: FigureSettings = Field(FigureSettings(), description="Figures.")
    contrasts: ContrastSettings = Field(
        ContrastSettings(),
        description="Comparisons of models that differ in one factor; made where there are any.",
    )
    sensitivity: SensitivitySettings | None = Field(
        None, description="Choices that are varied; none: the study is run as it is."
    )
    registries: tuple[str, ...] = Field(
        (),
        description="Further registry folders, searched after config/: models.yaml, "
        "datasets.yaml, signals.yaml and layers.csv of one's own.",
    )
    plugins: tuple[str, ...] = Field(
        (),
        description="Folders of plug-ins of one's own, with sub-folders rules, objectives, "
        "adapters, figures and weights.",
    )
    roots: dict[Name, str] = Field(
        {}, description="Data set (or `weights`) -> folder on this machine, linked as data/<name>."
    )
    only_models: tuple[Name, ...] = Field((), description="Restrict the targets to these models.")
    only_subjects: tuple[Name, ...] = Field((), description="Restrict to these subjects.")
    only_layers: tuple[str, ...] = Field((), description="Restrict to these layers.")

    @model_validator(mode="after")
    def _second_opinions_are_of_fits_with_activations(self) -> Study:
        if self.rsa.encoding and not self.encoding.variance_partitioning:
            raise ValueError(
                "rsa.encoding compares dissimilarities that signals and all activations predict "
                "together, and encoding.variance_partitioning: false leaves those fits out; set "
                "one of them otherwise"
            )
        return self

    @field_validator("models", mode="before")
    @classmethod
    def _one_choice_is_a_list_of_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value
