"""Is an exported model given the chat template that it was trained with?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.plans import tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.base import files
from tunefleet.data.encode.template_source import find
from tunefleet.runs import checkpoint_files


def test_an_export_has_the_template_of_the_checkpoint(tmp_path: Path) -> None:
    """A template file of the user's may have been edited since."""
    source = find("plain", None)
    own_template = tmp_path / "mine.jinja"
    own_template.write_text("edited")
    plan = tiny_plan(tmp_path)
    config = replace(plan.config, data=replace(plan.config.data, template=str(own_template)))
    plan = replace(plan, config=config)
    checkpoint = plan.paths.checkpoints / "step-00000001"
    assert checkpoint_files.chat_template(plan, tiny_tokenizer(), checkpoint).source == "edited"  # control
    files.write_text(checkpoint / checkpoint_files.CHAT_TEMPLATE, source)
    assert checkpoint_files.chat_template(plan, tiny_tokenizer(), checkpoint).source == source
    own_template.unlink()  # nor is it needed any more
    assert checkpoint_files.chat_template(plan, tiny_tokenizer(), checkpoint).source == source
