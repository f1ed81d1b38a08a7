"""A program starts a run and does not get it: nothing of it goes on, and nothing is left."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import pytest

import loadstone_client
import loadstone_client.launching
from loadstone_client import Run, StartFailed, asynchronous

QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart.yaml"
# Comes up as slowly as it likes, and says where it is.
SLOW = (sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
promise = pytest.mark.promise


@pytest.fixture(autouse=True)
def folders(monkeypatch):
    """Where temporary folders are made; its path is short, as a socket's has to be."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def started(folders: Path) -> int | None:
    """Return the process of the slow command, once it is there."""
    found = [log.read_text() for log in folders.glob("*/run.log")]
    return int(found[0]) if found and found[0].endswith("\n") else None


@promise("embedding")
def test_a_start_that_is_cancelled_leaves_no_run_behind(folders) -> None:
    async def story() -> int:
        starting = asyncio.create_task(asynchronous.start(QUICKSTART, command=SLOW))
        async with asyncio.timeout(30):
            while (process := started(folders)) is None:  # noqa: ASYNC110 (another process writes it)
                await asyncio.sleep(0.02)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        return process

    process = asyncio.run(story())

    assert not Path(f"/proc/{process}").exists()
    assert list(folders.iterdir()) == []


@promise("embedding")
def test_nor_does_one_that_is_cancelled_before_the_command_has_begun(folders, monkeypatch) -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def begin(*_: object, **__: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio, "create_subprocess_exec", begin)
        starting = asyncio.create_task(asynchronous.start(QUICKSTART, command=SLOW))
        await begun.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(story())

    assert list(folders.iterdir()) == []


@promise("embedding")
def test_a_setting_that_is_no_value_leaves_no_folder(folders) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        loadstone_client.start(QUICKSTART, settings={"load.users": object()}, command=SLOW)

    assert list(folders.iterdir()) == []


@promise("embedding")
def test_a_start_that_is_interrupted_leaves_no_run_behind(folders, monkeypatch) -> None:
    seen: list[int] = []

    def interrupt(_run: Run) -> None:
        deadline = time.monotonic() + 30
        while (process := started(folders)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        seen.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "state", interrupt)
    with pytest.raises(KeyboardInterrupt):
        loadstone_client.start(QUICKSTART, command=SLOW)

    assert not Path(f"/proc/{seen[0]}").exists()
    assert list(folders.iterdir()) == []


@promise("embedding")
@pytest.mark.parametrize(
    ("settings", "command", "words"),
    [
        ({}, ("/no/such/command",), "No such file or directory: '/no/such/command'"),
        ({"source.inline.content": "#" * 200_000}, SLOW, "Argument list too long"),
    ],
)
def test_a_command_that_cannot_be_started_is_told_as_such(folders, settings, command, words) -> None:
    for start in (loadstone_client.start, lambda *told, **more: asyncio.run(asynchronous.start(*told, **more))):
        with pytest.raises(StartFailed, match=words):
            start(QUICKSTART, settings=settings, command=command)

    assert list(folders.iterdir()) == []


@promise("embedding")
def test_a_folder_in_which_a_run_goes_on_is_not_given_to_another(folders) -> None:
    holder = loadstone_client.launching.make_place(folders)
    with holder.begin() as log:
        log.write(b"mine\n")
        log.flush()
        with pytest.raises(StartFailed, match="another run goes on in"):
            loadstone_client.start(QUICKSTART, folder=folders, command=SLOW)

    assert holder.log.read_text() == "mine\n"
