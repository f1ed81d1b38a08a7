"""`loadstone run`: one LoadTest on this machine, from its file to the exit code that its verdict means."""

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from loadstone_cli.documents import choose_loadtest, read_documents, with_settings
from loadstone_cli.interrupts import Interrupts, give_up
from loadstone_cli.outputs import while_it_lasts
from loadstone_cli.progress import Progress
from loadstone_cli.results import Kept, NowhereToKeep, ResultFiles
from loadstone_cli.rows import RowLines
from loadstone_cli.sources import LocalScript, local_environment, local_script, only_in_a_cluster
from loadstone_cli.table import PLAIN_WIDTH, print_result
from loadstone_core.admission import admit
from loadstone_core.errors import LoadstoneError, SpecInvalidError
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.plan.planner import plan_run
from loadstone_core.spec.digest import files_digest, spec_digest
from loadstone_core.spec.model import LoadTest
from loadstone_core.verdict.reasons import Reason, Verdict
from loadstone_protocol.documents import outcome_document
from loadstone_runner.local.run import LocalResult, LocalRun
from loadstone_runner.transport.http.errors import ControlError

INVALID = 1
SOCKET_PATH_MAX_BYTES = 107  # what the kernel holds
UNWRITTEN = 1
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a LoadTest is to be run on this machine.

    Attributes:
        settings: changes of fields of the spec, each `path=value`.
        results: folder for the report.
        name: which LoadTest, where the file holds several.
        status_file: where the status is to be written.
        quiet: without a word of progress.
        rows: where to print for programs; None: the table goes to standard output.
        control: path of the socket for the control API.
    """

    settings: tuple[str, ...]
    results: Path
    name: str | None = None
    status_file: Path | None = None
    quiet: bool = False
    rows: RowLines | None = None
    control: str | None = None


class _Refused(Exception):  # noqa: N818 it is said to the user, and nothing has begun
    """This cannot be run; `problems` say why."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(*problems)
        self.problems = problems


def run_file(file: Path, wanted: Wanted, interrupts: Interrupts) -> int:
    """Run the LoadTest in `file` and return the exit code of its verdict."""
    try:
        interrupts.heed(give_up)
        test, script = _read(file, wanted)
        files = ResultFiles(test.name, wanted.results, wanted.status_file)
        files.check()
    except _Refused as refused:
        return _refuse(refused.problems, wanted)
    except NowhereToKeep as error:
        return _refuse([f"loadstone: {error}"], wanted, reason=Reason.PREFLIGHT_FAILED)
    except KeyboardInterrupt:
        return _refuse(["loadstone: interrupted before the run began; nothing was run"], wanted, reason=Reason.STOPPED)
    finally:
        interrupts.hold()
    plan = plan_local(test, script)
    progress = Progress(test.name, plan, quiet=wanted.quiet)
    run = LocalRun(
        plan=plan,
        files=script.files,
        environment=local_environment(test.spec),
        on_report=progress.show,
        log_file=files.running_log,
        on_row=wanted.rows.show if wanted.rows else None,
        control=wanted.control,
    )
    try:
        with progress:
            result = asyncio.run(_run(run, progress, interrupts))
    except ControlError as error:
        files.discard()
        return _refuse([str(error)], wanted, reason=Reason.PREFLIGHT_FAILED)
    except OSError as error:
        # The temporary folder, or a process, cannot be had.
        files.discard()
        return _refuse([f"loadstone: the run cannot be started: {error}"], wanted, reason=Reason.PREFLIGHT_FAILED)
    return _end(test.name, result, files.keep(result, as_status(result), run.log_error), wanted, interrupts)


def socket_path(control: str) -> str:
    """Return the path in `unix:PATH`; raise click's error for anything else."""
    scheme, _, path = control.partition(":")
    if scheme != "unix" or not path or len(path.encode()) > SOCKET_PATH_MAX_BYTES:
        raise click.BadParameter(f"must be unix:PATH with a path of at most {SOCKET_PATH_MAX_BYTES} bytes")
    return path


