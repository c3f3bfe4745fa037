"""Does the board answer only its own pages, act only with its token, and never leave its folder?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from tests.board.boards import TOKEN_HEADER, Answer, ServedBoard, logged, made, served, total, wait_until
from tests.sweep.journals import SweepWriter
from tunefleet.base.status import State
from tunefleet.board.request_guard import Guard

SECRET = "the-users-own-secret"
CURSOR = json.dumps({"file": 0, "offset": 0, "seconds": 0, "step": 0, "samples": 0})


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs, a sweep, and links that lead out of the folder."""
    folder = tmp_path_factory.mktemp("board")
    outside, outputs = folder / "outside", folder / "outputs"
    made(outside, "private").log(0).parent.mkdir()
    (outside / "secret.txt").write_text(SECRET)
    (outside / "secret.jsonl").write_text(json.dumps({"step": 1, "question": SECRET, "train/loss": 1.0}) + "\n")
    paths = made(outputs, "run")
    logged(paths, 1, 40)
    paths.log(0).parent.mkdir()
    paths.log(0).write_text("step 1\nstep 2\n")
    (outputs / "linked").symlink_to(outside / "private")
    for name in ("samples.jsonl", "metrics.jsonl", "data.json", "plan.json", "status.json"):
        stray = made(outputs, f"stray-{name.partition('.')[0]}").root / name
        stray.unlink(missing_ok=True)
        stray.symlink_to(outside / "secret.jsonl")
    stray_log = made(outputs, "stray-log").log(0)
    stray_log.parent.mkdir()
    stray_log.symlink_to(outside / "secret.txt")
    (made(outputs, "stray-logs").root / "logs").symlink_to(outside)
    SweepWriter(outputs, "lr").finished({"optimizer.lr": "0.1"}, 1.5)
    (outputs / "sweeps" / "away").symlink_to(outside)
    return outputs


@pytest.fixture(scope="module")
def board(outputs: Path) -> Iterator[ServedBoard]:
    with served(outputs) as board:
        yield board


def refused(answer: Answer, status: int, reason: str) -> bool:
    assert (answer.status, reason in answer.json["error"]) == (status, True), answer.body
    return True


# The token and other sites


def test_control_the_boards_own_page_may_act(board: ServedBoard) -> None:
    own = f"http://127.0.0.1:{board.port}"
    act = board.ask("/api/runs/run/cancel", "POST", {}, Origin=own, Sec_Fetch_Site="same-origin").json
    done = wait_until(lambda: _ended(board, act["number"]), "the command")
    assert done["exit_code"] == 0
    assert done["output"] == "run: nothing to cancel, it is finished"


def _ended(board: ServedBoard, number: int) -> dict[str, object] | None:
    acts = [act for act in board.ask("/api/acts").json["rows"] if act["number"] == number]
    return acts[0] if acts[0]["exit_code"] is not None else None


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({TOKEN_HEADER: None}, 403, "token"),
        ({TOKEN_HEADER: "guess"}, 403, "token"),
        ({TOKEN_HEADER: ""}, 403, "token"),
        ({"Origin": "http://evil.example"}, 403, "Another site"),
        ({"Origin": "null"}, 403, "Another site"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "Another site"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "Another site"),
        ({"Sec-Fetch-Site": "same-site"}, 403, "Another site"),
        ({"Host": "evil.example"}, 421, "not one of the board's"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "not one of the board's"),
        ({"Host": "localhost:80@evil.example"}, 421, "not one of the board's"),
        ({"Host": "192.168.0.1"}, 421, "not one of the board's"),
        ({"Host": ""}, 421, "not one of the board's"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ({"Content-Type": "text/plain"}, 415, "application/json"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "application/json"),
        ({"Content-Type": None}, 415, "application/json"),
    ],
    ids=str,
)
def test_a_foreign_request_does_nothing(
    board: ServedBoard, headers: dict[str, str | None], status: int, reason: str
) -> None:
    before = board.ask("/api/acts").json
    answer = board.ask("/api/runs/run/cancel", "POST", {}, **headers)
    assert refused(answer, status, reason)
    assert "access-control-allow-origin" not in answer.headers
    assert board.ask("/api/acts").json == before


