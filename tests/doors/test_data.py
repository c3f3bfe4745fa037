"""Does `tunefleet data` show what is learnt: in colour, without a terminal, as a page, and as numbers?"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from tests.data.read.test_hub import download
from tests.doors.test_commands import types
from tunefleet.base.errors import ConfigError
from tunefleet.doors import cli, compose, data, highlight, unchanged
from tunefleet.plan import Machine, make
from tunefleet.runs.data_preview import RowPreview

NASTY = "<script>alert('1')</script> & \x1b[31mred"
ROWS = [{"prompt": f"Row {i}?", "completion": f"tells {i}"} for i in range(20)]
LOOK = RowPreview("a.jsonl:1", (("Question:", False), (" answer</s>", True), ("\nmore", False)), 9, 3, truncated=True)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": NASTY, "completion": "Yes 好."}, *ROWS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["data=jsonl", "data.path=rows.jsonl", "data.template=plain", "data.tokenizer=demo"]


def output(capsys: pytest.CaptureFixture[str], *typed: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(typed)
    out, err = capsys.readouterr()
    assert (caught.value.code or 0) == code, err
    return err if code else out


def learnt(text: str) -> list[str]:
    return re.findall("\u27e6(.*?)\u27e7", text, re.DOTALL)


def test_rows_are_shown_with_what_is_learnt_in_brackets(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output(capsys, "data", "show", *words, "-n", "3")
    assert learnt(shown) == [" Yes 好.</s>", " tells 0</s>", " tells 1</s>"]
    assert "rows.jsonl:1: " in shown
    assert "rows.jsonl:4" not in shown


def test_what_is_learnt_follows_the_settings(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "data", "show", "-n", "2", *words, "data.train_on=all")
    assert len(learnt(shown)) == 2
    assert "Row 0?" in learnt(shown)[1]


def test_a_row_does_not_command_the_terminal(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "data", "show", *words)
    assert "\x1b" not in shown
    assert "\u241b[31mred" in shown


def test_a_page_escapes_everything(words: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert output(capsys, "data", "show", *words, "--html", "rows.html").strip() == "rows.html"
    page = (tmp_path / "rows.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert NASTY.replace("\x1b", "\u241b") in unescape(page)
    assert next(unescape(mark) for mark in re.findall("<mark>(.*?)</mark>", page)) == " Yes 好.</s>"


def test_rows_that_training_refuses_are_shown(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One looks at data because something is wrong with them."""
    cut = [*words, "train.sequence_length=8", "train.max_steps=2"]
    assert "no conversation has loss tokens" in output(capsys, "data", "stats", *cut, code=2)
    shown = output(capsys, "data", "show", *cut)
    assert ", 0 in the loss, cut" in shown