def _read(file: Path, wanted: Wanted) -> tuple[LoadTest, LocalScript]:
    """Return the LoadTest and its script; raise _Refused if it is none."""
    try:
        documents = read_documents(file)
        document = choose_loadtest(documents, wanted.name)
    except (LoadstoneError, OSError) as error:
        raise _Refused([f"loadstone: {error}"]) from error
    try:
        test = admit(with_settings(document, wanted.settings).body)
        script = local_script(test.spec, document, documents)
    except SpecInvalidError as error:
        raise _Refused([document.explain(problem) for problem in error.problems]) from error
    for line in only_in_a_cluster(test.spec):
        print(f"ignored here: {line}", file=sys.stderr)
    return test, script


def _refuse(problems: list[str], wanted: Wanted, reason: Reason = Reason.SPEC_INVALID) -> int:
    """Say why nothing is run; return the exit code."""
    verdict, code = (Verdict.ABORTED, INTERRUPTED) if reason is Reason.STOPPED else (Verdict.ERROR, INVALID)
    with while_it_lasts(sys.stderr):
        for problem in problems:
            print(problem, file=sys.stderr)
    if wanted.rows is not None:
        wanted.rows.end((), {"verdict": verdict, "reason": reason, "message": "; ".join(problems), "exitCode": code})
    return code


def _end(name: str, result: LocalResult, kept: Kept, wanted: Wanted, interrupts: Interrupts) -> int:
    """Show how the run ended and what it left; return the exit code."""
    status = as_status(result)
    code = int(result.outcome.exit_code)
    if kept.losses:
        code = code or UNWRITTEN
    stream = sys.stdout if wanted.rows is None else sys.stderr
    with while_it_lasts(stream):
        print_result(name, status, kept.report, Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH))
        if kept.log is not None:
            print(f"log of {name}: {kept.log}", file=stream)
    with while_it_lasts(sys.stderr):
        for loss in kept.losses:
            print(f"loadstone: {loss}", file=sys.stderr)
    if wanted.rows is not None:
        paths = {key: None if path is None else str(path) for key, path in (("report", kept.report), ("log", kept.log))}
        # Everything is kept, so who reads no more need not be waited for; what was held back was meant for the run.
        interrupts.heed(lambda _number: None)
        interrupts.heed(give_up)
        wanted.rows.end(result.rows_left, {**status, **paths, "exitCode": code})
        interrupts.hold()
    return code


def plan_local(test: LoadTest, script: LocalScript) -> RunPlan:
    """Return the plan of a run on this machine: one engine a worker."""
    identity = RunIdentity(uid=f"local-{test.name}/1", loadtest=test.name, namespace="local", number=1, epoch=1)
    return plan_run(
        test.spec,
        identity,
        spec_digest=spec_digest(test.raw_spec),
        script=ScriptRef(digest=files_digest(script.files), directory="/scripts", entrypoint=script.entrypoint),
        engines_per_worker=1,
    )


async def _run(run: LocalRun, progress: Progress, interrupts: Interrupts) -> LocalResult:
    loop = asyncio.get_running_loop()

    def interrupted(number: int) -> None:
        progress.interrupted(signal.Signals(number))
        run.stop(is_immediate=number != signal.SIGINT)

    interrupts.heed(lambda number: loop.call_soon_threadsafe(interrupted, number))
    try:
        return await run.run()
    finally:
        # What the run leaves is still to be written.
        interrupts.hold()


def as_status(result: LocalResult) -> dict[str, object]:
    """Return what the resource's status would say, as far as a local run has it."""
    return {
        "phase": "Finished",
        "finished": True,
        **{name: part for name, part in outcome_document(result.outcome).items() if name != "kind"},
        "findings": list(result.report.findings),
    }
