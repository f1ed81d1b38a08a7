"""A platform of your own around Loadstone: a FastAPI application that starts, watches, steers and stops runs.

    python3 examples/target/server.py --port 8800 &
    pip install fastapi uvicorn 'loadstone[control]'
    uvicorn --app-dir examples/fastapi app:app --port 8080
    curl -d '{"users": 20, "duration": "30s"}' -H 'Content-Type: application/json' localhost:8080/runs
    curl -N localhost:8080/runs/1/rows                    # a line a second
    curl -d '{"users": 40}' -H 'Content-Type: application/json' localhost:8080/runs/1/load
    curl -X DELETE localhost:8080/runs/1                  # stops it, and says how it ended

Load is made by processes of their own: gevent is never imported here, nothing is patched, and what TLS or a script
costs never slows this application, or its rows. A run goes on if this process dies; it is found again at its socket.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from loadstone_client.asynchronous import LocalRun, start
from loadstone_client.errors import Refused, StartFailed, Unreachable

LOADTEST = Path(__file__).parent.parent / "quickstart.yaml"


class NewRun(BaseModel):
    """What may be chosen of a run."""

    target: str = "http://127.0.0.1:8800"
    users: int = Field(default=10, ge=1, le=10_000)
    duration: str = "30s"


class Load(BaseModel):
    """What a run is to reach."""

    users: int = Field(ge=1, le=10_000)


runs: dict[int, LocalRun] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Leave no run behind when the application is shut down."""
    yield
    await asyncio.gather(*(run.close() for run in runs.values()))


app = FastAPI(title="Load tests", lifespan=lifespan)


def run_of(number: int) -> LocalRun:
    if number not in runs:
        raise HTTPException(404, f"there is no run {number}")
    return runs[number]


@app.post("/runs", status_code=201)
async def start_run(new: NewRun) -> dict[str, int]:
    settings = {"load.target": new.target, "load.users": new.users, "load.duration": new.duration}
    try:
        run = await start(LOADTEST, settings=settings)
    except StartFailed as error:
        raise HTTPException(400, str(error)) from error
    number = len(runs) + 1
    runs[number] = run
    return {"run": number}


@app.get("/runs/{number}")
async def show(number: int) -> dict[str, object]:
    run = run_of(number)
    with suppress(Unreachable):  # it is just ending
        if not run.is_over:
            return asdict(await run.state())
    return asdict(await run.wait())


@app.get("/runs/{number}/rows")
async def rows(number: int, tier: Literal["1s", "10s"] = "1s") -> StreamingResponse:
    run = run_of(number)

    async def lines() -> AsyncGenerator[str, None]:
        async for row in run.watch(tier):
            yield json.dumps(asdict(row)) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@app.post("/runs/{number}/load", status_code=202)
async def set_load(number: int, load: Load) -> None:
    try:
        await run_of(number).set_load(users=load.users)
    except (Refused, Unreachable) as error:
        raise HTTPException(409, str(error)) from error


@app.post("/runs/{number}/{wish}", status_code=202)
async def pause(number: int, wish: Literal["pause", "resume"]) -> None:
    run = run_of(number)
    try:
        await (run.pause() if wish == "pause" else run.resume())
    except (Refused, Unreachable) as error:
        raise HTTPException(409, str(error)) from error


@app.delete("/runs/{number}")
async def stop(number: int) -> dict[str, object]:
    run = run_of(number)
    with suppress(Unreachable):  # it is over, or just ending
        await run.stop()
    return asdict(await run.wait())
