"""What a run prints: one line per finished job, with what it learnt, counts and the time left.

Snakemake finds this package by its name; `profiles/default` asks for it (`logger: gradbrain`). All
that Snakemake itself says of a run, reasons and commands included, stands in the file that it names
at the end (`.snakemake/log/…`). Dry runs, `--verbose`, `--printshellcmds` and `--debug-dag` look as
they always do, and errors too.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from logging import LogRecord
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


def _check_command_line() -> None:
    """Say what is wrong with config files and `--config` in words, before Snakemake reads them.

    Of the library nothing stays: the one that this environment was made with need not be the one of
    the checkout that is run, whose Snakefile imports its own.
    """
    before = set(sys.modules)
    from gradbrain.config import GradbrainError
    from gradbrain.plan.command_line import check_before_reading

    try:
        check_before_reading(sys.argv)
    except GradbrainError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "gradbrain":
                del sys.modules[name]


# Snakemake imports its plug-ins first of all.
_check_command_line()

#: Before what a job has learnt, in its log (`gradbrain.config.cli.learnt`).
LEARNT = "learnt: "
WARNING = " WARNING "
# What is read of a log, from its end.
TAIL_BYTES = 20_000
# Of a reason that is shown; all of it stands in Snakemake's own log.
REASON_LENGTH = 100
#: Events that become lines of this package, or none at all.
OWN = (LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS)


@dataclass
class Stage:
    """The jobs of one rule.

    Attributes
    ----------
    total
        As many as the run has.
    done
        Number of jobs that are done.
    running
        Number of jobs that run.
    seconds
        That those done took, together.
    """

    total: int = 0
    done: int = 0
    running: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the last one ends, at today's pace and number at once; None: not known."""
        if not self.done:
            return None
        mean = self.seconds / self.done
        return mean * (self.total - self.done) / max(self.running, 1)


@dataclass
class Job:
    """A job that runs.

    Attributes
    ----------
    rule
        Name of the rule.
    what
        What it does, in words.
    logs
        Log files.
    start
        In seconds, of a clock that only runs forward.
    """

    rule: str
    what: str
    logs: list[str] = field(default_factory=list)
    start: float = 0.0


class Progress:
    """Turns what Snakemake tells of jobs into lines.

    Parameters
    ----------
    folder
        That paths of logs are relative to; the working directory where left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else Path()
        self.stages: dict[str, Stage] = {}
        self.jobs: dict[int, Job] = {}
        self.total = self.done = 0

    def plan(self, counts: Mapping[str, int]) -> None:
        """Note how many jobs of each rule there are.

        Parameters
        ----------
        counts
            Rule -> number; ``total`` of all.
        """
        for rule, count in counts.items():
            if rule != "total":
                self.stages.setdefault(rule, Stage()).total = count
        self.total = counts.get("total", 0)

    def start(self, job_id: int, job: Job, reason: str) -> str | None:
        """Note that a job has started.

        Parameters
        ----------
        job_id
            Number of the job, as Snakemake counts.
        job
            Job that is asked about.
        reason
            Why it is run.

        Returns
        -------
        str or None
            A line, where it is the first of its rule.
        """
        stage = self.stages.setdefault(job.rule, Stage())
        first = not stage.done and not stage.running
        stage.running += 1
        self.jobs[job_id] = job
        if not first:
            return None
        count = f"{stage.total} jobs" if stage.total != 1 else "1 job"
        return f"{job.rule}: {count}{_because(reason)}"

    def finish(self, job_id: int, now: float) -> str | None:
        """Note that a job has finished.

        Parameters
        ----------
        job_id
            Number of the job, as Snakemake counts.
        now
            In seconds.

        Returns
        -------
        str or None
            The line of the job; none where it never started (a target of a run).
        """
        job = self.jobs.pop(job_id, None)
        self.done += 1
        if job is None:
            return None
        stage = self.stages[job.rule]
        seconds = now - job.start
        stage.done, stage.seconds = stage.done + 1, stage.seconds + seconds
        # As many ran at once as while this one did.
        left = stage.left
        stage.running -= 1
        learnt, n_warnings = read_log([self.folder / log for log in job.logs])
        parts = [f"{self.done} of {self.total}", job.what + (f": {learnt}" if learnt else "")]
        if n_warnings:
            plural = "s" if n_warnings > 1 else ""
            parts.append(f"{n_warnings} warning{plural} in {job.logs[0]}")
        of_stage = f"{stage.done} of {stage.total} in {words(seconds)}"
        if left and stage.done < stage.total:
            of_stage += f", {words(left)} left"
        if stage.total > 1:
            parts.append(of_stage)
        return " · ".join(parts)

    def fail(self, job_id: int) -> None:
        """Note that a job has failed."""
        job = self.jobs.pop(job_id, None)
        if job is not None:
            self.stages[job.rule].running -= 1


def _because(reason: str) -> str:
    """Why a job is run, in one line; nothing where its output is just not there."""
    line = " ".join(reason.split())
    if not line or line.startswith("Missing output files"):
        return ""
    if len(line) > REASON_LENGTH:
        line = line[: REASON_LENGTH - 1].rstrip() + "…"
    return f" ({line})"


def words(seconds: float) -> str:
    """A duration for readers: 8 s, 3 min, 2 h 5 min."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def read_log(logs: list[Path]) -> tuple[str, int]:
    """What a job says that it learnt, and how many warnings it gave.

    Parameters
    ----------
    logs
        Files that are not there say nothing.

    Returns
    -------
    learnt : str
        Of the last line that says so; empty where none does.
    n_warnings : int
        In the last part of the log.
    """
    learnt, counts = "", Counter[str]()
    for log in logs:
        try:
            with log.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(file.tell() - TAIL_BYTES, 0))
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            counts["warnings"] += WARNING in line
            if LEARNT in line:
                learnt = line.split(LEARNT, 1)[1].strip()
    return learnt, counts["warnings"]


