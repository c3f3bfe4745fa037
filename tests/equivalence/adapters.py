"""Training runs of adapters and partly frozen models: by the engine in ranks, or by a plain loop with peft."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from peft.tuners.lora import LoraLayer
from torch.nn.utils import clip_grad_norm_

from tests.plans import tiny_plan
from tunefleet.base.errors import RunError
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.data import prepare
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.engine.group import join
from tunefleet.model import tokenizer
from tunefleet.model.learner import Learner
from tunefleet.optim.build_optimizer import build_optimizer
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS
from tunefleet.plan.plan import Plan
from tunefleet.runs import export_format, trajectory
from tunefleet.runs.run_engine import engine_for
from tunefleet.runs.trainable_model import set_trainable

TOKENS = [[5, 17, 3, 44, 60, 9, 31]]
STEPS = 12
HALFWAY = STEPS // 2
LORA = {"name": "lora", "rank": 4, "alpha": 8.0}
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": LORA},
    "rslora of two layers": {"adapter": {**LORA, "rslora": True, "targets": ["q_proj", "v_proj"]}},
    "dora": {"adapter": {**LORA, "dora": True}},
    "recomputed": {"adapter": LORA, "gradient_checkpointing": True},
    "lora+": {"adapter": {**LORA, "lr_ratio_b": 4.0}},
    "frozen": {"freeze": ["*embed*", "*layers.0.*"]},
}

OTHER_BASE = (("lora", "opt", 1, "fp32"), ("lora", "opt", 3, "fp32"))
"""Cases that are also resumed beside other frozen weights."""

Case = tuple[str, str, int, str]
"""(kind, model, ZeRO stage, precision)."""


def plan_of(folder: Path, case: Case, ranks: int) -> Plan:
    """The plan of a case, with the global batch that every number of ranks has."""
    kind, model, stage, precision = case
    settings = dict(KINDS[kind])
    freeze = settings.pop("freeze", [])
    plan = tiny_plan(
        folder, model, ranks, stage, precision=precision, micro_batch=4 // ranks, global_batch=4, **settings
    )
    return replace(plan, config=replace(plan.config, model=replace(plan.config.model, freeze=tuple(freeze))))


def plain(plan: Plan) -> dict[str, list[float]]:
    """The reference: peft's own way to make the model, the whole batch at once, torch's AdamW and clipping."""
    model = trajectory.model(plan.sources.architecture)
    adapter = plan.config.adapter
    if plan.config.adapter.name.value == "lora":
        targets = list(adapter.targets) if len(adapter.targets) > 1 else adapter.targets[0]
        wrapped: Any = get_peft_model(
            model,
            LoraConfig(
                r=adapter.rank,
                lora_alpha=int(adapter.alpha),
                target_modules=targets,
                use_rslora=adapter.rslora,
                use_dora=adapter.dora,
                task_type="CAUSAL_LM",
            ),
        )
        model = wrapped.get_base_model()
        torch.manual_seed(plan.config.train.seed)
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.reset_lora_parameters("default", init_lora_weights=True)
    else:
        for name, weight in model.named_parameters():
            weight.requires_grad_("embed" not in name and "layers.0." not in name)
    learner = Learner(model)
    optimizer = _plain_optimizer(plan, learner, model if adapter.lr_ratio_b == 1 else wrapped)
    scales = [group["lr"] / plan.config.optimizer.lr for group in optimizer.param_groups]
    batches = OrderedBatches(trajectory.rows(), plan.batch, 0, seed=3, pad=0, packed=True)
    losses, norms = [], []
    for step in range(STEPS):
        (batch,) = batches.take(1)
        for group, scale in zip(optimizer.param_groups, scales, strict=True):
            group["lr"] = trajectory.rate(plan)(step) * scale
        loss = learner(batch) / (batch.labels >= 0).sum()
        loss.backward()
        norms.append(float(clip_grad_norm_([w for w in learner.parameters() if w.requires_grad], 1.0)))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return {"losses": losses, "norms": norms, "weights": trainable_sample(model, model.state_dict())}


def _plain_optimizer(plan: Plan, learner: Learner, model: Any) -> Any:
    """Ours without groups of rates; with them peft's own LoRA+."""
    settings, ratio = plan.config.optimizer, plan.config.adapter.lr_ratio_b
    if ratio == 1:
        return build_optimizer(settings, learner)
    rates = {"lr": settings.lr, "loraplus_lr_ratio": ratio}
    constants = {"betas": settings.betas, "eps": settings.eps, "loraplus_weight_decay": settings.weight_decay}
    return create_loraplus_optimizer(model, torch.optim.AdamW, **rates, **constants)


