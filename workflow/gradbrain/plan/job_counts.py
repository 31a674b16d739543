"""Jobs of each rule that a study runs from nothing."""

from __future__ import annotations

from gradbrain.plan.jobs import Plan


def job_counts(plan: Plan) -> dict[str, int]:
    """Jobs of each rule that a study runs from nothing, fused extraction as one rule.

    Returns
    -------
    dict
        Name of the rule -> number of jobs; rules without jobs are left out.
    """
    subjects, models = plan.subjects, plan.models
    seen = {plan.study.seen_by(subject) for subject in subjects}
    chosen = plan.study.chosen_stimuli
    # Named images may be in any set of the study.
    stimuli = {name for names in chosen.values() for name in names} if chosen else seen
    calibration = {
        plan.signal_set(name).calibration
        for model, name, _, _ in plan.all_features()
        if model in plan.networks
    }
    training = {plan.weights_options(model).training_images() for model in plan.trained_here}
    n_fits = len(subjects) * sum(
        1 if model in plan.models_fitted_whole else len(plan.layers(model)) for model in models
    )
    counts = {
        "prepare_stimuli": len(stimuli | calibration | training),
        "train_testbed": len(plan.trained_here),
        "choose_images": len(seen & set(chosen)),
        "assign_folds": len(plan.images.stimuli_with_folds),
        "prepare_responses": len(subjects),
        "compute_ceilings": len(plan.ceilings),
        "fit_feedback": len(
            {
                path
                for model, signal_set, _, _ in plan.all_features()
                if model in plan.networks
                for path in plan.feedback(model, signal_set)
            }
        ),
        "compute_objective_targets": len(targets_jobs(plan)),
        "extract_features": _extraction_jobs(plan),
        "measure_reliability": len(plan.reliabilities),
        "compare_signals": len(plan.alikenesses),
        "image_statistics": len(statistics_jobs(plan)),
        "reduce_activations": len(models) * len(subjects) if plan.reduces_activations else 0,
        "fit_encoding": n_fits,
        "measure_unique": sum(len(plan.unique(model)) for model in models),
        "measure_rule_pairs": len(plan.rule_pairs),
        "compute_rsa": len(models) * len(subjects),
        "fuse_space_and_time": len(models) if plan.fused_datasets else 0,
        "compute_rdm_ceilings": len(plan.rdm_ceilings),
        "score_rdms": len(models) if plan.second_opinions else 0,
        "test_second_opinions": len(plan.second_opinions),
        "collect_scores": len(models),
        "collect_maps": len(models),
        "score_hierarchy": len(models),
        "test_claims": 1,
        "compare_models": bool(plan.model_contrasts),
        "fit_universe": len(plan.multiverse.fit_paths("universe_hierarchy")),
        "test_universe": len(plan.universes),
        "collect_universes": bool(plan.universes),
        "write_config": 1,
        "write_entries": 1,
        "plot_figure": len(plan.figures),
        "write_report": 1,
    }
    return {rule: int(count) for rule, count in counts.items() if count}


def _extraction_jobs(plan: Plan) -> int:
    return len(
        {extraction_job(plan, *key) for key in plan.all_features() if key[0] in plan.networks}
    )


def targets_jobs(plan: Plan) -> set[tuple[str, str, str]]:
    """(model, signal set, stimuli) of every job that passes views for all layers."""
    return {
        (model, signal_set, stimuli)
        for model, signal_set, _, stimuli in plan.all_features()
        if model in plan.networks and signal_set in plan.viewing_sets
    }


def statistics_jobs(plan: Plan) -> set[tuple[str, str, str]]:
    """(model, signal set, stimuli) of every job that takes image statistics."""
    return {
        (model, signal_set, stimuli)
        for model, signal_set, _, stimuli in plan.all_features()
        if model in plan.statistics_models
    }


def extraction_job(
    plan: Plan, model: str, signal_set: str, layer: str, stimuli: str
) -> tuple[str, ...]:
    """Name the job that extracts a layer: one for all layers of a model, or one for each.

    Sets of a multiverse that are read from the same passes have the job of the first of them.
    """
    for names in plan.multiverse.passes:
        if signal_set in names:
            return (model, names[0], stimuli)
    whole = (model, signal_set, stimuli)
    return whole if plan.is_fused(signal_set) else (*whole, layer)
