"""A site that counts memory and GPUs: the profile works there as it is."""

from __future__ import annotations

import re
import shutil

import pytest
from slurm.local_cluster import Site

SITE = Site(select="CR_Core_Memory", gpus=2, partitions=("cpu", "gpu"))
FITS = "cluster/encoding/tiny_a"
JOBS = {
    "prepare_stimuli": 2,
    "compute_objective_targets": 1,
    "extract_features": 4,
    "measure_reliability": 1,
    "prepare_responses": 2,
    "fit_encoding": 4,
    "measure_unique": 2,
    "compute_ceilings": 1,
    "compute_rsa": 2,
    "collect_scores": 1,
    "collect_maps": 1,
    "score_hierarchy": 1,
    "test_claims": 1,
    "plot_figure": 1,
    "write_config": 1,
    "write_report": 1,
}


@pytest.fixture(scope="module")
def cluster(slurm_of):
    with slurm_of(SITE) as running:
        yield running


@pytest.fixture(scope="module")
def first_run(cluster, code):
    """The study from nothing to the report; what was submitted, and as what Slurm knows it."""
    checkout = code("with_gpus")
    run = checkout.snakemake(cluster)
    submissions = cluster.calls("sbatch")
    calls = cluster.n_calls()
    jobs = cluster.jobs()
    print(f"\n{len(jobs)} jobs in {run.seconds:.0f} s; calls of Slurm's commands: {calls}")
    print("\n".join(line for line in run.text.splitlines() if "ubmitted" in line))
    return checkout, run, submissions, calls, jobs


def of_rule(jobs, rule):
    return [job for job in jobs if re.fullmatch(rf"rule_{rule}(_wildcards_.*)?", job["Comment"])]


def test_the_study_runs_to_its_report_and_every_job_is_slurms(first_run):
    checkout, _, _, _, jobs = first_run
    assert (checkout.folder / "results/cluster/report.html").stat().st_size > 0
    assert {rule: len(of_rule(jobs, rule)) for rule in JOBS} == JOBS
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}


def test_ready_jobs_of_a_rule_are_submitted_in_one_call(first_run):
    _, _, submissions, calls, jobs = first_run
    fits = [line for line in submissions if "rule_fit_encoding" in line]
    # How many are ready at once depends on which of the jobs before them is done first.
    arrays = [re.search(r"--array=1-(\d)", line) for line in fits]
    sizes = [int(array.group(1)) if array else 1 for array in arrays]
    assert sum(sizes) == 4
    assert max(sizes) >= 2
    assert len(
        {job.get("ArrayJobId", job["JobId"]) for job in of_rule(jobs, "fit_encoding")}
    ) == len(arrays)
    assert calls["sbatch"] == len(submissions) < len(jobs)


def test_slurm_reserves_a_gpu_for_what_passes_images_through_a_network_and_nothing_else(first_run):
    jobs = first_run[4]
    rules = ("compute_objective_targets", "extract_features", "measure_reliability")
    passes = [job for rule in rules for job in of_rule(jobs, rule)]
    assert all("gres:gpu:1" in job["TresPerJob"] for job in passes)
    assert not any("TresPerJob" in job for job in jobs if job not in passes)


def test_memory_and_runtime_of_the_rules_reach_slurm(first_run):
    (claims,) = of_rule(first_run[4], "test_claims")
    # 20 MB more for each model of the study, which has one.
    assert claims["MinMemoryNode"] == "4020M"
    assert claims["TimeLimit"] == "00:30:00"


def test_one_failed_task_of_an_array_is_reported_with_its_log_and_harms_no_other(
    first_run, cluster
):
    checkout = first_run[0]
    responses = checkout.folder / "results/cluster/responses/tiny_meg-s2.zarr"
    intact = checkout.folder / "intact.zarr"
    shutil.copytree(responses, intact)
    shard = max(responses.glob("response/c/**/*"), key=lambda file: file.stat().st_size)
    shard.unlink()
    removed = checkout.remove(f"{FITS}/*/*")
    run = checkout.snakemake(cluster, "--retries", "0", "--", "encoding", check=False)
    print(f"\n4 jobs, of which 2 fail, in {run.seconds:.0f} s")
    shutil.rmtree(responses)
    intact.rename(responses)
    assert run.returncode != 0
    assert len(cluster.calls("sbatch")) == 1
    # The rule's own log is printed, which names the damaged file.
    assert "tiny_meg-s2.zarr: its file response/c" in run.text
    assert run.text.count("Error in rule fit_encoding") == 2
    assert {path for path in removed if path.exists()} == {
        path for path in removed if "s1" in path.name
    }


@pytest.fixture(scope="module")
def second_run(first_run, cluster):
    """One layer's features and one of its fits, which is given too little memory at first."""
    checkout = first_run[0]
    checkout.edit_profile("# slurm-partition-config:", "slurm-partition-config:")
    before = {job["JobId"] for job in cluster.jobs()}
    checkout.remove("features/tiny_a/blocks.1/tiny/tiny.zarr")
    checkout.remove(f"{FITS}/blocks.1/tiny_meg-s1.*")
    only = ("only_models=[tiny_a]", "only_subjects=[tiny_meg-s1]", "only_layers=[blocks.1]")
    # Slurm looks once per second. Snakemake alone takes some 170 MB for seconds, whereas the peak
    # of a fit this small may pass between two looks.
    memory = "fit_encoding:mem_mb=100 * attempt ** 4"
    run = checkout.snakemake(cluster, "--set-resources", memory, "--config", *only)
    jobs = [job for job in cluster.jobs() if job["JobId"] not in before]
    print(f"\n{len(jobs)} jobs in {run.seconds:.0f} s")
    return checkout, run, jobs


def test_a_job_that_took_too_much_memory_is_given_more(second_run):
    checkout, run, jobs = second_run
    fits = of_rule(jobs, "fit_encoding")
    assert [job["MinMemoryNode"] for job in fits] == ["100M", "1600M"]
    assert [job["JobState"] for job in fits] == ["FAILED", "COMPLETED"]
    # Snakemake names Slurm's log of the job, which has the reason.
    log = next((checkout.folder / "logs/slurm").rglob(f"{fits[0]['JobId']}.log"))
    assert str(log) in run.text
    assert "exceeded memory limit" in log.read_text()
    assert "Trying to restart job" in run.text


def test_partitions_are_chosen_by_what_jobs_need(second_run):
    jobs = second_run[2]
    assert [job["Partition"] for job in of_rule(jobs, "extract_features")] == ["gpu"]
    assert [job["Partition"] for job in of_rule(jobs, "fit_encoding")] == ["cpu", "cpu"]