@pytest.mark.parametrize("path", ["/api/runs", "/api/runs/run", "/api/runs/run/log", "/api/sweeps/lr", "/api/acts"])
def test_nothing_of_a_run_is_shown_without_the_token(board: ServedBoard, path: str) -> None:
    """On a machine of several users everybody may ask loopback."""
    assert board.ask(path).status == 200
    assert refused(board.ask(path, **{TOKEN_HEADER: None}), 403, "token")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_acts_are_posts(board: ServedBoard, method: str) -> None:
    assert board.ask("/api/runs/run/cancel", method).status in (404, 405)
    assert board.ask("/api/sweeps/lr/stop", method).status in (404, 405)


def test_a_body_is_a_small_object(board: ServedBoard) -> None:
    assert board.ask("/api/runs/run/cancel", "POST", "[]").status == 400
    assert board.ask("/api/runs/run/cancel", "POST", "{").status == 400
    assert board.ask("/api/runs/run/cancel", "POST", "[" * 60_000).status == 400
    assert board.ask("/api/runs/run/cancel", "POST", '"' + "x" * 70_000 + '"').status == 413
    assert board.ask("/api/runs/run/cancel", "POST", {"trial": 1}).status == 400


@pytest.mark.parametrize("path", ["/", "/runs/run", "/sweeps/lr", "/assets/page.js", "/api/runs", "/nowhere"])
def test_every_answer_has_a_strict_policy(board: ServedBoard, path: str) -> None:
    headers = board.ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_a_name_for_this_address_is_no_way_around() -> None:
    """DNS rebinding needs a name: an exposed board answers to its own names and to addresses in numbers."""
    exposed = Guard(token="t", hosts=("localhost", "here"), exposed=True)
    loopback = Guard(token="t")

    def answers(guard: Guard, host: str) -> bool:
        return guard.refusal("GET", "/", Headers({"host": host})) is None

    assert all(answers(exposed, host) for host in ("here:80", "HERE", "10.0.0.1:80", "[fe80::1]:80", "localhost:1"))
    assert all(answers(loopback, host) for host in ("localhost:9000", "127.0.0.1", "[::1]:80"))
    assert not any(answers(exposed, host) for host in ("evil.example", "here.evil.example", "10.0.0.1.evil.example"))
    assert not any(answers(loopback, host) for host in ("10.0.0.1", "here", "[::1", "localhost:x", "0.0.0.0", "[::]"))


# Ways out of the folder


WAYS = "..,%2e%2e,%2e%2e%2foutside%2fprivate,..%2f..%2fetc,run%2f..%2frun,run%00,%00,linked,sweeps,outside,%2fetc,C:%5c"


@pytest.mark.parametrize("name", [*WAYS.split(","), "%ff%fe", "%ed%a0%80", ".", "*", "~", "a" * 5000, "--help"])
@pytest.mark.parametrize("kind", ["runs", "sweeps"])
def test_no_name_leads_out(board: ServedBoard, kind: str, name: str) -> None:
    for path in (f"/api/{kind}/{name}", f"/api/{kind}/{name}/log?rank=0", f"/api/{kind}/{name}/news?cursor={CURSOR}"):
        answer = board.ask(path.replace('"', "%22").replace(" ", "%20"))
        assert answer.status in (400, 404, 405), path
        assert SECRET.encode() not in answer.body
    assert board.ask(f"/api/{kind}/{name}/cancel", "POST", {}).status in (400, 404)


@pytest.mark.parametrize("path", ["/assets/..%2f__init__.py", "/assets/../../board_app.py", "/assets/%2fetc%2fpasswd"])
def test_assets_are_a_closed_list(board: ServedBoard, path: str) -> None:
    assert board.ask(path).status == 404


