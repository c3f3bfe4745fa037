"""What can be seen of a configuration besides the configuration: its plan, its parts as a run builds them, its job.

Each observer takes a configuration and a folder of its own, and returns plain values. None reads `plan.config`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.shared import tiny_tokenizer
from tunefleet.base.status import Cause
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.contracts import RunState, StepResult
from tunefleet.data.prepare import prepare
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.evaluation.generation import Answer
from tunefleet.launch import batch_script, job_batch, local, requeue
from tunefleet.launch.attempts import Attempt
from tunefleet.launch.submission import Submission
from tunefleet.optim.build_optimizer import build_optimizer
from tunefleet.optim.schedules import learning_rate
from tunefleet.plan import Machine, make
from tunefleet.plan.choose import fit_check, on_oom
from tunefleet.plan.estimate.work import work
from tunefleet.plan.horizon import horizon
from tunefleet.plan.paths import data_files
from tunefleet.plan.processes.slots import share
from tunefleet.runs import run_engine, run_summary, validation
from tunefleet.runs.checkpoint_files import checkpoint_store
from tunefleet.runs.deciding_metrics import DecidingMetrics
from tunefleet.runs.inputs import of_source, training_batches
from tunefleet.runs.trainable_model import build_model
from tunefleet.tracking import wandb_server
from tunefleet.tracking.wandb import WandbSink
from tunefleet.train.spikes import Spikes

Observer = Callable[[RunConfig, Path], Any]
ROWS = 1000
SINGLE_PROCESS: Any = SingleProcess()
CPU = Machine(gpus=0, cores=8, compiler=True)
GPUS = Machine(gpus=8, cores=8, compiler=True)
_HASHED = ("config", "identity", "name", "run_dir", "contents")  # they hold the configuration, or a hash of it


@cache
def tokenizer() -> Any:
    """The same for all observers: none changes it."""
    return tiny_tokenizer()


def planned(config: RunConfig, folder: Path, machine: Machine = CPU) -> Any:
    """Every decision of the plan, and its lengths in steps; without what the configuration is only copied into."""
    plan = make(config, machine)
    decided = {key: value for key, value in dump(plan).items() if key not in _HASHED}
    return decided, asdict(horizon(plan, ROWS))


def on_gpus(config: RunConfig, folder: Path) -> Any:
    """The same on a machine with eight of them."""
    return planned(config, folder, GPUS)


def named(config: RunConfig, folder: Path) -> Any:
    """The run's name without the digits of its identity, its directory, and what is said of it before the start."""
    plan = make(config, CPU)
    digits = plan.identity[:8]
    texts = [plan.name, plan.run_dir, *(f"{key}: {value}" for key, value in plan.summary().items())]
    return [text.replace(digits, "") for text in texts]


def prepared(config: RunConfig, folder: Path) -> Any:
    """Tokens, learning tokens and rows of every data set, and what was left out."""
    plan = make(config, CPU)
    found = prepare(plan.config.data, tokenizer(), plan.config.train.sequence_length)
    sets = {"train": found.train, **found.validation}
    counted = found.bad_rows, dict(found.removed), dict(found.unread)
    return {name: _contents(data) for name, data in sets.items()}, counted


def tested(config: RunConfig, folder: Path) -> Any:
    """The rows to test on."""
    plan = make(config, CPU)
    source = data_files.test(plan.config.data)
    return source and _contents(of_source(plan, source, "test", tokenizer()))


def _contents(data: Any) -> Any:
    arrays = [getattr(data, key).tolist() for key in ("tokens", "loss_mask", "starts", "packs", "bounds")]
    return arrays, [(example.prompt, example.answer) for example in data.examples]


