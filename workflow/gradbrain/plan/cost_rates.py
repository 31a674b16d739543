"""Times and memory of measured jobs, and what a stage of a study costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from gradbrain.config.schema import VIEWS_BF16

GIB = 2.0**30


@dataclass(frozen=True)
class Rates:
    """Measured constants; the command line overrides each.

    Attributes
    ----------
    start_s
        CPU seconds that any job takes to start Python, import and write (demo, small jobs: 1.4 to
        2.3 s).
    core_gflops
        Matrix products in float64 on one core (docs/scaling.md).
    eigh_4096_s
        Eigendecomposition of a matrix of 4,096 on one core.
    standardise_s
        Standardising the activations of 22 layers of 1,024 features for 8,000 images.
    weights_s, weights_ms_per_target
        One row of band weights in one fold, of bands of 2,048 features together and 8,000 images:
        its decomposition, and each target in its axes.
    small_weights_s
        Of it what does not grow with images, features or targets (objects92: 4.0 s of one person,
        seven layers, seven signals, five folds of 135 rows).
    row_s, row_ms_per_target
        One row of scores with 200 draws for 2,000 held-out images.
    unique_gflops
        Products and decompositions of the unique variance of signals: 12 signals of 4 layers of
        900 images take 21.5 CPU seconds of them with one region.
    unique_null_ns
        A product of two numbers in the null draws of these (200 draws: 1.3 s per region).
    rdm_ns
        A pair of images in a draw of one row of dissimilarities of predictions, in one region or
        time (200 draws, 14 rows: 1.0 ns with 200 held-out images; 100 draws with 64: 0.7; 200
        draws, 20 rows with 18: 1.9).
    process_gib
        What a small job holds (demo: .2 to .9 GiB, the most with torch).
    statistics_ms
        Image statistics of an image on one core: reading, cropping, all levels
        (benchmarks/bench_statistics.py).
    core_pass_gflops
        Passes of a network on one core: 6.8 images of 10.0 GFLOP per second, ViT-Ti/16 at 224 px
        (benchmarks/bench_extraction.py --clock cpu). Small images and depthwise convolutions
        reach a tenth to a third of it (demo).
    gpu_tflops
        Passes of a network on one GPU. Not measured: half of the 19.5 TFLOP/s in float32 that
        the data sheet of NVIDIA's A100 gives.
    gpu_bf16_tflops
        Passes of augmented views in bf16 on one GPU. Not measured by us: ViT-L/16 at 384 px on an
        RTX 3090, 154.9 images of 349.7 GFLOP per second under autocast, as timm publishes it
        (results/benchmark-infer-amp-nchw-pt210-cu121-rtx3090.csv).
    """

    start_s: float = 2.0
    core_gflops: float = 49.0
    eigh_4096_s: float = 10.8
    standardise_s: float = 10.0
    weights_s: float = 1.43
    weights_ms_per_target: float = 0.17
    small_weights_s: float = 0.00085
    row_s: float = 0.22
    row_ms_per_target: float = 0.18
    unique_gflops: float = 40.0
    unique_null_ns: float = 0.7
    rdm_ns: float = 1.0
    process_gib: float = 0.9
    statistics_ms: float = 20.0
    core_pass_gflops: float = 68.0
    gpu_tflops: float = 9.75
    gpu_bf16_tflops: float = 54.0

    def flops_of_passes(self, *, gpu: bool) -> float:
        """Operations that a network's passes take per second, on one GPU or on one core."""
        return self.gpu_tflops * 1e12 if gpu else self.core_pass_gflops * 1e9

    def cost_of_views(self, precision: str, *, gpu: bool) -> float:
        """What the pass of a view costs over one of an image, with a study's precision."""
        in_bf16 = gpu and precision.endswith(VIEWS_BF16)
        return self.gpu_tflops / self.gpu_bf16_tflops if in_bf16 else 1.0


RATE_NAMES = tuple(field.name for field in fields(Rates))


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs a network.

    Attributes
    ----------
    flops
        Floating-point operations of a forward pass.
    widths
        Layer -> features after pooling and projection.
    weight_bytes
        Weights of the network.
    saved_bytes
        What is kept of an image for a backward pass.
    layer_bytes
        Outputs of the layers that are taken.
    largest_bytes
        The largest output of a module.
    """

    flops: float
    widths: Mapping[str, int]
    weight_bytes: float = 0.0
    saved_bytes: float = 0.0
    layer_bytes: float = 0.0
    largest_bytes: float = 0.0

    def pass_bytes(self, n_images: int, *, graph: bool) -> float:
        """Memory of a pass over some images, weights included.

        Parameters
        ----------
        n_images
            Images at once.
        graph
            Whether a backward pass follows.
        """
        # Two of the largest outputs are there at once: what a module reads and what it gives.
        kept = (self.saved_bytes if graph else 0.0) + self.layer_bytes + 2 * self.largest_bytes
        return self.weight_bytes + n_images * kept


@dataclass(frozen=True)
class StageCost:
    """Jobs of one rule.

    Attributes
    ----------
    rule
        Name of the rule; fused extraction counts as one rule.
    jobs
        How many there are.
    disk_gib
        What all of them write.
    memory_gib
        The largest one, on the host.
    gpu_memory_gib
        The largest one, on a GPU, where it runs on one.
    cpu_hours, gpu_hours
        All of them together, on one core and on one GPU.
    longest_hours
        The longest one.
    """

    rule: str
    jobs: int
    disk_gib: float = 0.0
    memory_gib: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    longest_hours: float = 0.0
    gpu_memory_gib: float = 0.0

    @classmethod
    def of_jobs(
        cls, rule: str, seconds: Sequence[float], *, gpu: bool = False, **more: float
    ) -> StageCost:
        """Cost of jobs from the seconds of each, on one GPU or on one core.

        Parameters
        ----------
        rule
            Name of the rule.
        seconds
            Of each job.
        gpu
            Whether jobs run on a GPU.
        **more
            Disk and memory.
        """
        hours = sum(seconds) / 3600
        return cls(
            rule,
            len(seconds),
            cpu_hours=0.0 if gpu else hours,
            gpu_hours=hours if gpu else 0.0,
            longest_hours=max(seconds, default=0.0) / 3600,
            **more,
        )
