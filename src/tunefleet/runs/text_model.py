"""Text model: an exported or public model with its tokenizer and chat template, ready to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tunefleet.base import files
from tunefleet.base.errors import ConfigError, DataError, RunError
from tunefleet.data import prepare
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.evaluation.streamed_answer import Answer, Sampling, streamed
from tunefleet.model import build, weight_files
from tunefleet.model import tokenizer as tokenizers
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths import model_files
from tunefleet.plan.paths.model_files import Sources
from tunefleet.plan.plan import Plan
from tunefleet.plan.precision import is_slow
from tunefleet.plan.processes.machine import Machine

Message = Mapping[str, Any]
_MARK = "tunefleet_probe"  # no template writes it by itself


class TooLong(ConfigError):
    """A prompt for which the model has no room."""


@dataclass(frozen=True)
class TextModel:
    """A model that answers prompts; `context` is the most tokens of prompt and answer, None where there is no limit.

    With an adapter that was not merged, `adapter_off` answers as the model beneath it.
    """

    model: Any
    tokenizer: Any
    template: ChatTemplate
    stops: tuple[int, ...]
    context: int | None
    folder: Path
    has_adapter: bool = False
    adapter_off: bool = False

    def chat_prompt(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> str:
        """The text behind which the answer to `messages` begins. Raises `DataError` where the template refuses them."""
        return self.template.prompt(messages, tools)

    def writes_system(self) -> bool:
        """Whether the template writes a system prompt."""
        return self._writes([{"role": "system", "content": _MARK}, {"role": "user", "content": "?"}])

    def writes_tools(self) -> bool:
        """Whether the template writes the functions that may be called."""
        function = {"name": _MARK, "description": "", "parameters": {"type": "object", "properties": {}}}
        return self._writes([{"role": "user", "content": "?"}], [{"type": "function", "function": function}])

    def _writes(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> bool:
        try:
            return _MARK in self.chat_prompt(messages, tools)
        except DataError:
            return False

    def ids(self, prompt: str) -> list[int]:
        """The tokens of `prompt`: the template writes its special tokens itself."""
        return list(self.tokenizer(prompt, add_special_tokens=False)["input_ids"])

    def plain_ids(self, text: str) -> list[int]:
        """The tokens of `text` alone, begun as plain text is in training."""
        begin = str(self.template.specials.get("bos_token", ""))
        return self.ids(text if text.startswith(begin) else begin + text)

    @property
    def vocab_rows(self) -> int:
        """Rows of the embedding."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    def expect_room(self, prompt: Sequence[int]) -> None:
        """Raises `TooLong` where nothing could be generated behind the tokens `prompt`."""
        if not prompt or (self.context is not None and len(prompt) >= self.context):
            raise TooLong(
                f"the prompt has {len(prompt)} tokens, and this model takes from 1 to "
                f"{'any number' if self.context is None else self.context - 1} with an answer. Make it "
                f"{'shorter' if prompt else 'longer'}."
            )

    def answer(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        put: Callable[[str], None] = lambda piece: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """The answer behind the tokens `prompt`, given to `put` as it grows.

        Raises `TooLong` where nothing could be generated behind it.
        """
        self.expect_room(prompt)
        room = sampling.max_tokens if self.context is None else min(sampling.max_tokens, self.context - len(prompt))
        limits = replace(sampling, max_tokens=room)
        with self.model.disable_adapter() if self.adapter_off else nullcontext():
            return streamed(self.model, self.tokenizer, prompt, limits, self.stops, put, cancelled)

    def beneath(self) -> TextModel | None:
        """The model without its adapter, in the same memory; None where it has none of its own."""
        return replace(self, adapter_off=True) if self.has_adapter else None

    def beside(self, folder: Path) -> TextModel:
        """The weights in `folder` with the tokenizer and the template of this model. Raises `RunError`."""
        model, has_adapter = _model(folder, self.tokenizer)
        return replace(self, model=model, folder=folder, has_adapter=has_adapter, context=_context(model))


def of_run(plan: Plan, choice: str = "last") -> TextModel:
    """The exported model of the chosen checkpoint. Raises `RunError`."""
    from tunefleet.runs.checkpoint_export import exported  # heavy: DeepSpeed, which no folder needs

    return of_folder(exported(plan, choice))


def of_folder(folder: Path) -> TextModel:
    """The model in `folder`: a whole one, or an adapter beside its base. Raises `RunError`."""
    try:
        tokenizer = tokenizers.load(str(_tokenizer_folder(folder)), _model_type(folder))
        template = prepare.own_template(tokenizer)
        model, has_adapter = _model(folder, tokenizer)
    except ConfigError as error:
        raise RunError(*(complaint.removeprefix("model.path: ") for complaint in error.complaints)) from None
    stops = end_of_turn(template, tokenizer).stops
    return TextModel(model, tokenizer, template, stops, _context(model), folder, has_adapter)


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter without its base."""
    return (folder / "adapter_config.json").is_file()


def base_folder(folder: Path) -> Path:
    """Where the base model of the adapter in `folder` is. Raises `RunError` where it is not on this machine."""
    name = _json(folder / "adapter_config.json").get("base_model_name_or_path")
    base = model_files.find(str(name)) if name else None
    if base is None:
        raise RunError(
            f"{folder}: is an adapter for {name or 'a model that it does not name'}, which is not on this machine. "
            "Put it back, or merge the adapter where it is: `tunefleet export RUN --merged --to FOLDER`."
        )
    return base


def _tokenizer_folder(folder: Path) -> Path:
    has_own = any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return folder if has_own or not is_adapter(folder) else base_folder(folder)


def _model_type(folder: Path) -> str:
    return str(_json((base_folder(folder) if is_adapter(folder) else folder) / "config.json").get("model_type", ""))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = files.read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}. Name the folder of a model.") from None
    return content if isinstance(content, Mapping) else {}


def _model(folder: Path, tokenizer: Any) -> tuple[Any, bool]:
    """The model in its own dtype, or in fp32 where this machine is slow in 16 bits; and whether it has an adapter."""
    weights = base_folder(folder) if is_adapter(folder) else folder
    sources = Sources(str(weights), str(weights), Architecture({}))
    model: Any = build.build(sources, 0, keep_file_dtype=not is_slow(Machine.this()), tokenizer=tokenizer)
    if is_adapter(folder):
        if not (folder / "adapter_model.safetensors").is_file():
            raise RunError(f"{folder}: has no adapter_model.safetensors, the only file of an adapter that is read.")
        weight_files.expect_fitting_adapter(folder)
        from peft import PeftModel  # heavy: with an adapter alone

        model = PeftModel.from_pretrained(model, folder, local_files_only=True, trust_remote_code=False)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), is_adapter(folder)


def _context(model: Any) -> int | None:
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None