def batches(config: RunConfig, folder: Path) -> Any:
    """The tokens of the first steps, as a rank reads them."""
    plan = make(config, CPU)
    data = prepare(plan.config.data, tokenizer(), plan.config.train.sequence_length)
    read: Any = SimpleNamespace(data=data, tokenizer=tokenizer())
    taken = training_batches(plan, SINGLE_PROCESS, read, RunState()).take(plan.batch.accumulation)
    return [batch.tokens.tolist() for batch in taken]


def cached(config: RunConfig, folder: Path) -> Any:
    """The folder of prepared data."""
    plan = make(config, CPU)
    found = prepare(plan.config.data, tokenizer(), plan.config.train.sequence_length)
    return str(found.folder.parent)


def built(config: RunConfig, folder: Path) -> Any:
    """The model as a run has it: its configuration, weights, what learns, every layer with its dropout."""
    model = build_model(make(config, CPU), None)
    weights = {
        name: (float(weight.detach().double().sum()), weight.requires_grad) for name, weight in model.named_parameters()
    }
    scales = {name: module.scaling for name, module in model.named_modules() if hasattr(module, "scaling")}
    settings = {key: value for key, value in model.config.to_dict().items() if key != "_name_or_path"}
    return weights, repr(model), repr(settings), repr(scales), model.is_gradient_checkpointing


def updated(config: RunConfig, folder: Path) -> Any:
    """The optimizer's groups with all their constants."""
    make(config, CPU)
    model = torch.nn.ModuleDict({"e": torch.nn.Embedding(3, 4), "l": torch.nn.Linear(4, 4)})
    made = build_optimizer(config.optimizer, model)
    groups = [{**group, "params": [tuple(weight.shape) for weight in group["params"]]} for group in made.param_groups]
    return type(made).__name__, repr(groups)


def rates(config: RunConfig, folder: Path) -> Any:
    """The learning rate of every step."""
    steps = horizon(make(config, CPU), ROWS)
    lengths = steps.total, steps.warmup, steps.decay
    return [learning_rate(config.schedule, config.optimizer.lr, step, *lengths) for step in range(steps.total)]


def script(config: RunConfig, folder: Path) -> Any:
    """The batch script of an array of two such runs, and of its second part."""
    plan = make(config, CPU)
    (batch,) = job_batch.batches([plan, plan], Path("/code"))
    submitted = Submission("/outputs/submissions/some", (), 0.0, "", 0)
    return batch_script.text(batch, submitted).replace(plan.identity[:8], "")


def shared_out(config: RunConfig, folder: Path) -> Any:
    """The places of a grid of six points on this machine."""
    return asdict(share(config.launch, GPUS, 6, {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}))


def first_port(config: RunConfig, folder: Path) -> Any:
    """The port that is taken, where it is always the same."""
    plan = make(config, CPU)
    ports = {next(iter(local.ranks_and_ports(plan)))[1] for _ in range(3)}
    return ports if len(ports) == 1 else "another one each time"


def restarted(config: RunConfig, folder: Path) -> Any:
    """After how many attempts that saved something a run is not started again."""
    done = [Attempt("s", str(number), 0.0, 0) for number in range(30)]
    fruitful = [replace(attempt, last=number + 1, first=number) for number, attempt in enumerate(done)]
    return [requeue.refusal(Cause.TIME_LIMIT, fruitful[:count], config.launch) is None for count in range(1, 30)]


def forecast(config: RunConfig, folder: Path) -> Any:
    """Whether the forecast lets it start, and what it expects."""
    plan = make(config, GPUS)
    fit_check.expect_fit(plan, GPUS)
    return dump(plan.expected)


def remembered(config: RunConfig, folder: Path) -> Any:
    """Whether the memory that is planned has room for a copy of what is saved."""
    plan = make(config, CPU)
    return work(plan.config, plan.batch).snapshot


def halved(config: RunConfig, folder: Path) -> Any:
    """What follows when memory runs out."""
    smaller = on_oom.split(make(config, CPU))
    return smaller and smaller.batch.micro


