"""A site whose Slurm counts neither memory nor GPUs: what it must change in the profile."""

from __future__ import annotations

import pytest
from slurm.local_cluster import Site

SITE = Site(select="CR_Core", partitions=("cpu", "nodes_with_gpus"))
PLANTING = "features/planting_mobilenetv2_050/blocks.1/tiny_planted/tiny.zarr"


@pytest.fixture(scope="module")
def cluster(slurm_of):
    with slurm_of(SITE) as running:
        yield running


@pytest.fixture(scope="module")
def checkout(code):
    return code("without_gpus")


def test_the_refusal_of_a_gpu_is_shown_and_its_remedy_works(cluster, checkout):
    # Without job arrays, as where users may submit few jobs at a time.
    checkout.edit_profile("slurm-array-jobs: all\n", "")
    checkout.edit_profile("jobs: 10000\n", "jobs: 200\n")
    target = ("--", f"results/{PLANTING}")
    refused = checkout.snakemake(cluster, "--retries", "0", *target, check=False)
    assert refused.returncode != 0
    assert "Invalid generic resource (gres) specification" in refused.text
    assert not any("--array" in line for line in cluster.calls("sbatch"))
    stimuli = cluster.jobs()
    assert [job["JobState"] for job in stimuli] == ["COMPLETED"] * 2

    checkout.edit_profile(
        "# set-resources:\n#   extract_features:\n#     gpu: 0\n#     slurm_partition: gpu\n",
        "set-resources:\n  extract_features:\n    gpu: 0\n    slurm_partition: nodes_with_gpus\n",
    )
    checkout.edit_profile("# slurm_partition: cpu", "slurm_partition: cpu")
    checkout.snakemake(cluster, *target)
    (job,) = (job for job in cluster.jobs() if job not in stimuli)
    assert (job["JobState"], job["Partition"]) == ("COMPLETED", "nodes_with_gpus")
    assert "TresPerJob" not in job
    assert (checkout.folder / "results" / PLANTING).exists()
