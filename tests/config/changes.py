"""The table of test_every_field.py: a change of every setting, what it needs to matter, and where that can be seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.config import observers as seen
from tests.plans import OPT, tokenizer_folder
from tests.shared import tiny_model

Settings = dict[str, Any]
_REFUSALS = "tests/train/test_update_refusals.py"
_TRACKERS = "tests/tracking/test_all_trackers.py"
_OWN = {
    "own_trackers": "tests/runs/test_train.py::test_own_trackers_get_every_record",
    "own_metrics": "tests/runs/test_train.py::test_own_metrics_are_measured_of_every_split",
    "callbacks": "tests/runs/test_train.py::test_callbacks_are_called_after_every_step",
    "own_format": "tests/data/formats/test_own_format.py::test_own_format_makes_rows_that_are_known",
}
_OF_TRACKERS = {
    "csv": "test_csv_holds_every_value",
    "tensorboard": "test_tensorboard_reads_every_value",
    "mlflow": "test_mlflow_reads_every_value_of_one_run",
    "mlflow_uri": "test_mlflow_reads_every_value_of_one_run",
    "artifacts": "test_an_artifact_that_is_asked_for_is_kept_at_the_end",
}
DROPOUTS = {**OPT, "vocab_size": 320, "dropout": 0.1}


@dataclass(frozen=True)
class Change:
    """Another `value` of a setting, seen by `look` where the settings `needs` (by dotted keys) are given too."""

    value: Any
    look: seen.Observer
    needs: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class ShownBy:
    """A test that shows it elsewhere, by its file and name; its text names the setting."""

    test: str


def files(folder: Path) -> None:
    """Rows of every shape that the table names, and a model in files, made in `folder`."""
    rows = [{"prompt": f"question {n} about {'a' * n}", "completion": f"answer {n} {'b' * 2 * n}"} for n in range(12)]
    _lines(folder / "rows.jsonl", rows)
    _lines(folder / "other.jsonl", [{"prompt": f"{n}?", "completion": f"{n}!"} for n in range(5)])
    _lines(folder / "twice.jsonl", [*rows, rows[3], {**rows[5], "completion": "answer 5 bbbbbbbbbb "}])
    _lines(folder / "near.jsonl", [{"prompt": _WORDS, "completion": "x y z"}, {"prompt": _NEAR, "completion": "x y z"}])
    _lines(folder / "columns.jsonl", [{**row, "response": "another", "image": "a.png"} for row in rows])
    _lines(folder / "labels.jsonl", [{"text": f"text {n}", "label": n % 2} for n in range(6)])
    _lines(folder / "unfilled.jsonl", [{**row, "prompt": f"{row['prompt']} {{name}}"} for row in rows])
    _lines(folder / "long.jsonl", [*rows, {"prompt": "long", "completion": "word " * 90}])
    _lines(folder / "turns.jsonl", [{"messages": _TURNS} for _ in range(3)])
    (folder / "bad.jsonl").write_text((folder / "rows.jsonl").read_text() + '{"prompt": 3}\n{"prompt": 4}\n')
    (folder / "odd.jsonl").write_text(json.dumps({"prompt": "e\u0301", "completion": "a\u0308"}) + "\n" * 2)
    (folder / "splits.json").write_text(json.dumps({"train": rows[:8], "other": rows[8:]}))
    (folder / "rows.csv").write_text("prompt,completion\n" + "\n".join(f"{n},{n}" for n in range(6)))
    for language in ("en", "de", "fr"):
        (folder / f"{language}.txt").write_text("\n".join(f"{language} {n}" for n in range(6)))
    (folder / "names.txt").write_text("bad\ngood\n")
    (folder / "other").mkdir()
    for name in ("filed", "model"):
        pretrained(folder / name)
    tokenizer_folder(folder)
    tokenizer_folder(folder / "other")


def pretrained(folder: Path) -> None:
    """A tiny model with its weights in files, and something that the planner takes for a tokenizer."""
    tiny_model("opt", vocab_size=320, dropout=0.1).save_pretrained(folder)
    (folder / "tokenizer.json").touch()


_WORDS = " ".join(f"word{n}" for n in range(30))
_NEAR = _WORDS.replace("word29", "end")
_TURNS = [{"role": ("user", "assistant")[n % 2], "content": f"turn {n}"} for n in range(6)]


def _lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _data(value: Any, look: seen.Observer = seen.prepared, **needs: Any) -> Change:
    return Change(value, look, {f"data.{key}": setting for key, setting in needs.items()})


_SAMPLING: Settings = {"evaluation.decoding": "sampling"}
PARALLEL: Settings = {"path": "en.txt", "target_path": "de.txt", "format": "parallel"}
LABELLED: Settings = {"path": "labels.jsonl", "format": "labelled"}

SOURCE: dict[str, Change | ShownBy] = {
    "path": _data("other.jsonl"),
    "target_path": _data("fr.txt", **PARALLEL),
    "file_type": _data("text", path="rows.csv"),
    "header": _data(False, path="rows.csv"),
    "subset": ShownBy("tests/data/read/test_hub.py::test_an_unknown_split_or_subset_hears_the_known_ones"),
    "split": _data("other", path="splits.json", split="train"),
    "format": _data("alpaca"),
    "columns": _data({"completion": "response"}, path="columns.jsonl", ignore_columns=["image"]),
    "own_format": ShownBy(_OWN["own_format"]),
    "ignore_columns": _data(["image", "response"], path="columns.jsonl"),
    "instruction": _data("Translate: {source}", **PARALLEL),
    "instruction_back": _data("Back: {target}", **PARALLEL),
    "label_names": _data(["bad", "good"], **LABELLED),
    "label_file": _data("names.txt", **LABELLED),
    "max_rows": _data(6),
    "license": ShownBy("tests/runs/test_model_card.py::test_licences_of_data_are_stated_by_the_user_or_by_their_card"),
}
"""Settings of a source: of the data themselves, and of every source of a mixture."""

_OPTIMIZER: dict[str, Change | ShownBy] = {
    "name": Change("lion", seen.updated),
    "lr": Change(2e-3, seen.updated),
    "betas": Change([0.8, 0.9], seen.updated),
    "eps": Change(1e-6, seen.updated),
    "momentum": Change(0.5, seen.updated, {"optimizer.name": "sgd"}),
    "weight_decay": Change(0.2, seen.updated),
    "decay_embeddings": Change(True, seen.updated, {"optimizer.weight_decay": 0.1}),
    "cpu_kernel": Change("torch", seen.planned, {"parallel.zero_stage": 2, "parallel.offload_optimizer": "cpu"}),
}
_SCHEDULE: dict[str, Change | ShownBy] = {
    "name": Change("linear", seen.rates),
    "warmup": Change("20", seen.rates),
    "floor": Change(0.5, seen.rates),
    "decay": Change("50%", seen.rates, {"schedule.name": "wsd"}),
    "power": Change(1.0, seen.rates, {"schedule.name": "polynomial"}),
}
_WIDE = {**OPT, "num_hidden_layers": 6, "vocab_size": 5000}
_NVME = {
    "parallel.zero_stage": 3,
    "parallel.offload_parameters": "nvme",
    "parallel.nvme_path": "/tmp",
    "checkpoint.every": None,
    "checkpoint.at_end": False,
}
_PARALLEL: dict[str, Change | ShownBy] = {
    "name": Change("mine", seen.named),
    "zero_stage": Change(1, seen.on_gpus),
    "tensor": Change(2, seen.on_gpus),
    "pipeline": Change(2, seen.on_gpus),
    "partition": Change("uniform", seen.on_gpus, {"parallel.pipeline": 4, "model.architecture": _WIDE}),
    "sequence": Change(2, seen.on_gpus),
    "max_processes": Change(1, seen.on_gpus),
    "offload_optimizer": Change("cpu", seen.on_gpus, {"parallel.zero_stage": 3}),
    "offload_parameters": Change("cpu", seen.on_gpus, {"parallel.zero_stage": 3}),
    "nvme_path": Change("/var/tmp", seen.on_gpus, _NVME),
    "nvme_buffers": Change(6, seen.on_gpus, _NVME),
    "nvme_buffer_size": Change(2_000_000, seen.on_gpus, _NVME),
    "hierarchical": Change(2, seen.on_gpus, {"parallel.zero_stage": 3}),
    "quantized_weights": Change(True, seen.on_gpus, {"parallel.zero_stage": 3}),
    "quantized_gradients": Change(True, seen.on_gpus, {"parallel.zero_stage": 3, "parallel.hierarchical": 8}),
}
_SLURM = {"launch.name": "slurm"}
_SLURM_VALUES: Settings = {
    "nodes": 2,
    "gpus_per_node": 2,
    "cpus_per_task": 3,
    "memory": "64G",
    "time": "2h",
    "partition": "long",
    "account": "group",
    "qos": "high",
    "constraint": "ib",
    "gres": "gpu:a100:2",
    "nodelist": "n1",
    "exclude": "n2",
    "exclusive": True,
    "reservation": "mine",
    "dependency": "afterok:1",
    "mail_type": "END",
    "mail_user": "me",
    "extra": {"licenses": "some"},
    "setup": ["module load cuda"],
    "srun_args": ["--mpi=none"],
    "python": "/opt/python",
    "signal_before": 120,
    "array_limit": 1,
}
_LAUNCH: dict[str, Change | ShownBy] = {
    "name": Change("slurm", seen.planned),
    "processes": Change(4, seen.planned),
    "port": Change(29511, seen.first_port),
    "restarts": Change(3, seen.restarted),
    "access": ShownBy("tests/faults/test_modes.py::test_the_modes_hold_as_soon_as_the_settings_are_known"),
    "parallel_runs": Change(2, seen.shared_out, {"launch.gpus_per_run": 1}),
    "gpus_per_run": Change(4, seen.shared_out),
    **{key: Change(value, seen.script, _SLURM) for key, value in _SLURM_VALUES.items()},
    "gres": Change("gpu:a100:2", seen.script, {**_SLURM, "launch.gpus_per_node": 2}),
    "grace": ShownBy("tests/train/test_deadline.py::test_the_grace_of_the_settings_runs_from_the_signal"),
    "start_limit": ShownBy("tests/launch/test_hang_watch.py::test_limits_are_those_of_the_settings"),
    "step_limit": ShownBy("tests/launch/test_hang_watch.py::test_limits_are_those_of_the_settings"),
    "max_restarts": Change(3, seen.restarted, _SLURM),
    "wait": ShownBy("tests/doors/test_submit.py::test_waiting_stays_until_the_jobs_have_ended"),
    "dry_run": ShownBy("tests/doors/test_submit.py::test_a_dry_run_prints_the_script_and_leaves_nothing"),
    "snapshot_untracked": ShownBy("tests/doors/test_submit.py::test_a_job_has_the_untracked_files_that_were_asked_for"),
    "snapshot": ShownBy("tests/doors/test_submit.py::test_without_a_snapshot_the_jobs_run_the_project_itself"),
}
_UNSEEN = {"data.validation_path": "other.jsonl", "data.packing": False}
_FILED = {"model.init": "pretrained", "model.path": "filed", "model.architecture": {}}
_LARGE = {**OPT, "hidden_size": 8192, "word_embed_proj_dim": 8192, "ffn_dim": 32768, "num_hidden_layers": 60}
_LORA = {"adapter.name": "lora"}
_CHANGES: Settings = {
    "": {
        "name": Change("mine", seen.named),
        "seed": ShownBy("tests/conf/test_compose.py::test_the_seed_reaches_the_training_loop"),
        "output_dir": Change("elsewhere", seen.named),
    },
    "data": {
        **SOURCE,
        "name": _data("mine", seen.named),
        "mix": _data([{"path": "other.jsonl"}], path=None, mix=[{"path": "rows.jsonl"}]),
        "mix_seed": _data(1, path=None, mix=[{"path": "rows.jsonl", "epochs": 0.5}]),
        "validation_path": _data("other.jsonl"),
        "validation_target_path": _data(
            "fr.txt", **PARALLEL, validation_path="en.txt", validation_target_path="de.txt"
        ),
        "validation_split": _data("other", path="splits.json", split="train"),
        "validation_rows": _data(4),
        "validation_share": _data(0.4),
        "test_path": _data("other.jsonl", seen.tested),
        "test_target_path": _data("fr.txt", seen.tested, **PARALLEL, test_path="en.txt", test_target_path="de.txt"),
        "test_split": _data("other", seen.tested, path="splits.json", split="train"),
        "on_bad_row": _data("skip", path="bad.jsonl"),
        "max_bad_rows": _data(1, path="bad.jsonl", on_bad_row="skip"),
        "template": _data("chatml"),
        "train_on": _data("last", path="turns.jsonl"),
        "long_rows": _data("drop", path="long.jsonl"),
        "max_truncated": _data(0.0, path="long.jsonl"),
        "max_unfilled": _data(1.0, path="unfilled.jsonl", max_truncated=1.0),
        "packing": _data(False),
        "group_by_length": _data("never", seen.batches, packing=False),
        "workers": ShownBy("tests/data/batches/test_loader.py::test_a_killed_worker_is_named_with_its_batch_at_once"),
        "tokenizer": _data("other/tokenizer", seen.planned),
        "cache": _data("elsewhere", seen.cached),
    },
    "data.clean": {
        "normalise": _data(True, path="odd.jsonl", validation_rows=0),
        "min_characters": _data(40),
        "max_characters": _data(40),
        "keep": _data("question 1"),
        "drop": _data("question 1"),
        "duplicates": _data("exact", path="twice.jsonl"),
        "similarity": _data(
            0.99, path="near.jsonl", long_rows="split", validation_rows=0, clean={"duplicates": "near"}
        ),
    },
    "data.mix.*": {
        **SOURCE,
        "name": Change("mine", seen.prepared),
        "weight": Change(3.0, seen.prepared, {"weight": 1.0}),
        "epochs": Change(2.0, seen.prepared),
    },
    "model": {
        "name": Change("mine", seen.named),
        "path": Change("model", seen.planned, _FILED),
        "published": Change(DROPOUTS, seen.planned, {"model.architecture": {}, "model.published": OPT}),
        "architecture": Change(DROPOUTS, seen.built),
        "init": Change("pretrained", seen.planned),
        "num_layers": Change(3, seen.built),
        "dropout": Change(0.3, seen.built),
        "attention": Change("mask", seen.named),
        "freeze": Change(["*layers.0.*"], seen.built),
        "special_tokens": ShownBy("tests/model/test_tokens.py::test_special_tokens_replace_those_of_the_files"),
        "new_tokens": ShownBy("tests/model/test_tokens.py::test_new_tokens_are_read_whole_behind_all_others"),
        "train_only": Change(["*layers.0.*"], seen.built),
        "tokenizer": Change("other/tokenizer", seen.planned),
        "allow_pickle": ShownBy(
            "tests/plan/paths/test_model_files.py::test_a_pickle_of_weights_is_read_only_where_that_is_allowed"
        ),
    },
    "adapter": {
        "name": Change("lora", seen.built),
        "rank": Change(4, seen.built, _LORA),
        "alpha": Change(8.0, seen.built, _LORA),
        "dropout": Change(0.2, seen.built, _LORA),
        "targets": Change(["q_proj"], seen.built, _LORA),
        "rslora": Change(True, seen.built, _LORA),
        "dora": Change(True, seen.built, _LORA),
        "lr_ratio_b": ShownBy("tests/equivalence/test_adapters.py::test_follows_plain_peft"),
        "merge": Change(False, seen.planned, _LORA),
    },
    "parallel": _PARALLEL,
    "optimizer": _OPTIMIZER,
    "schedule": _SCHEDULE,
    "train": {
        "micro_batch": Change(2, seen.planned),
        "global_batch": Change(16, seen.planned),
        "start_from": Change("earlier", seen.planned),
        "epochs": Change(2.0, seen.planned),
        "max_steps": Change(7, seen.planned),
        "sequence_length": Change(32, seen.prepared),
        "precision": Change("bf16", seen.planned),
        "master_weights": Change(False, seen.planned, {"train.precision": "bf16", "parallel.zero_stage": 1}),
        "clip": Change(0.5, seen.planned, {"parallel.zero_stage": 1}),
        "early_stopping.patience": Change(2, seen.stopped),
        "early_stopping.metric": Change("validation/perplexity", seen.stopped, {"train.early_stopping.patience": 2}),
        "early_stopping.min_delta": Change(0.5, seen.stopped, {"train.early_stopping.patience": 2}),
        "gradient_checkpointing": Change(True, seen.built),
        "neftune": ShownBy("tests/model/test_neftune.py::test_it_is_the_noise_of_transformers"),
        "loss_tile": Change(5, seen.tiled),
        "on_oom": Change("split", seen.halved),
        "on_non_finite": ShownBy(f"{_REFUSALS}::test_a_skipped_step_is_recorded_with_its_sequences"),
        "skip_budget": ShownBy(f"{_REFUSALS}::test_what_is_more_than_the_budget_stops_the_run"),
        "spike_sigma": Change(10.0, seen.spiked),
        "spike_window": Change(64, seen.spiked, {"train.spike_sigma": 6.0}),
        "on_spike": ShownBy(f"{_REFUSALS}::test_a_spike_has_a_policy_and_a_cause_of_its_own"),
        "check_replicas": ShownBy(
            "tests/faults/test_drifts.py::test_no_checkpoint_is_made_of_it_and_the_control_makes_one"
        ),
        "seed": Change(5, seen.built),
        "callbacks": ShownBy(_OWN["callbacks"]),
        "profile": ShownBy("tests/runs/test_train.py::test_the_table_says_where_the_time_goes"),
        "threads": Change(3, seen.planned),
    },
    "evaluation": {
        "every": Change("7", seen.planned),
        "max_rows": Change(2, seen.measured, _UNSEEN),
        "batch": Change(2, seen.measured, _UNSEEN),
        "generate_rows": Change(3, seen.measured, _UNSEEN),
        "own_metrics": ShownBy(_OWN["own_metrics"]),
        "generate_batch": Change(2, seen.measured),
        "metrics": Change(("bleu", "labels"), seen.measured),
        "max_new_tokens": Change(9, seen.measured),
        "decoding": Change("beam", seen.measured),
        "temperature": Change(0.5, seen.measured, _SAMPLING),
        "top_p": Change(0.5, seen.measured, _SAMPLING),
        "top_k": Change(5, seen.measured, _SAMPLING),
        "seed": Change(3, seen.measured, _SAMPLING),
        "beams": Change(2, seen.measured, {"evaluation.decoding": "beam"}),
        "stop_texts": Change(("\n",), seen.measured),
        "answers": Change("labels", seen.measured),
        "labels": Change(("yes", "no"), seen.measured, {"evaluation.answers": "labels"}),
        "threshold": Change(0.9, seen.measured),
        "threshold_label": Change("none", seen.measured, {"evaluation.threshold": 0.9}),
        "threshold_cost": ShownBy("tests/runs/test_validation.py::test_the_threshold_is_chosen_at_its_cost"),
        "samples": Change(2, seen.answered),
    },
    "checkpoint": {
        "every": Change("7", seen.planned),
        "keep": Change(5, seen.stored),
        "keep_best": Change(1, seen.stored),
        "metric": Change("validation/perplexity", seen.stored),
        "keep_every": Change("20%", seen.stored),
        "disk_budget": Change("200 GB", seen.stored),
        "asynchronous": Change(True, seen.remembered),
        "at_end": ShownBy("tests/stories/test_first_run.py::test_the_headline_command_from_scratch"),
        "export": ShownBy("tests/stories/test_first_run.py::test_the_headline_command_from_scratch"),
    },
    "tracking": {
        "wandb": Change("offline", seen.told),
        "project": Change("mine", seen.told),
        "entity": Change("us", seen.told),
        "group": Change("together", seen.told),
        "run_name": Change("lr=1e-4", seen.told),
        "tags": Change(["odd"], seen.told),
        "peak_tflops": ShownBy("tests/runs/test_efficiency.py::test_mfu_is_of_the_peak_that_is_stated"),
        "own_trackers": ShownBy(_OWN["own_trackers"]),
        **{name: ShownBy(f"{_TRACKERS}::{test}") for name, test in _OF_TRACKERS.items()},
        "log_every": Change("7", seen.planned),
    },
    "launch": _LAUNCH,
    "plan": {
        "machine": Change("8xH100-80G", seen.forecast),
        "force": Change(True, seen.forecast, {"plan.machine": "8xT4-16G", "model.architecture": _LARGE}),
    },
    "experiment": {key: Change("mine", seen.named) for key in ("claim", "expected", "cost", "prepare")},
}

CHANGES: dict[str, Change | ShownBy] = {
    f"{group}.{name}" if group else name: change for group, table in _CHANGES.items() for name, change in table.items()
}

FROM_FILES: dict[str, Change] = {
    **{
        key: Change(change.value, change.look, {**change.needs, **_FILED})
        for key, change in CHANGES.items()
        if isinstance(change, Change) and change.look is seen.built
    },
    "model.architecture": Change({"attention_dropout": 0.3}, seen.built, _FILED),
    "train.seed": Change(5, seen.built, {**_FILED, **_LORA}),
}
"""The settings of a model once more, where its weights lie in files."""
