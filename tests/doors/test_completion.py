"""Does Tab offer what Hydra knows, in bash, zsh and fish, quickly, and without running anything?"""

from __future__ import annotations

import os
import pty
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra.core.object_type import ObjectType

from tunefleet.doors import arguments, completion, compose
from tunefleet.doors.shells import SCRIPTS

ROOT = Path(__file__).parents[2]
RUN = "opt-demo"
SECONDS = 0.3  # of computing, for each Tab


def offered(line: str) -> set[str]:
    return set(completion.candidates(line))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with configs of its own, a run and a sweep."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/notes", "experiment/first", "experiment/ablation/small", "db/one", "local/cluster"):
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    run = tmp_path / "outputs" / RUN
    run.mkdir(parents=True)
    (run / "plan.json").write_text("{}")
    (tmp_path / "outputs" / "sweeps" / "sweep-1a2b3c4d").mkdir(parents=True)
    return tmp_path


# Against Hydra's own repository


@pytest.mark.parametrize("words", [[], ["--config-dir", "extra"], ["hydra.searchpath=[file://extra]"]], ids=str)
def test_groups_and_choices_are_those_of_hydras_repository(project: Path, words: list[str]) -> None:
    (project / "extra" / "experiment" / "deep" / "deeper").mkdir(parents=True)
    (project / "extra" / "experiment" / "deep" / "deeper" / "last.yaml").write_text("{}\n")
    loader = compose.opened(arguments.parse(words))
    line = " ".join(["tunefleet train", *words])
    for group in completion.groups(completion.search_path(words)):
        expected = {f"{group}={choice}" for choice in loader.get_group_options(group, ObjectType.CONFIG)}
        assert expected <= offered(f"{line} {group}=")
        assert f"{group}=" in offered(f"{line} {group}")
    hydra_groups = set(loader.list_groups("")) - {"hydra", "local"}
    assert {group.split("/")[0] for group in completion.groups(completion.search_path(words))} == hydra_groups


def test_choices_below_a_folder_and_of_a_sweep(project: Path) -> None:
    assert "experiment=ablation/small" in offered("tunefleet train experiment=ab")
    assert offered("python train.py -m parallel=ddp,zero1") == {"parallel=ddp,zero1"}
    assert "data=notes" in offered("tunefleet plan data=")


# Each kind of word


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("tunefleet ", {"train", "plan", "data", "status", "cancel", "completion"}),
        ("tunefleet ca", {"cancel"}),
        ("tunefleet data ", {"show", "stats", "prepare", "batch"}),
        ("tunefleet --ver", {"--version"}),
        ("tunefleet train opt", {"optimizer=", "optimizer."}),
        ("tunefleet train optimizer.l", {"optimizer.lr="}),
        ("tunefleet train +optimizer.l", {"+optimizer.lr="}),
        ("python train.py data.clean.d", {"data.clean.duplicates="}),
        ("python3 ./train.py train.precision=b", {"train.precision=bf16"}),
        ("python -m tunefleet plan data.packing=", {"data.packing=true", "data.packing=false"}),
        ("tunefleet train train.micro_batch=a", {"train.micro_batch=auto"}),
        ("tunefleet train --cfg ", {"job", "hydra", "all"}),
        ("tunefleet train --config-d", {"--config-dir"}),
        ("tunefleet train --config-dir co", {"conf/"}),
        ("tunefleet train data.path=con", {"data.path=conf/"}),
        ("tunefleet plan --mach", {"--machine"}),
        ("tunefleet ls --state fini", {"finished"}),
        ("tunefleet ls mod", {"model=", "model."}),
        ("tunefleet completion ", {"bash", "zsh", "fish"}),
        ("tunefleet status swe", {"sweep-1a2b3c4d"}),
        ("tunefleet train db", {"db="}),
        ("tunefleet bo", {"board"}),
        ("tunefleet board out", {"outputs/"}),
        ("tunefleet board --", {"--host", "--port", "--expose", "--read-only"}),
    ],
)
def test_what_is_offered(project: Path, line: str, some: set[str]) -> None:
    actual = offered(line)
    assert some <= actual
    prefix = line.rsplit(" ", 1)[1]
    assert all(candidate.startswith(prefix) for candidate in actual)


def test_what_belongs_to_data_alone_is_offered_behind_it() -> None:
    assert offered("tunefleet data ") == {"show", "stats", "prepare", "batch"}


def test_runs_are_offered_by_name(project: Path) -> None:
    for command in ("status", "logs", "cancel", "resume", "export", "chat", "data batch"):
        assert RUN in offered(f"tunefleet {command} ")
    assert RUN in offered(f"tunefleet --outputs {project}/outputs status {RUN[:2]}")


@pytest.mark.parametrize("line", ["tunefleet train nothing=", "ls -l ", "tunefleet", "", "tunefleet nope x"])
def test_nothing_is_offered_where_nothing_fits(project: Path, line: str) -> None:
    assert offered(line) == set()


# The shells themselves


