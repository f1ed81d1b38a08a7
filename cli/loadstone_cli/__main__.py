"""The commands and their options. Heavy imports stand inside the commands, so that --help answers at once."""

import sys
from pathlib import Path

import click

from loadstone_cli.outputs import take_any_text
from loadstone_runner.flavour import expected_flavour

_FILE = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path)
_SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the spec first, e.g. --set load.users=10. May be repeated.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loadstone", message=f"loadstone %(version)s ({expected_flavour()} request path)")
def main() -> None:
    """Load tests as a Kubernetes resource, and the same file on a laptop."""
    take_any_text()


@main.command()
@click.argument("file", type=_FILE)
@_SETTINGS
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("loadstone-results"),
    show_default=True,
    help="Folder for the report.",
)
@click.option("--name", help="Which LoadTest, when FILE holds several.")
@click.option(
    "--status", "status_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the status here, as JSON."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option(
    "--progress",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help="jsonl: standard output holds a JSON object for each second of the load, and last one for the outcome.",
)
@click.option(
    "--control",
    metavar="unix:PATH",
    help="Serve the control API at this socket while the run goes on: watch it, set its load, pause, stop.",
)
def run(  # noqa: PLR0913 each is an option of the command
    *,
    file: Path,
    settings: tuple[str, ...],
    results: Path,
    name: str | None,
    status_file: Path | None,
    quiet: bool,
    progress: str,
    control: str | None,
) -> None:
    """Run the LoadTest in FILE on this machine, with processes for pods.

    The exit code is the verdict: 0 passed, 99 a threshold broke, 97 inconclusive, 130 aborted, 1 error.
    Ctrl-C once stops new iterations and keeps the results; twice stops within ten seconds, and so do
    SIGTERM and a terminal that is closed (SIGHUP).
    """
    from loadstone_cli.interrupts import Interrupts

    with Interrupts() as interrupts:
        from loadstone_cli.rows import RowLines
        from loadstone_cli.run import Wanted, run_file, socket_path

        wanted = Wanted(
            settings=settings,
            results=results,
            name=name,
            status_file=status_file,
            quiet=quiet,
            rows=RowLines(sys.stdout) if progress == "jsonl" else None,
            control=None if control is None else socket_path(control),
        )
        code = run_file(file, wanted, interrupts)
    sys.exit(code)


@main.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the run ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines; default: all.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("loadstone-results"),
    show_default=True,
    help="Folder of the runs on this machine.",
)
@click.option("-n", "--namespace", help="Look in the cluster, in this namespace.")
@click.option("--context", help="Look in the cluster of this context.")
def logs(
    *, name: str, follow: bool, tail: int | None, results: Path, namespace: str | None, context: str | None
) -> None:
    """Print what the engines of the latest run of the LoadTest NAME have printed, each line behind its source.

    The newest run on this machine is shown, or without one the latest in the cluster, by kubectl: of a run that goes on
    what its master keeps, of one that has finished the end.
    """
    from loadstone_cli.logs import show_logs

    where = {"--namespace": namespace, "--context": context}
    kubectl = tuple(f"{option}={value}" for option, value in where.items() if value)
    sys.exit(show_logs(name, tail=tail, follow=follow, results=results, kubectl=kubectl, in_cluster=bool(kubectl)))


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("loadtest.yaml"))
@click.option("--name", default="my-test", show_default=True, help="Of the LoadTest.")
@click.option("--target", metavar="URL", default="http://127.0.0.1:8800", show_default=True, help="What to load.")
def init(*, file: Path, name: str, target: str) -> None:
    """Write a LoadTest to begin with into FILE (default: loadtest.yaml)."""
    from loadstone_cli.starter import write_starter

    sys.exit(write_starter(file, name=name, target=target))


@main.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@_SETTINGS
def validate(*, files: tuple[Path, ...], settings: tuple[str, ...]) -> None:
    """Say what is wrong with the LoadTests in FILES, before anything starts.

    Checks the fields, the thresholds, and that the script can be imported and has a user class.
    Exits 1 if anything is wrong.
    """
    from loadstone_cli.validate import validate_files

    sys.exit(validate_files(files, settings=settings))


@main.command()
@click.argument("script", type=click.Path(exists=True, dir_okay=False, readable=True))
@click.option("--target", metavar="URL", help="Base URL of the requests; default: the user class's host.")
@click.option(
    "-n", "--iterations", type=click.IntRange(min=1), default=1, show_default=True, help="How many the user does."
)
@click.option("--user", metavar="NAME", help="Which user class; default: the first one, or the one that has the task.")
@click.option("--task", metavar="NAME", help="Only this task: its name, or Class.Set.name.")
def debug(*, script: str, target: str | None, iterations: int, user: str | None, task: str | None) -> None:
    """Run one user of SCRIPT in the foreground and print each thing that it does.

    The script runs as plain Python, so breakpoint() and an editor's debugger work. Setup runs before, teardown after
    it; pauses are left out. Exits 0 if all went well, 1 if a request or a check failed or the script raised, 2 if the
    script cannot be run.
    """
    from loadstone.debugging import debug_file

    sys.exit(debug_file(script, user=user, target=target, iterations=iterations, task=task))


if __name__ == "__main__":
    main()
