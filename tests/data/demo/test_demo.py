"""Is the demo's data reproducible, honest about what is unseen, and readable by its tokenizer?"""

import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys

import pytest

from tunefleet.data.demo import generate, grammar, made_up, values

TRAIN_ROWS = 30_000
DIGESTS = {
    "train": "eec07447654389cf2c8221b9214d48acf974a1e27118882e15ba895cfdd57051",
    "unseen_sentences": "cc77fafbca321bc0a7a2be7b368caf0251e8b90497c109ecb2bb746a84248ccb",
    "unseen_values": "6501af5262c38c2ba416160e9b8353959eaff1312f9a016cc706b158e82ac60b",
    "unseen_templates": "6ce0276471bdaa20bdde9d8ab9057b257223bd524a9f5cbffd3ee66a2d557a54",
    "unseen_words": "00176af41ac42dcd96c5bec5086bc52c0bf2143e8fa78c220f052c1a74335390",
}
SOURCE = pathlib.Path(generate.__file__).parents[3]


@pytest.fixture(scope="module")
def train():
    return list(generate.rows("train", TRAIN_ROWS))


def _open_values(rows_found):
    """The (slot, value) pairs of open slots in some rows."""
    slots = (json.loads(row["completion"])["slots"] for row in rows_found)
    return {(name, value) for row in slots for name, value in row.items() if name in values.OPEN}


@pytest.mark.parametrize("split", generate.SPLITS)
def test_rows_are_the_same_in_every_process(split):
    env = {**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "tunefleet.data.demo.generate", "--split", split, "--count", "1000"]
    printed = subprocess.run(command, env=env, check=True, capture_output=True).stdout
    here = [json.dumps(row, ensure_ascii=False) for row in generate.rows(split, 1000)]
    assert printed.decode("utf-8").splitlines() == here
    assert hashlib.sha256("\n".join(here).encode("utf-8")).hexdigest() == DIGESTS[split]


@pytest.mark.parametrize("split", generate.SPLITS)
def test_rows_are_valid_json_copied_from_distinct_commands(split):
    rows_found = list(generate.rows(split, 2000, seed=3))
    assert len({row["prompt"] for row in rows_found}) == 2000
    for row in rows_found:
        parsed = json.loads(row["completion"])
        assert list(parsed) == ["intent", "slots"]
        assert parsed["slots"]
        order = [name for name in grammar.SLOT_ORDER[parsed["intent"]] if name in parsed["slots"]]
        assert list(parsed["slots"]) == order
        assert all(value and value in row["prompt"] for value in parsed["slots"].values())
        assert row["prompt"] == row["prompt"].lower() == " ".join(row["prompt"].split())


def test_seeds_give_different_rows():
    assert list(generate.rows("train", 20, seed=1)) != list(generate.rows("train", 20, seed=2))


def test_a_short_run_is_the_start_of_a_long_one(train):
    assert list(generate.rows("train", 50)) == train[:50]


@pytest.mark.parametrize("split", generate.SPLITS[1:])
def test_no_validation_sentence_is_in_train(split, train):
    prompts = {row["prompt"] for row in train}
    assert not prompts & {row["prompt"] for row in generate.rows(split, 2000)}


def test_unseen_values_are_in_no_train_row(train):
    held_out = _open_values(generate.rows("unseen_values", 3000))
    known_values = {value for _, value in _open_values(train)}
    assert len(held_out) > 1000
    assert not {value for _, value in held_out} & known_values
    assert {slot for slot, _ in held_out} == set(values.OPEN)


def test_unseen_words_are_in_no_train_row(train):
    known_values = {term for row in train for term in row["prompt"].replace("'s ", " ").split()}
    new = {term for terms in values.NEW_WORDS.values() for entry in terms for term in entry.split()}
    assert not new & known_values
    for row in generate.rows("unseen_words", 500):
        assert any(term in row["prompt"] for term in new)


def test_a_made_up_word_is_never_a_new_word_nor_its_plural():
    maker = made_up.Maker(["anna", "annas", "nana"], kept_out=["anna", "nanas"])
    rng = random.Random(0)
    terms = {maker.make(rng) for _ in range(5000)}
    assert not terms & {"anna", "annas", "nana", "nanas"}
    assert len(terms) > 50
    assert all(set(term) <= set("ans") and 4 <= len(term) <= 10 for term in terms)


def test_training_mixes_known_and_made_up_words(train):
    known_values = {term for terms in values.WORD_LISTS.values() for entry in terms for term in entry.split()}
    contacts = [value for row in train if (value := json.loads(row["completion"])["slots"].get("contact"))]
    terms = [term for value in contacts for term in value.split()]
    share = sum(term in known_values for term in terms) / len(terms)
    assert 0.3 < share < 0.7, share
    assert known_values <= {term for row in train for term in row["prompt"].replace("'s ", " ").split()} | {
        term.removesuffix("s") for row in train for term in row["prompt"].split()
    }