def environment(folder: Path) -> dict[str, str]:
    """With a `tunefleet` of this tree first on the path."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "tunefleet").write_text(f'#!/bin/sh\nexec {sys.executable} -m tunefleet "$@"\n')
    for name in ("python", "python3"):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    shutil.copy(ROOT / "train.py", folder / "train.py")
    (folder / "other.py").write_text("print('must not run')\nopen('ran', 'w')\n")
    path = f"{programs}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(folder), "PYTHONPATH": str(ROOT / "src")}


LINES = {
    "tunefleet can": {"cancel"},
    "tunefleet train parallel=zero1": {"parallel=zero1"},
    "tunefleet train optimizer.wei": {"optimizer.weight_decay="},
    "python train.py experiment=abl": {"experiment=ablation/small"},
    "tunefleet status sweep-1": {"sweep-1a2b3c4d"},
}


def bash(lines: Sequence[str], folder: Path, env: dict[str, str]) -> list[set[str]]:
    """What bash's own completion machinery puts into COMPREPLY, with what it had cut off before it."""
    actual = []
    for line in lines:
        script = f"""
            eval "$(tunefleet completion bash)"
            COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=($COMP_LINE)
            COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
            $(complete -p ${{COMP_WORDS[0]}} | sed 's/.*-F \\([^ ]*\\) .*/\\1/') ${{COMP_WORDS[0]}}
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(["bash", "--norc", "-c", script], cwd=folder, env=env, capture_output=True, text=True)
        cut = line.rsplit(" ", 1)[1].rpartition("=")
        actual.append({f"{cut[0]}{cut[1]}{reply}".strip() for reply in done.stdout.splitlines() if reply.strip()})
    return actual


ZSH = r"""
PS1=; autoload -Uz compinit; compinit -u; eval "$(tunefleet completion zsh)"
show() { print -r -- "$BUFFER" >>$SHOWN; BUFFER= }; zle -N show; bindkey "^I" complete-word; bindkey "^G" show
"""


def zsh(lines: Sequence[str], folder: Path, env: dict[str, str]) -> list[set[str]]:
    """The last word of zsh's line after Tab, typed into a terminal."""
    shown = folder / "shown"
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], cwd=folder, env={**env, "SHOWN": str(shown)}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    try:
        os.write(ours, ZSH.encode())
        for number, line in enumerate(lines, 1):
            os.write(ours, f"{line}\t\x07".encode())
            wait_for(lambda number=number: shown.exists() and len(shown.read_text().splitlines()) == number, ours)
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
        os.close(theirs)
    return [{line.split()[-1]} for line in shown.read_text().splitlines()]


def wait_for(happened: Callable[[], bool], terminal: int) -> None:
    """Reads what the terminal prints, or the shell would wait for us, until it has happened."""
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 65536)


def fish(lines: Sequence[str], folder: Path, env: dict[str, str]) -> list[set[str]]:
    """What `complete -C` answers."""
    script = "tunefleet completion fish | source; for line in $argv; complete -C $line; echo ----; end"
    done = subprocess.run(["fish", "-N", "-c", script, *lines], cwd=folder, env=env, capture_output=True, text=True)
    return [set(part.split()) for part in done.stdout.split("----\n")[:-1]]


@pytest.mark.parametrize("shell", [bash, zsh, fish], ids=lambda shell: shell.__name__)
def test_each_shell_completes(shell: object, project: Path) -> None:
    assert callable(shell)
    if not shutil.which(shell.__name__):
        pytest.skip(f"{shell.__name__} is not on this machine")
    assert shell(list(LINES), project, environment(project)) == list(LINES.values())


@pytest.mark.parametrize("shell", [bash, fish], ids=lambda shell: shell.__name__)
def test_a_script_of_somebody_else_is_never_run(shell: object, project: Path) -> None:
    assert callable(shell)
    if not shutil.which(shell.__name__):
        pytest.skip(f"{shell.__name__} is not on this machine")
    (project / "foreign").mkdir()
    (project / "foreign" / "train.py").write_text("open('ran', 'w')\n")
    shell(["python other.py par", "python foreign/train.py par"], project, environment(project))
    assert not (project / "ran").exists()


def test_hydras_own_way_to_install_it(project: Path) -> None:
    for shell, script in SCRIPTS.items():
        command = [sys.executable, str(ROOT / "train.py"), "-sc", f"install={shell}"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == script


# How long it takes


@pytest.mark.parametrize(
    "program", [["-m", "tunefleet", "completion", "query"], [str(ROOT / "train.py"), "-sc", "query=bash"]]
)
@pytest.mark.parametrize("prefix", ["", "parallel=", "optimizer.l", "train.precision="])
def test_a_tab_takes_less_than_three_tenths_of_a_second(project: Path, program: list[str], prefix: str) -> None:
    """The least of five: a neighbour on the same core adds to what the clock of a process counts."""
    assert min(_cpu_seconds([sys.executable, *program], prefix) for _ in range(5)) < SECONDS


def _cpu_seconds(command: list[str], prefix: str) -> float:
    previous = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        env={**os.environ, "COMP_LINE": f"tunefleet train {prefix}"},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout
    return after.ru_utime + after.ru_stime - previous.ru_utime - previous.ru_stime


def test_nothing_of_hydra_is_imported_for_a_tab(project: Path) -> None:
    """Control: the import alone would take longer."""
    code = "import sys; from tunefleet.doors.cli import main; main(['completion', 'query'])\n"
    code += "print(*({'hydra', 'omegaconf', 'torch', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "COMP_LINE": "tunefleet train parallel=z"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "parallel=zero3" in done.stdout
    assert done.stderr.strip() == ""