class Quieter(DefaultFilter):
    """As Snakemake filters where `--quiet progress rules` is asked for, but for what is ours."""

    def __init__(self, settings: Any) -> None:
        chosen = set(settings.quiet or ())
        super().__init__(chosen, settings.debug_dag, settings.verbose, settings.dryrun, False)

    def filter(self, record: LogRecord) -> bool:
        """Whether a record is shown."""
        if not super().filter(record):
            return False
        event = getattr(record, "event", None)
        if event in (LogEvent.RESOURCES_INFO, LogEvent.SHELLCMD):
            return False
        return not (event is None and str(record.msg).startswith("Select jobs to execute"))


class LogHandler(LogHandlerBase):
    """The handler that Snakemake makes: prints to stderr, as its own does."""

    def __post_init__(self) -> None:
        settings = self.common_settings
        self.progress = Progress()
        formatter = DefaultFormatter(settings.quiet, settings.show_failed_logs)
        # What these ask for is all that Snakemake says.
        self.plain = bool(
            settings.dryrun or settings.verbose or settings.printshellcmds or settings.debug_dag
        )
        shown: DefaultFilter = (
            DefaultFilter(
                settings.quiet,
                settings.debug_dag,
                settings.verbose,
                settings.dryrun,
                settings.printshellcmds,
            )
            if self.plain
            else Quieter(settings)
        )
        self.addFilter(shown)
        self.stream_handler = ColorizingTextHandler(settings.nocolor, formatter=formatter)
        if settings.stdout:
            self.stream_handler.setStream(sys.stdout)

    def emit(self, record: LogRecord) -> None:
        """Print a record, or the line that is made of it."""
        event = getattr(record, "event", None)
        if self.plain or event not in OWN:
            if event is LogEvent.JOB_ERROR:
                self.progress.fail(int(getattr(record, "jobid", -1)))
            elif event is LogEvent.RUN_INFO:
                self.progress.plan(getattr(record, "stats", {}))
            self.stream_handler.emit(record)
            return
        line = self._line(event, record)
        if line is not None:
            self._print(line)

    def _line(self, event: LogEvent | None, record: LogRecord) -> str | None:
        said = vars(record)
        if event is LogEvent.JOB_INFO:
            rule = str(said["rule_name"])
            what = str(said.get("rule_msg") or _of_wildcards(rule, said.get("wildcards") or {}))
            logs = [str(log) for log in said.get("log") or ()]
            job = Job(rule, what, logs, time.monotonic())
            return self.progress.start(int(said["jobid"]), job, str(said.get("reason") or ""))
        if event is LogEvent.JOB_FINISHED:
            return self.progress.finish(int(said["job_id"]), time.monotonic())
        return None

    def _print(self, line: str) -> None:
        stream = self.stream_handler.stream
        stream.write(f"{datetime.now():%H:%M:%S} {line}\n")
        stream.flush()

    @property
    def writes_to_stream(self) -> bool:
        """It is the only one that does."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake's own log holds everything."""
        return False

    @property
    def has_filter(self) -> bool:
        """Its own."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Of the handler that it prints with."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Counts are enough."""
        return False


def _of_wildcards(rule: str, wildcards: Mapping[str, Any]) -> str:
    return " ".join([rule, *map(str, wildcards.values())])