def test_numbers_are_those_of_the_data(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    printed = output(capsys, "data", "stats", *words)
    train, validation = printed.split("\nvalidation\n")
    assert re.search(r"^read +19 conversations, 0 dropped", train, re.MULTILINE)
    assert re.search(r"^read +2 conversations", validation, re.MULTILINE)
    assert re.search(r"% filled, .*% padding \(.*% filled without packing\)", train)
    bars = [int(row.split()[3]) for row in train.splitlines() if re.match(r" +\d+ - \d+", row)]
    assert sum(bars) == 2 * 19  # every conversation stands in both histograms


def test_padding_is_told_for_each_way_to_group(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert not re.search("^batches", output(capsys, "data", "stats", *words), re.MULTILINE)
    unpacked = [*words, "data.packing=false", "train.micro_batch=2", "train.global_batch=8"]
    printed = re.search(r"^batches +padding (.*)$", output(capsys, "data", "stats", *unpacked), re.MULTILINE)
    assert printed
    shares = {way: float(share) for share, way in re.findall(r"([\d.]+)% with (\w+)", printed[1])}
    assert set(shares) == {"never", "step", "window"}
    assert shares["never"] > shares["step"] > 0


def test_a_question_for_no_rows_is_refused(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "-n 0: there is nothing to show" in output(capsys, "data", "show", *words, "-n", "0", code=2)


def places(shown: str) -> list[int]:
    return [int(line) for line in re.findall(r"^--- \S*?\.jsonl:(\d+)", shown, re.MULTILINE)]


def test_rows_are_shown_from_the_first_on_or_from_a_number(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those that are held out for validation: of these 21, two."""
    assert places(output(capsys, "data", "show", *words, "-n", "30")) == list(range(1, 22))
    assert places(output(capsys, "data", "show", *words)) == [1, 2, 3, 4, 5]
    assert places(output(capsys, "data", "show", *words, "--row", "21")) == [21]
    assert places(output(capsys, "data", "show", "--row", "3", "-n", "2", *words)) == [3, 4]


def test_rows_that_are_not_there_are_one_line(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    for typed, complaint in (
        (["--row", "22"], "tunefleet: --row 22, --split train: there are 21 rows. Use 1 to 21.\n"),
        (["--row", "0"], "tunefleet: --row 0: rows are counted from 1.\n"),
        (["--row", "1", "--random", "1"], "tunefleet: --row and --random: a row is named or drawn."),
        (["--split", "test"], "tunefleet: --split test: there is none. Splits: train, validation.\n"),
        (["--split", "validation", "data.validation_rows=0"], "--split validation: there is none. Splits: train.\n"),
    ):
        shown = output(capsys, "data", "show", *words, *typed, code=2)
        assert complaint in shown
        assert shown.count("\n") == 1


def test_rows_are_drawn_at_random(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    drawn = [places(output(capsys, "data", "show", "--random", seed, "-n", "4", *words)) for seed in "1123"]
    assert drawn[0] == drawn[1]
    assert len({tuple(places) for places in drawn}) == 3
    assert all(len(set(actual)) == 4 and actual == sorted(actual) for actual in drawn)
    shown = output(capsys, "data", "show", "-n", "4", "--random", *words)  # which is no seed
    seed = re.findall(r"^drawn with --random (\d+)$", shown, re.MULTILINE)
    assert places(shown) == places(output(capsys, "data", "show", "-n", "4", "--random", *seed, *words))


def test_validation_rows_are_those_of_the_run(
    words: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = output(capsys, "data", "show", "--split", "validation", *words)
    output(capsys, "data", "prepare", *words, "data.cache=cache")
    (examples,) = (tmp_path / "cache").glob("*/validation/examples.json*")
    assert len(learnt(shown)) == 2
    assert all(json.dumps(text.removesuffix("</s>").strip())[1:-1] in examples.read_text() for text in learnt(shown))
    (tmp_path / "unseen.jsonl").write_text(json.dumps(ROWS[3]) + "\n")
    own = [*words, "data.validation_path=unseen.jsonl"]
    assert learnt(output(capsys, "data", "show", "--split", "validation", *own)) == [" tells 3</s>"]


def test_a_row_that_is_left_out_says_why(
    words: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    row = json.dumps(ROWS[0]) + "\n"
    (tmp_path / "rows.jsonl").write_text(row + "{\n" + row + json.dumps(ROWS[1]) + "\n")
    more_overrides = [*words, "data.on_bad_row=skip", "data.clean.duplicates=exact"]
    assert "rows.jsonl:2: broken JSON" in output(capsys, "data", "show", *more_overrides, "--row", "2", code=2)
    assert "--row 3: data.clean leaves it out" in output(capsys, "data", "show", *more_overrides, "--row", "3", code=2)
    assert places(output(capsys, "data", "show", *more_overrides)) == [1, 4]


def test_it_is_marked_where_a_row_is_cut(
    words: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The figures are the difference to the whole row."""
    conversation = {"prompt": "Say it.", "completion": " ".join(f"w{number}" for number in range(40))}
    (tmp_path / "rows.jsonl").write_text(json.dumps(conversation) + "\n")
    complete = output(capsys, "data", "show", *words, "train.sequence_length=256")
    tokens = int(re.findall(r": (\d+) tokens", complete)[0])
    assert "cut" not in complete
    cut = output(capsys, "data", "show", *words, "train.sequence_length=48")
    assert re.findall(r"\[\u2702 (\d+) tokens cut\]", cut) == [str(tokens - 48)]
    previous, after = cut.split(f"[\u2702 {tokens - 48} tokens cut]")
    assert "w0 w1" in previous
    assert after.rstrip().endswith("w39</s>\u27e7")  # the middle of an answer is what goes
    split = output(capsys, "data", "show", *words, "train.sequence_length=48", "data.long_rows=split")
    assert re.findall(r"part (\d)", split) == [str(n) for n in range(1, -(-(tokens - 1) // 47) + 1)]
    drop = output(capsys, "data", "show", *words, "train.sequence_length=48", "data.long_rows=drop")
    assert f"0 tokens, 0 in the loss, left out: too long\n[\u2702 {tokens} tokens cut]" in drop


def test_looking_needs_no_deepspeed(words: Sequence[str]) -> None:
    done = types("data", "show", *words, "-n", "1", before="import sys; sys.modules['deepspeed'] = None\n")
    assert done.returncode == 0, done.stderr
    assert learnt(done.stdout) == [" Yes 好.</s>"]


def test_a_mixture_is_shown_as_it_is_trained_on(
    words: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Tools and weights from one source, plain text from the other; a bad row is left out."""
    tool = {"name": "weather", "parameters": {}}
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "weather", "arguments": {}}]}
    conversation = [{"role": "user", "content": "a?"}, call, {"role": "assistant", "content": "no", "weight": 0}]
    row = json.dumps({"messages": conversation, "tools": [tool]})
    (tmp_path / "chats.jsonl").write_text(f"{row}\n{{\n")
    (tmp_path / "tales.txt").write_text("Once {upon} a time.\n")
    mix = "data.mix=[{path: chats.jsonl}, {path: tales.txt}]"
    more_overrides = [words[-1], "data=mix", mix, "data.template=chatml", "train.sequence_length=256"]
    assert "chats.jsonl:2: broken JSON" in output(capsys, "data", "show", *more_overrides, code=2)
    more_overrides.append("data.on_bad_row=skip")
    assert learnt(output(capsys, "data", "show", *more_overrides)) == [
        '<tool_call>{"name": "weather", "arguments": {}}</tool_call><|im_end|></s>',
        "Once {upon} a time.</s>",
    ]
    assert re.search(
        r"^read +2 conversations, 0 dropped", output(capsys, "data", "stats", *more_overrides), re.MULTILINE
    )


def test_a_data_set_of_the_hub_is_shown(
    words: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    download(tmp_path, {"train.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS)})
    shown = output(capsys, "data", "show", *words, "data.path=hub:me/toys/train.jsonl", "-n", "1")
    assert learnt(shown) == [" tells 0</s>"]


# --- how a row is shown


def test_a_page_marks_cuts() -> None:
    row = RowPreview("a", (("<q>", False), ("b", True)), 2, 1, truncated=True, cuts=((1, 1), (2, 1200)))
    assert "&lt;q&gt;<del>[\u2702 1 token cut]</del><mark>b</mark><del>[\u2702 1,200 tokens cut]</del>" in (
        highlight.page("mine", [row])
    )


def test_a_terminal_shows_colours_and_no_brackets() -> None:
    console = Console(force_terminal=True, color_system="standard", width=80)
    with console.capture() as captured:
        console.print(highlight.text(LOOK, colours=True))
    shown = captured.get()
    assert re.search("\x1b\\[[0-9;]*32[0-9;]*m answer</s>", shown)
    assert not re.search("\x1b\\[[0-9;]*32[0-9;]*mQuestion", shown)
    assert "\u27e6" not in shown


def test_a_row_says_where_it_stands_and_whether_it_was_cut() -> None:
    assert highlight.text(LOOK, colours=False).plain == (
        "--- a.jsonl:1: 9 tokens, 3 in the loss, cut\nQuestion:\u27e6 answer</s>\u27e7\nmore\n"
    )


def test_data_are_prepared_before_the_run_and_looked_at_again(
    words: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shared = [*words, "data.cache=cache"]
    printed = output(capsys, "data", "prepare", *shared)
    assert re.search(r"^data +.*: 19 conversations in ", printed, re.MULTILINE)
    [folder] = re.findall(r"^saved to +(\S+), prepared in ", printed, re.MULTILINE)
    assert f"{folder}, found there, every byte as it was written, in " in output(capsys, "data", "prepare", *shared)
    path = tmp_path / folder / "train" / "tokens.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert f"{folder}, prepared in" in output(capsys, "data", "prepare", *shared)
    assert "no conversation has loss tokens" in output(
        capsys, "data", "prepare", *words, "train.sequence_length=8", code=2
    )


def test_preparing_needs_no_deepspeed(words: Sequence[str]) -> None:
    done = types("data", "prepare", *words, before="import sys; sys.modules['deepspeed'] = None\n")
    assert done.returncode == 0, done.stderr
    assert "prepared in" in done.stdout


def test_a_page_replaces_pages_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    data.expect_free(page)
    page.write_text(highlight.page("mine", []), encoding="utf-8")
    data.expect_free(page)
    for content in (b"<!DOCTYPE html>\n<p>my thesis", b"\xff\x00", b""):
        page.write_bytes(content)
        with pytest.raises(ConfigError, match=r"--html .*page\.html: is there already"):
            data.expect_free(page)
    with pytest.raises(ConfigError, match="is there already"):
        data.expect_free(tmp_path)


# The rows of a step


def planned(words: Sequence[str]) -> Path:
    """The directory of a run that is planned, and was never started."""
    typed = [*words, "name=run", "data.packing=false", "train.micro_batch=2", "train.max_steps=3", "parallel=single"]
    plan = unchanged.recorded(make(compose.from_overrides(typed), Machine(cores=1)))
    plan.save()
    return plan.paths.root


def test_the_rows_of_a_step_to_come_are_listed(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    planned(words)
    printed = output(capsys, "data", "batch", "run", "--step", "2").splitlines()
    assert printed[0] == "step 2 of run: 2 rows; not trained yet: the run is at step 0"
    assert printed[1].split() == ["rank", "micro-batch", "sequence", "row"]
    assert all(re.fullmatch(r"0 +0 +\d+ +\S+/rows\.jsonl:\d+", line) for line in printed[2:])
    assert len(set(printed[2:])) == 2


def test_steps_that_are_not_there_are_one_line(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    planned(words)
    for step, complaint in (
        ("4", "tunefleet: run: has no step 4. Its steps are 1 to 3.\n"),
        ("0", "tunefleet: --step 0: steps are counted from 1.\n"),
        ("x", "tunefleet: argument --step: invalid int value: 'x'."),
    ):
        shown = output(capsys, "data", "batch", "run", "--step", step, code=2)
        assert shown.startswith(complaint)
        assert shown.count("\n") == 1


def test_rows_that_have_changed_since_are_one_line(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    run = planned(words)
    content = Path("rows.jsonl").read_text()
    Path("rows.jsonl").write_text(content.replace("tells 7", "tells 8"))
    shown = output(capsys, "data", "batch", "run", "--step", "1", code=2)
    assert "run: files that it reads are not what they were at its start: data " in shown
    assert "/rows.jsonl: SHA-256 " in shown
    assert shown.count("\n") == 1
    Path("rows.jsonl").write_text(content)
    card = {"conversations": 18, "sequences": 18, "tokens": 1, "loss_tokens": 1}
    (run / "data.json").write_text(json.dumps(card))  # of the same files, prepared otherwise
    shown = output(capsys, "data", "batch", "run", "--step", "1", code=2)
    assert "were 18 conversations, 18 sequences, 1 tokens, 1 loss tokens when it was trained" in shown
    assert shown.count("\n") == 1
