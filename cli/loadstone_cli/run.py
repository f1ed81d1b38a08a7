"""`loadstone run`: one LoadTest on this machine, from its file to the exit code that its verdict means."""

import asyncio
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from loadstone_cli.documents import choose_loadtest, read_documents, with_settings
from loadstone_cli.progress import Progress
from loadstone_cli.sources import LocalScript, local_environment, local_script, only_in_a_cluster
from loadstone_cli.table import print_result
from loadstone_core.admission import admit
from loadstone_core.errors import LoadstoneError, SpecInvalidError
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.plan.planner import plan_run
from loadstone_core.spec.digest import files_digest, spec_digest
from loadstone_core.spec.model import LoadTest
from loadstone_runner.local.run import LocalResult, LocalRun

INVALID = 1
LOGS = "logs"
INTERRUPTED = 130


def run_file(
    file: Path, *, settings: tuple[str, ...], results: Path, name: str | None, status_file: Path | None, quiet: bool
) -> int:
    """Run the LoadTest in `file` and return the exit code of its verdict."""
    try:
        documents = read_documents(file)
        document = choose_loadtest(documents, name)
    except (LoadstoneError, OSError) as error:
        print(f"loadstone: {error}", file=sys.stderr)
        return INVALID
    try:
        test = admit(with_settings(document, settings).body)
        script = local_script(test.spec, document, documents)
    except SpecInvalidError as error:
        for problem in error.problems:
            print(document.explain(problem), file=sys.stderr)
        return INVALID
    for line in only_in_a_cluster(test.spec):
        print(f"ignored here: {line}", file=sys.stderr)
    plan = plan_local(test, script)
    progress = Progress(test.name, plan, quiet=quiet)
    log_file = results / LOGS / f".{test.name}-running.log.gz"
    run = LocalRun(
        plan=plan,
        files=script.files,
        environment=local_environment(test.spec),
        on_report=progress.show,
        log_file=log_file,
    )
    with progress:
        result = asyncio.run(_run(run, progress))
    report = keep_report(result, results, test.name)
    log = log_file.replace(results / LOGS / f"{test.name}-{_stamp(result)}.log.gz")
    status = as_status(result)
    if status_file is not None:
        status_file.write_text(json.dumps(status, indent=2) + "\n")
    print_result(test.name, status, report)
    print(f"log of {test.name}: {log}")
    return int(result.outcome.exit_code)


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


async def _run(run: LocalRun, progress: Progress) -> LocalResult:
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        progress.interrupted()
        run.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    return await run.run()


def keep_report(result: LocalResult, folder: Path, name: str) -> Path | None:
    """Write the report below `folder`; return its path, or None when the run left none."""
    if not result.report_gzip:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{_stamp(result)}.json.gz"
    path.write_bytes(result.report_gzip)
    return path


def _stamp(result: LocalResult) -> str:
    moment_ns = result.report.times.finished_ns or time.time_ns()
    return datetime.fromtimestamp(moment_ns / 1e9, tz=UTC).strftime("%Y%m%dT%H%M%SZ")


def as_status(result: LocalResult) -> dict[str, object]:
    """Return what the resource's status would say, as far as a local run has it."""
    outcome = result.outcome
    parts = {
        "results": outcome.results_json,
        "load": outcome.load_json,
        "thresholds": outcome.thresholds_json,
        "summary": outcome.summary_json,
        "logs": outcome.logs_json,
    }
    return {
        "phase": "Finished",
        "finished": True,
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "message": outcome.message,
        "exitCode": outcome.exit_code,
        **{name: json.loads(text) for name, text in parts.items() if text},
        "findings": list(result.report.findings),
    }
