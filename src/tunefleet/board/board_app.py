"""Board application: the addresses of the board, and what is answered at each."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tunefleet.base.errors import TunefleetError
from tunefleet.base.status import State
from tunefleet.base.sweeps import SweepPaths
from tunefleet.board import board_acts, board_assets, run_files, run_query
from tunefleet.board.board_acts import Acts
from tunefleet.board.request_guard import Guard, GuardedApp
from tunefleet.board.run_list import RunList, RunRow
from tunefleet.board.run_query import RunQuery
from tunefleet.board.run_watch import RunWatch
from tunefleet.board.sweep_list import SweepList
from tunefleet.report import html_page, run_news
from tunefleet.report.run_news import Cursor

_LARGEST = 2**63  # of a number in a cursor


class Board:
    """What is shown of one outputs folder, and done to it. `outputs` is an absolute path without links."""

    def __init__(self, outputs: Path, read_only: bool = False) -> None:
        self.outputs, self._read_only = outputs, read_only
        self._watch = RunWatch(RunList(outputs))
        self._sweeps = SweepList(self._watch.runs)
        self.acts = Acts(outputs)

    def app(self, guard: Guard) -> ASGIApp:
        """The application of ASGI, behind `guard`."""
        routes = [
            Route("/", _page_of("list")),
            Route("/runs/{name}", _page_of("run")),
            Route("/sweeps/{name}", _page_of("sweep")),
            Route("/assets/{name}", _asset),
            Route("/api/runs", self._runs),
            Route("/api/sweeps", self._list_sweeps),
            Route("/api/acts", self._list_acts),
            Route("/api/runs/{name}", self._run),
            Route("/api/runs/{name}/news", self._news),
            Route("/api/runs/{name}/log", self._log),
            Route("/api/sweeps/{name}", self._sweep),
            Route("/api/runs/{name}/{act}", self._act_on_run, methods=["POST"]),
            Route("/api/sweeps/{name}/{act}", self._act_on_sweep, methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: _refused, TunefleetError: _failed, OSError: _failed}
        return GuardedApp(Starlette(routes=routes, exception_handlers=handlers), guard)

    # Lists

    def _runs(self, request: Request) -> Response:
        answer = run_query.answer(self._watch.rows().values(), _query(request.query_params))
        rows = [_row(row) for row in answer.rows]
        about = {"outputs": str(self.outputs), "progress": self._watch.runs.progress, **self._acting()}
        return _json({"rows": rows, "total": answer.total, "states": answer.states, **about})

    def _list_sweeps(self, request: Request) -> Response:
        return _json({"rows": [asdict(row) for row in self._sweeps.rows()]})

    def _list_acts(self, request: Request) -> Response:
        return _json({"rows": [asdict(act) for act in self.acts.acts()]})

    def _acting(self) -> dict[str, Any]:
        """Whether acts are possible, and the machine on which a run would start."""
        return {"may_act": not self._refusal_of_acts(), "host": socket.gethostname()}

    # One run

    def _run(self, request: Request) -> Response:
        row = self._row(request)
        view, cursor = run_news.first(row.run, row.status)
        standing = {"acts": _possible_acts(row), "ranks": row.run.ranks, **self._acting()}
        return _json({"run": asdict(view), "cursor": json.dumps(asdict(cursor)), **standing})

    def _news(self, request: Request) -> Response:
        row = self._row(request)
        news = run_news.news(row.run, row.status, _cursor(request.query_params.get("cursor", "")))
        cursor = json.dumps(asdict(news.cursor))  # a text: its numbers are larger than those of a script
        return _json({**asdict(news), "cursor": cursor, "acts": _possible_acts(row)})

    def _log(self, request: Request) -> Response:
        row = self._row(request)
        rank, offset = (_natural(request.query_params.get(name)) for name in ("rank", "offset"))
        path = run_files.log_of(row.run.paths, rank or 0)
        if path is None:
            return _json({"text": "", "offset": None, "file": ""})
        text, end = run_files.log_part(path, offset)
        return _json({"text": text, "offset": end, "file": path.name})

    def _row(self, request: Request) -> RunRow:
        """The run that is named, if everything that is read of it is in the folder."""
        name = request.path_params["name"]
        row = self._watch.runs.row(name)
        if row is None:
            raise HTTPException(404, "No run of that name.")
        strays = run_files.escapes(row.run.paths)
        if strays:
            raise HTTPException(403, f"{name}/{strays[0]} leads out of {self.outputs}, and is not read.")
        return row

    # One sweep

    def _sweep(self, request: Request) -> Response:
        paths = self._sweep_paths(request)
        self._watch.rows()
        page, version = self._sweeps.page(paths)
        if request.query_params.get("version") == version:
            return _json({"version": version})
        return _json({"version": version, "page": page, "searches": paths.definition.exists(), **self._acting()})

    def _sweep_paths(self, request: Request) -> SweepPaths:
        paths = self._sweeps.paths(request.path_params["name"])
        if paths is None:
            raise HTTPException(404, "No sweep of that name.")
        return paths

    # Acts

    async def _act_on_run(self, request: Request) -> Response:
        row, arguments = await run_in_threadpool(self._row, request), await _body(request)
        typed = board_acts.of_run(request.path_params["act"], row.run.paths.root, arguments)
        return await self._act(row.name, typed)

    async def _act_on_sweep(self, request: Request) -> Response:
        paths, arguments = await run_in_threadpool(self._sweep_paths, request), await _body(request)
        kind = request.path_params["act"]
        searches = paths.definition.exists()
        typed = (board_acts.of_sweep if searches else board_acts.of_run)(kind, paths.root, arguments)
        return await self._act(paths.root.name, typed)

    async def _act(self, target: str, typed: list[str]) -> Response:
        refusal = self._refusal_of_acts()
        if refusal:
            raise HTTPException(403, refusal)
        act = await run_in_threadpool(self.acts.start, target, typed)
        self._watch.look_soon()
        return _json(asdict(act))

    def _refusal_of_acts(self) -> str:
        if self._read_only:
            return "This board only shows: it was started with --read-only."
        is_writable = os.access(self.outputs, os.W_OK) and not os.statvfs(self.outputs).f_flag & os.ST_RDONLY
        return "" if is_writable else f"{self.outputs} cannot be written from here: this board only shows."


# Questions


def _query(parameters: Mapping[str, str]) -> RunQuery:
    states = frozenset(filter(None, parameters.get("state", "").split(",")))
    page, size = (_natural(parameters.get(name)) for name in ("page", "size"))
    descending = parameters.get("descending", "1") == "1"
    text, sort = parameters.get("filter", "")[:1000], parameters.get("sort", "updated")
    return RunQuery(text, states, sort, descending, page or 0, size or RunQuery.size)


def _natural(text: str | None) -> int | None:
    """A whole number from 0 on; None for what is none. Raises `HTTPException`."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HTTPException(400, "A whole number is expected.")
    return int(text)