def trainable_sample(model: Any, weights: dict[str, torch.Tensor]) -> list[float]:
    """A sample of what learns."""
    names = sorted(name for name, weight in model.named_parameters() if weight.requires_grad)
    return [float(v) for name in names for v in weights[name].detach().float().flatten()[::7]]


def all_cases(folder: Path, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Every case: its trajectory, the same resumed halfway, its exports, and logits to compare them with."""
    torch.set_num_threads(1)
    group = join()
    results = [_case(folder, tuple(case), group) for case in cases]  # type: ignore[arg-type]
    group.destroy()
    return results


def _case(folder: Path, case: Case, group: Any) -> dict[str, Any]:
    name = "-".join(str(part) for part in case)
    plan = plan_of(folder, case, group.size)
    store = CheckpointStore(folder / name / "checkpoints", plan.identity, group, Retention(1))
    built, batches = _engine(plan, group), _batches(plan, group, 0)
    results = list(_steps(built, batches, plan, HALFWAY))
    store.save(built, RunState(step=HALFWAY, position=batches.position))
    results += _steps(built, batches, plan, STEPS - HALFWAY)
    weights = _weights(built)
    _export(folder / name, plan, built, group)
    built.close()
    restored = _engine(plan, group)
    state = store.restore(restored)
    assert state is not None
    resumed = list(_steps(restored, _batches(plan, group, state.position), plan, STEPS - HALFWAY))
    equal = [torch.equal(weight, weights[n]) for n, weight in _weights(restored).items()]
    restored.close()
    report = {"losses": [r.loss for r in results], "norms": [r.gradient_norm for r in results]}
    report |= {"resumed": [r.loss for r in resumed], "same weights": all(equal)}  # type: ignore[dict-item]
    report |= {"weights": trainable_sample(built.trained_model, weights) if weights else []}
    return {
        **report,
        "bytes": _bytes(folder / name),
        "refusal": _other_base(plan, group, store) if case in OTHER_BASE else "",
    }


def _engine(plan: Plan, group: Any, seed: int = 11) -> Any:
    model = trajectory.model(plan.sources.architecture)
    if seed != 11:
        with torch.no_grad():
            model.get_input_embeddings().weight[5, 3] += 1e-3
    if plan.config.train.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    set_trainable(plan, model)
    steps = Horizon(total=trajectory.STEPS, warmup=trajectory.WARMUP, steps_per_epoch=10)
    built = engine_for(plan, group, model, steps)
    built.trained_model = model  # type: ignore[attr-defined]
    return built


def _other_base(plan: Plan, group: Any, store: CheckpointStore) -> str:
    """What a resume says whose frozen weights differ in one number."""
    changed = _engine(plan, group, seed=12)
    try:
        store.restore(changed)
        return "no error"
    except RunError as error:
        return str(error)
    finally:
        changed.close()


def _batches(plan: Plan, group: Any, position: int) -> OrderedBatches:
    rank = plan.layout.data_rank(group.rank)
    return OrderedBatches(trajectory.rows(), plan.batch, rank, seed=3, pad=0, packed=True, position=position)


def _steps(engine: Any, batches: OrderedBatches, plan: Plan, count: int) -> Iterator[Any]:
    return (engine.train_step(batches.take(plan.batch.accumulation)) for _ in range(count))


def _weights(engine: Any) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in (engine.weights() or {}).items()}


def _export(folder: Path, plan: Plan, engine: Any, group: Any) -> None:
    demo_tokenizer = tokenizer.load(str(BUILT_IN_TOKENIZERS["demo"]), "opt")
    with torch.no_grad():
        logits = engine.model.eval()(input_ids=torch.tensor(TOKENS)).logits
    engine.model.train()
    for merge in (True, False):
        config = replace(plan.config, adapter=replace(plan.config.adapter, merge=merge))
        engine._plan = replace(plan, config=config)  # what is gathered depends on it
        weights = engine.weights()
        if weights is not None:
            template = prepare.chat_template(plan.config.data, demo_tokenizer)
            staged = folder / ("whole" if merge else "adapter")
            export_format.stage(engine._plan, staged, engine.model, weights, demo_tokenizer, template)
    engine._plan = plan
    if group.rank == 0:
        torch.save(logits, folder / "logits.pt")
        trajectory.model(plan.sources.architecture).to(logits.dtype).save_pretrained(folder / "base")


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in (folder / "checkpoints").rglob("shards/*"))