def test_other_splits_hold_no_held_out_value(train):
    for rows_found in (train, generate.rows("unseen_sentences", 1000), generate.rows("unseen_templates", 1000)):
        assert not any(values.is_held_out(value) for _, value in _open_values(rows_found))


def test_held_out_templates_share_no_pattern_with_train():
    sides = (
        {p for group in source.values() for t in group for p in grammar.expand(t)}
        for source in (grammar.TEMPLATES, grammar.HELD_OUT_TEMPLATES)
    )
    known_values, held_out = sides
    assert held_out
    assert not known_values & held_out


def test_open_slots_have_hundreds_of_values(train):
    counts = dict.fromkeys(values.OPEN, 0)
    for slot, _ in _open_values(train):
        counts[slot] += 1
    assert min(counts.values()) >= 200, counts


def test_every_intent_is_common_and_has_many_templates(train):
    intents = [json.loads(row["completion"])["intent"] for row in train]
    assert {"play_music", "get_weather"} <= set(intents)
    assert len(set(intents)) >= 7
    assert min(intents.count(name) for name in set(intents)) > TRAIN_ROWS / 20
    assert all(len(templates) >= 12 for templates in grammar.TEMPLATES.values())
    assert set(grammar.TEMPLATES) == set(grammar.HELD_OUT_TEMPLATES) == set(grammar.SLOT_ORDER)


def test_every_slot_of_a_template_has_an_order_and_values():
    for source in (grammar.TEMPLATES, grammar.HELD_OUT_TEMPLATES):
        for intent, templates in source.items():
            for pattern in (p for t in templates for p in grammar.expand(t)):
                assert set(grammar.slots_of(pattern)) <= set(grammar.SLOT_ORDER[intent]), pattern
                assert set(grammar.slots_of(pattern)) <= set(values.OPEN) | set(values.CLOSED), pattern


def test_an_unknown_split_is_refused_with_the_legal_names():
    with pytest.raises(ValueError, match="train, unseen_sentences, unseen_values, unseen_templates, unseen_words"):
        generate.rows("test", 1)


def test_too_many_rows_are_refused(monkeypatch):
    monkeypatch.setattr(generate, "draw_row", lambda split, rng: {"prompt": "lights on", "completion": "{}"})
    monkeypatch.setattr(generate, "MAX_MISSES", 10)
    with pytest.raises(ValueError, match="fewer than 2 distinct commands"):
        list(generate.rows("train", 2))


TEXTS = (
    'User: play dear nina by otis redding\nAssistant: {"intent": "play_music", "slots": {}}',
    'Grüße 🙂👩‍🚀 from São Paulo\t"quoted" " ""  spaced   out \n\n 漢字 x"y 12:30 O\'Neill\'s',
    '"',
    '" ',
    ' "',
    '""',
    "  ",
    "",
)


@pytest.fixture(scope="module")
def tokenizer():
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(pathlib.Path(generate.__file__).parent / "tokenizer")


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_gives_every_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_tokenizer_adds_nothing_and_has_the_special_tokens_of_opt(tokenizer):
    ids = tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>"])
    assert ids == [0, 1, 2]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 2, 1)
    assert tokenizer("play")["input_ids"] == tokenizer("play", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode([2, *tokenizer("play")["input_ids"], 2], skip_special_tokens=True) == "play"


def test_a_value_has_the_same_tokens_in_command_and_json(tokenizer):
    rows = list(generate.rows("unseen_values", 300))
    assert rows
    for row in rows:
        prompt = tokenizer(f"User: {row['prompt']}\nAssistant:")["input_ids"]
        whole = tokenizer(f"User: {row['prompt']}\nAssistant: {row['completion']}")["input_ids"]
        assert whole[: len(prompt)] == prompt
        completion = " ".join(map(str, whole[len(prompt) :]))
        for value in json.loads(row["completion"])["slots"].values():
            tokens = " ".join(map(str, tokenizer(f" {value}")["input_ids"]))
            assert tokens in " ".join(map(str, prompt))
            assert tokens in completion


def test_what_stands_between_two_values_is_one_token(tokenizer):
    text = ' {"intent": "play_music", "slots": {"song": "apple", "device": "tv"}}'
    tokens = [tokenizer.decode(token) for token in tokenizer(text)["input_ids"]]
    between = [token for token in tokens if '"' in token]
    assert between == [' {"intent": "', '", "slots": {"song": "', '", "device": "', '"}}'], tokens


def test_the_script_writes_the_committed_files_again(tmp_path):
    pytest.importorskip("tokenizers")
    from tunefleet.data.demo import build_tokenizer

    build_tokenizer.main(["--out", str(tmp_path)])
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["tokenizer.json", "tokenizer_config.json"]
    for name in written:
        assert (tmp_path / name).read_bytes() == (build_tokenizer.FOLDER / name).read_bytes(), name
