"""Is an exported model given the chat template that it was trained with?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.plans import tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.base import files
from tunefleet.data.encode.template import find
from tunefleet.runs import parts, resumed


def test_an_export_has_the_template_of_the_checkpoint(tmp_path: Path) -> None:
    """A template file of the person's may have been edited since."""
    source = find("plain", None)
    mine = tmp_path / "mine.jinja"
    mine.write_text("edited")
    plan = tiny_plan(tmp_path)
    config = replace(plan.config, data=replace(plan.config.data, template=str(mine)))
    plan = replace(plan, config=config)
    checkpoint = plan.paths.checkpoints / "step-00000001"
    assert parts.chat_template(plan, tiny_tokenizer(), checkpoint).source == "edited"  # control
    files.write_text(checkpoint / resumed.CHAT_TEMPLATE, source)
    assert parts.chat_template(plan, tiny_tokenizer(), checkpoint).source == source
    mine.unlink()  # nor is it needed any more
    assert parts.chat_template(plan, tiny_tokenizer(), checkpoint).source == source


def test_answers_stop_at_both_ends() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    tokenizer.chat_template = find("gemma", None)
    assert parts.stops(parts.prepare_room.own_template(tokenizer), tokenizer) == (2, 320)
