"""Can every public file at hand that holds conversations, pairs or labelled text be read by configuration alone?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.shared import DATA, shared_data
from tunefleet.config.data import SourceConfig
from tunefleet.config.load import load
from tunefleet.data.formats.collect import collect
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.sources import Source

Settings = dict[str, Any]
SEEDS = {"columns": {"input": "instances.0.input", "output": "instances.0.output"}}
CLINC = {"columns": {"text": "0", "label": "1"}, "format": "labelled"}
SNIPS = {"split": "*", "columns": {"text": "data.*.text", "label": "split"}}
MULTI30K = {
    "train": (29_000, "en de fr cs"),
    "val": (1_014, "en de fr cs"),
    "test_2016_flickr": (1_000, "en de fr cs"),
    "test_2017_flickr": (1_000, "en de fr"),
    "test_2017_mscoco": (461, "en de fr"),
    "test_2018_flickr": (1_071, "en de fr cs"),
}
INTENTS = {
    "AddToPlaylist": 1_942,
    "BookRestaurant": 1_973,
    "GetWeather": 2_000,
    "PlayMusic": 2_000,
    "RateBook": 1_956,
    "SearchCreativeWork": 1_954,
    "SearchScreeningEvent": 1_959,
}

FILES: list[tuple[str, Settings, int, int]] = [  # name, settings, conversations, rows left out
    ("alpaca_52k/alpaca_data.json", {}, 51_974, 28),  # 28 answers are empty
    ("belle_zh/eval_set.json", {"columns": {"prompt": "question", "completion": "std_answer"}}, 631, 369),  # no answer
    ("belle_zh/zh_seed_tasks.jsonl", SEEDS, 175, 0),
    ("clinc150/data_full.json", {**CLINC, "split": "*"}, 23_700, 0),
    ("clinc150/data_full.json", {**CLINC, "split": "train+oos_train"}, 15_100, 0),
    ("clinc150/data_small.json", {**CLINC, "split": "*"}, 16_200, 0),
    ("dolly_hhrlhf_small/dolly_hhrlhf_train_small.jsonl", {"columns": {"completion": "response"}}, 1_000, 0),
    (
        "dolly_hhrlhf_small/finetune_example_arc_train.jsonl",
        {"columns": {"prompt": "query", "completion": "choices.0"}},  # a file of choices: the first one as the answer
        100,
        0,
    ),
    ("fastchat/dummy_conversation.json", {}, 500, 0),
    ("fastchat/mt_bench_question.jsonl", {"columns": {"prompt": "turns", "completion": "reference"}}, 31, 49),
    ("fastchat/vicuna_bench_question.jsonl", {"columns": {"text": "turns.0"}}, 80, 0),
    ("fastchat/mt_bench_reference_gpt-4.jsonl", {"columns": {"text": "choices.0.turns.0"}}, 30, 0),
    ("fastchat/vicuna_bench_reference_gpt-4.jsonl", {"columns": {"text": "choices.0.turns.0"}}, 10, 0),
    ("llamafactory_demo/alpaca_en_demo.json", {}, 999, 0),
    ("llamafactory_demo/alpaca_zh_demo.json", {}, 1_000, 0),
    ("llamafactory_demo/identity.json", {}, 91, 0),
    ("llamafactory_demo/glaive_toolcall_en_demo.json", {}, 300, 0),
    ("llamafactory_demo/glaive_toolcall_zh_demo.json", {}, 300, 0),
    ("llamafactory_demo/dpo_en_demo.json", {}, 300, 0),
    ("llamafactory_demo/dpo_zh_demo.json", {}, 300, 0),
    ("llamafactory_demo/kto_en_demo.json", {}, 300, 0),
    ("llamafactory_demo/v1_sft_demo.jsonl", {}, 500, 0),
    ("llamafactory_demo/v1_dpo_demo.jsonl", {"columns": {"chosen": "chosen_messages"}}, 10, 0),
    ("llamafactory_demo/reason_tool_use_demo_50.jsonl", {}, 50, 0),
    ("llamafactory_demo/c4_demo.jsonl", {}, 300, 0),
    ("llamafactory_demo/wiki_demo.txt", {}, 30, 0),
    (
        "manythings_cmn_eng/cmn.txt",
        {"file_type": "tsv", "header": False, "columns": {"source": "0", "target": "1"}},
        29_155,
        0,
    ),
    ("oasst_samples/en_100_tree.jsonl", {}, 100, 0),
    ("oasst_samples/en_100_message.jsonl", {}, 100, 0),
    ("oasst_samples/en_100_text.jsonl", {}, 100, 0),
    ("oasst_samples/prompt_lottery_en_250_text.jsonl", {}, 250, 0),
    ("peer_test_fixtures/axolotl/alpaca.json", {}, 2, 0),
    ("peer_test_fixtures/axolotl/conversation.json", {}, 1, 0),
    ("peer_test_fixtures/axolotl/conversation.missingturns.json", {}, 0, 1),  # its first answer is empty
    ("peer_test_fixtures/chinese_vicuna/instruct_sample.jsonl", {}, 10, 0),
    (
        "peer_test_fixtures/chinese_vicuna/chat_sample.jsonl",
        {"columns": {"prompt": "input", "completion": "output"}},
        3,
        0,
    ),
    ("peer_test_fixtures/nemo_aligner/dummy-sft.jsonl", {}, 30, 0),
    ("peer_test_fixtures/nemo_aligner/dummy-dpo.jsonl", {"columns": {"chosen": "chosen_response"}}, 100, 0),
    ("peer_test_fixtures/nemo_aligner/test-rm.jsonl", {"format": "text"}, 8, 0),
    ("peer_test_fixtures/tensorflow_nmt/iwslt15.tst2013.100.en", {"file_type": "text"}, 100, 0),
    (
        "peer_test_fixtures/torchtitan/sft_test_data.json",
        {"columns": {"prompt": "question", "completion": "answer"}},
        10,
        0,
    ),
    ("peer_test_fixtures/torchtune/alpaca_tiny.json", {}, 100, 0),
    ("peer_test_fixtures/torchtune/chat_tiny.json", {}, 1, 0),
    ("peer_test_fixtures/torchtune/instruct_tiny.json", {"columns": {"output": "response"}}, 2, 0),
    ("peer_test_fixtures/torchtune/hh_rlhf_tiny.json", {}, 1, 0),
    (
        "peer_test_fixtures/torchtune/stack_exchange_paired_tiny.json",
        {"columns": {"prompt": "question", "completion": "response_j"}},
        25,
        0,
    ),
    ("self_instruct/seed_tasks.jsonl", SEEDS, 175, 0),
    ("self_instruct/user_oriented_instructions.jsonl", SEEDS, 252, 0),
    ("snips_nlu/*/train_*_full.json", SNIPS, sum(INTENTS.values()), 0),
    ("snips_nlu/*/train_*[!l].json", SNIPS, 2_100, 0),
    ("snips_nlu/*/validate_*.json", {**SNIPS, "columns": {**SNIPS["columns"], "slots": "data"}}, 700, 0),
    *((f"snips_nlu/{intent}/train_{intent}_full.json", SNIPS, rows, 0) for intent, rows in INTENTS.items()),
    *((f"snips_nlu/{intent}/train_{intent}.json", SNIPS, 300, 0) for intent in INTENTS),
    *((f"snips_nlu/{intent}/validate_{intent}.json", SNIPS, 100, 0) for intent in INTENTS),
]
PAIRS: list[tuple[str, str, int]] = [  # two files whose lines belong together
    ("peer_test_fixtures/joeynmt/train.de", "peer_test_fixtures/joeynmt/train.en", 1_000),
    *(
        (f"multi30k/{name}.en.gz", f"multi30k/{name}.{language}.gz", lines)
        for name, (lines, languages) in MULTI30K.items()
        for language in languages.split()[1:]
    ),
]
NO_ROWS = {  # what holds neither conversations nor pairs nor text
    "llamafactory_demo/dataset_info.json": "describes the other files",
    "clinc150/domains.json": "lists names of labels",
    "peer_test_fixtures/axolotl/conversation.tokenized_llama2chat.json": "holds token ids",
    "alpaca_52k/DATA_LICENSE": "is a licence",
}
SETS = (
    "llamafactory_demo",
    "peer_test_fixtures",
    "fastchat",
    "oasst_samples",
    "belle_zh",
    "multi30k",
    "manythings_cmn_eng",
    "clinc150",
    "snips_nlu",
    "alpaca_52k",
    "dolly_hhrlhf_small",
    "self_instruct",
)


@pytest.mark.parametrize(
    ("name", "settings", "conversations", "left_out"), FILES, ids=[f"{f[0]}-{i}" for i, f in enumerate(FILES)]
)
def test_a_file_is_read_whole(name: str, settings: Settings, conversations: int, left_out: int, tmp_path: Path) -> None:
    bad = BadRows(tmp_path / "bad.txt", left_out)
    actual = read(bad, name, settings)

    assert (len(actual), bad.count) == (conversations, left_out)


def read(bad: BadRows, name: str, settings: Settings) -> list[Conversation]:
    shared_data(name.split("/")[0])
    return collect(Source("train", load(SourceConfig, {"path": str(DATA / name), **settings})), bad)


@pytest.mark.parametrize(
    ("first_file", "second_file", "lines"),
    PAIRS,
    ids=[f"{first_file}-{second_file.split('.')[-2]}" for first_file, second_file, _ in PAIRS],
)
def test_two_files_are_read_line_by_line(first_file: str, second_file: str, lines: int) -> None:
    actual = read(
        BadRows(), first_file, {"target_path": str(DATA / second_file), "instruction": "Translate:\n{source}"}
    )
    assert len(actual) == lines


def test_no_file_is_forgotten() -> None:
    """Control: a file that is added to the folders above must be read here, or be named as no rows."""
    for name in SETS:
        shared_data(name)
    patterns = [*(f[0] for f in FILES), *(name for pair in PAIRS for name in pair[:2]), *NO_ROWS]
    known_paths = {path for pattern in patterns for path in DATA.glob(pattern)}
    there = {path for name in SETS for path in (DATA / name).rglob("*") if path.is_file() and path.name != "SOURCE.txt"}
    assert there - known_paths == set()
    assert all((DATA / name).exists() for name in NO_ROWS)