@pytest.mark.parametrize("name", ["samples", "metrics", "data", "logs"])
def test_links_out_of_the_folder_are_not_read(board: ServedBoard, name: str) -> None:
    answer = board.ask(f"/api/runs/stray-{name}")
    assert refused(answer, 403, "leads out of")
    assert board.ask(f"/api/runs/stray-{name}/log").status == 403
    assert SECRET.encode() not in answer.body


def test_a_linked_log_plan_or_status_counts_as_none(board: ServedBoard) -> None:
    assert board.ask("/api/runs/stray-log/log").json == {"text": "", "offset": None, "file": ""}
    listed = {row["name"]: row for row in board.ask("/api/runs?size=100").json["rows"]}
    assert listed["stray-status"]["state"] == "planned"
    assert "stray-plan" not in listed
    assert "linked" not in listed
    assert board.ask("/api/sweeps/away").status == 404
    assert board.ask("/api/runs/run/log").json["text"] == "step 1\nstep 2\n"  # the control


@pytest.mark.parametrize("rank", ["-1", "0/../../x", "../0", "1e3", "٣", "9" * 30])
def test_a_rank_is_a_number(board: ServedBoard, rank: str) -> None:
    assert board.ask(f"/api/runs/run/log?rank={rank.encode().hex() if not rank.isascii() else rank}x").status == 400


@pytest.mark.parametrize(
    "cursor", ["", "x", "[]", "{}", CURSOR.replace("0}", "-1}"), CURSOR.replace("0}", "1e999}"), "[" * 900]
)
def test_a_cursor_is_one_of_ours(board: ServedBoard, cursor: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in cursor.encode())
    assert refused(board.ask(f"/api/runs/run/news?cursor={quoted}"), 400, "cursor")


# News


def test_only_new_rows_come(board: ServedBoard, outputs: Path) -> None:
    paths = made(outputs, "grows", State.FINISHED)
    logged(paths, 1, 10)
    cursor = board.ask("/api/runs/grows").json["cursor"]
    quiet = _news(board, cursor)
    assert (quiet["curves"], quiet["restarted"], quiet["samples"]) == ({}, False, None)
    logged(paths, 11, 12)
    with open(paths.metrics, "a") as stream:
        stream.write('{"step": 13, "tra')
    grown = _news(board, cursor)
    assert grown["curves"]["train/loss"] == {
        "steps": [11, 12],
        "tokens": [1100, 1200],
        "seconds": [5.5, 6.0],
        "values": [3.45, 3.4],
    }
    assert json.loads(grown["cursor"])["offset"] == paths.metrics.stat().st_size - len('{"step": 13, "tra')

    rows = paths.metrics.read_bytes().splitlines(keepends=True)[:5]
    (paths.root / "new").write_bytes(b"".join(rows))
    (paths.root / "new").rename(paths.metrics)  # as a run does that resumes from step 5
    again = _news(board, grown["cursor"])
    assert again["restarted"]
    assert again["curves"]["train/loss"]["steps"] == [1, 2, 3, 4, 5]
    assert total(paths) == 5


def _news(board: ServedBoard, cursor: str) -> Any:
    quoted = "".join(f"%{byte:02x}" for byte in cursor.encode())
    return board.ask(f"/api/runs/grows/news?cursor={quoted}").json


def test_a_log_comes_in_whole_lines(board: ServedBoard, outputs: Path) -> None:
    paths = made(outputs, "talks")
    paths.log(0).parent.mkdir()
    lines = [f"line {n} ä \x1b[31mred\x1b[0m token=abcdef123456\n" for n in range(5000)]
    paths.log(0).write_text("".join(lines) + "half")
    first = board.ask("/api/runs/talks/log").json
    shown = first["text"].splitlines()
    assert shown[-1] == "line 4999 ä red token=***"
    assert len(first["text"]) < 70_000
    with open(paths.log(0), "a") as stream:
        stream.write(" whole\n")
    more = board.ask(f"/api/runs/talks/log?offset={first['offset']}").json
    assert more["text"] == "half whole\n"
    paths.log(0).write_text("anew\n")
    assert board.ask(f"/api/runs/talks/log?offset={more['offset']}").json["text"] == "anew\n"