def spiked(config: RunConfig, folder: Path) -> Any:
    """After how many steps of a loss of 1.9 or 2.1 a loss of 4 is a spike."""
    spikes, state, spiked = Spikes(config.train.spike_sigma, config.train.spike_window, SINGLE_PROCESS), RunState(), []
    for step in range(80):
        spiked.append(spikes.refusal(4.0, 1.0) is not None)
        state = spikes.remember(state, StepResult(2.0 + 0.1 * (-1) ** step, 1.0, 1e-3, 100, 40, False, 1.0, None))
    return spiked


def measured(config: RunConfig, folder: Path) -> Any:
    """What the two measurements are called with, how many rows and answers they get, and what they measure."""
    plan = make(config, CPU)
    calls: list[Any] = []
    data = prepare(plan.config.data, tokenizer(), plan.config.train.sequence_length)
    read: Any = SimpleNamespace(data=data, tokenizer=tokenizer())

    def mean_loss(model: Any, group: Any, rows: Any, check: Any) -> float:
        calls.append([tuple(batch.tokens.shape) for batch in rows])
        return 1.0

    def generate(
        model: Any, group: Any, words: Any, prompts: Any, limits: Any, decoding: Any, check: Any
    ) -> list[Answer]:
        calls.append((list(prompts), repr(limits), repr(decoding)))
        return [Answer("", 0.5 - number) for number, _ in enumerate(prompts, 1)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "mean_loss", mean_loss)
        patch.setattr(validation, "generate", generate)
        validation.losses(plan, None, SingleProcess(), read)  # type: ignore[arg-type]
        record, samples = validation.of_answers(plan, None, SingleProcess(), read)  # type: ignore[arg-type]
    return calls, sorted(record), [sample.answer for sample in samples]


def tiled(config: RunConfig, folder: Path) -> Any:
    """In how many parts the learner that the engine gets computes its loss."""
    plan = make(config, CPU)
    group: Any = SimpleNamespace(rank=0, agree=int, adjacent_ranks=lambda count: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_engine, "ZeroEngine", lambda plan, group, learner, *others: learner)
        learner: Any = run_engine.engine_for(plan, group, build_model(plan, None), horizon(plan, ROWS))
    return learner._tile


def answered(config: RunConfig, folder: Path) -> Any:
    """What is shown of eight answers."""
    return run_summary.sample_lines(
        make(config, CPU), [validation.Sample("split", f"{n}?", f"{n}", "no") for n in range(8)]
    )


def stored(config: RunConfig, folder: Path) -> Any:
    """Which checkpoints the store of a run leaves on the disk."""
    plan = make(config, CPU)
    store = checkpoint_store(plan, SINGLE_PROCESS, "", horizon(plan, 100).keep_every)
    return store.retention, store.metric


def stopped(config: RunConfig, folder: Path) -> Any:
    """What early stopping counts of three evaluations, each a little better than the one before."""
    plan = make(config, CPU)
    store = checkpoint_store(plan, SINGLE_PROCESS, "", horizon(plan, 100).keep_every)
    early_stopping = DecidingMetrics(plan, SINGLE_PROCESS, store).early_stopping
    for step in range(3):
        early_stopping.observe(step, {"validation/loss": 3 - 0.1 * step, "validation/perplexity": 3 + step})
    return early_stopping.state, early_stopping.is_due


def told(config: RunConfig, folder: Path) -> Any:
    """What Weights & Biases is started with, and in which mode."""
    given: dict[str, Any] = {}

    def init(**settings: Any) -> Any:
        given.update({key: settings[key] for key in ("project", "entity", "group", "name", "tags", "mode")})
        raise RuntimeError("that is all")

    module = SimpleNamespace(init=init, Settings=lambda **settings: None, teardown=lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", module)
        patch.delenv("WANDB_MODE", raising=False)
        mode = wandb_server.mode(config.tracking.wandb)
        sink = WandbSink(make(config, CPU), "offline", print)
        sink.finish({})
    return mode, given