def _cursor(text: str) -> Cursor:
    """As the page was given it. Raises `HTTPException` for anything else."""
    try:
        values = json.loads(text[:1000])
        numbers = {name: int(values[name]) for name in ("file", "offset", "step", "samples")}
        cursor = Cursor(seconds=float(values["seconds"]), **numbers)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise HTTPException(400, "No cursor of this board.") from None
    if not all(0 <= value < _LARGEST for value in asdict(cursor).values()):
        raise HTTPException(400, "No cursor of this board.")
    return cursor


async def _body(request: Request) -> dict[str, Any]:
    try:
        arguments = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is no JSON.") from None
    if not isinstance(arguments, dict):
        raise HTTPException(400, "The body is no JSON object.")
    return arguments


# Answers


def _page_of(kind: str) -> Any:
    def answer(request: Request) -> Response:
        return HTMLResponse(board_assets.page(kind))

    return answer


def _asset(request: Request) -> Response:
    content = board_assets.asset(request.path_params["name"])
    if content is None:
        raise HTTPException(404, "No such file.")
    return Response(content[0], media_type=content[1], headers={"Cache-Control": "private, max-age=300"})


def _row(row: RunRow) -> dict[str, Any]:
    run_status = row.status
    cells = {
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "model": row.model,
        "strategy": row.strategy,
        "evaluation": run_query.evaluated(row),
        "updated": row.updated,
    }
    if run_status:
        cells |= {"loss": run_status.loss, "step": run_status.step, "total_steps": run_status.total_steps}
        cells |= {"seconds_left": run_status.seconds_left if run_status.state.alive else None}
    return cells


def _possible_acts(row: RunRow) -> list[str]:
    """What may be asked for a run that stands so."""
    if row.status is None:
        return ["resume"]
    if not row.status.state.final:
        return ["cancel"]
    if row.status.state is State.FINISHED:
        return []
    return ["resume", "retry"] if row.status.state in (State.FAILED, State.PREEMPTED) else ["resume"]


def _json(content: Mapping[str, Any]) -> Response:
    return JSONResponse(html_page.finite(dict(content)))


def _refused(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _failed(request: Request, error: Exception) -> Response:
    """What a user could cause: a sweep that cannot be read, an act that is refused, a file that went away."""
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, TunefleetError) else 503)
