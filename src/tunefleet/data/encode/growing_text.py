"""Growing text: where a template's syntax proves that the text of a conversation's beginning begins its whole text.

Then all prefixes of a conversation are read off one rendering, instead of one rendering for each. Such a template loops
once over `messages`, at its top level; what stands before the loop and in it sees the first message, the message of its
turn and what earlier turns have set, but neither later messages nor `add_generation_prompt`; what stands behind the
loop sees nothing that was set. So each turn writes the same, however many follow, and the end is always the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Template, nodes

_MESSAGES, _GENERATION, _LOOP = "messages", "add_generation_prompt", "loop"
_EARLIER = frozenset(("first", "index", "index0"))  # what a loop tells of the turns so far
_CALLED = frozenset(("namespace", "raise_exception", "strftime_now"))
_NODES = (
    *(nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.NSRef, nodes.Assign, nodes.If, nodes.For),
    *(nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.Concat),
    *(nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Neg),
    *(nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair),
)
_RANDOM = frozenset(("random",))  # filters


@dataclass(frozen=True)
class GrowingText:
    """The text of a whole conversation; its first k messages end at character `ends[k]`.

    `close` stands behind the last message, and `opening` in its place where an answer is asked for.
    """

    text: str
    ends: Sequence[int]
    close: str
    opening: str

    def prefix(self, messages: int, generation: bool) -> str:
        """The text of the first so many messages, at least one, as the template writes it for them alone."""
        return self.text[: self.ends[messages]] + (self.opening if generation else self.close)


class _Noted(list[Any]):
    """Messages that note how many pieces of text were written when each of them was asked for, and behind the last."""

    def __init__(self, messages: Sequence[Any], pieces: Sequence[str]) -> None:
        super().__init__(messages)
        self._pieces = pieces
        self.ends: list[int] = []

    def __iter__(self) -> Iterator[Any]:
        for message in super().__iter__():
            self.ends.append(len(self._pieces))
            yield message
        self.ends.append(len(self._pieces))


class GrowingTemplate:
    """A compiled template of which `grows` holds, with its special tokens."""

    def __init__(self, compiled: Template, specials: Mapping[str, str]) -> None:
        self._compiled = compiled
        self._named: dict[str, Any] = {**specials, "tools": None, "documents": None}
        self._opening: str | None = None

    def grow(self, messages: Sequence[Mapping[str, str]]) -> GrowingText:
        """One rendering of `messages`, of which there are some. Raises what the template raises."""
        pieces, ends = self._written(messages, generation=False)
        if self._opening is None:
            prompt_pieces, prompt_ends = self._written(messages, generation=True)
            self._opening = "".join(prompt_pieces[prompt_ends[-1] :])
        lengths = [0]
        for piece in pieces:
            lengths.append(lengths[-1] + len(piece))
        return GrowingText("".join(pieces), [lengths[end] for end in ends], "".join(pieces[ends[-1] :]), self._opening)

    def _written(self, messages: Sequence[Mapping[str, str]], generation: bool) -> tuple[list[str], list[int]]:
        pieces: list[str] = []
        noted = _Noted(messages, pieces)
        context = self._compiled.new_context({**self._named, _MESSAGES: noted, _GENERATION: generation})
        for piece in self._compiled.root_render_func(context):
            pieces.append(piece)
        return pieces, noted.ends


def grows(compiled: Template, source: str) -> bool:
    """Whether the syntax of `source` proves it."""
    tree = compiled.environment.parse(source)
    loops = [number for number, node in enumerate(tree.body) if _is_loop(node)]
    if len(loops) != 1 or not all(isinstance(node, _NODES) for node in _inside(tree)):
        return False
    behind = tree.body[loops[0] + 1 :]
    set_names = {name for node in _inside(tree) if _is_set(node) for name in _names(node)}
    return (
        all(_GENERATION not in _names(node) for node in tree.body[: loops[0] + 1])
        and not any(_names(node) & {*set_names, _MESSAGES, _LOOP} for node in behind)
        and not {_MESSAGES, _GENERATION, _LOOP} & set_names
        and _sees_the_first_alone(tree)
        and all(map(_is_repeatable, _inside(tree)))
    )


def _is_loop(node: nodes.Node) -> bool:
    """Over all messages, in their order."""
    if not isinstance(node, nodes.For) or node.test or node.else_ or node.recursive:
        return False
    return isinstance(node.iter, nodes.Name) and node.iter.name == _MESSAGES


def _inside(node: nodes.Node) -> Iterator[nodes.Node]:
    for inner in node.iter_child_nodes():
        yield inner
        yield from _inside(inner)


def _is_set(node: nodes.Node) -> bool:
    return isinstance(node, nodes.NSRef) or (isinstance(node, nodes.Name) and node.ctx != "load")


def _names(node: nodes.Node) -> set[str]:
    return {name.name for name in (node, *_inside(node)) if isinstance(name, nodes.Name | nodes.NSRef)}


def _sees_the_first_alone(tree: nodes.Template) -> bool:
    """Whether `messages` stands only behind the loop's `in`, as `messages[0]`, and before an `and`; the loop's own
    counts, where it tells what came before.
    """
    allowed: set[int] = set()
    for node in _inside(tree):
        if isinstance(node, nodes.For) and _is_loop(node):
            allowed.add(id(node.iter))
        elif isinstance(node, nodes.And):
            allowed.add(id(node.left))
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == 0:
            allowed |= {id(node.node)} if isinstance(node.node, nodes.Name) and node.node.name == _MESSAGES else set()
        elif isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == _LOOP:
            allowed |= {id(node.node)} if node.attr in _EARLIER else set()
    return all(id(name) in allowed for name in tree.find_all(nodes.Name) if name.name in (_MESSAGES, _LOOP))


def _is_repeatable(node: nodes.Node) -> bool:
    """Whether it writes the same each time: a method of a value, or a function that is known to."""
    if isinstance(node, nodes.Filter):
        return node.name not in _RANDOM
    called = node.node if isinstance(node, nodes.Call) else None
    return called is None or isinstance(called, nodes.Getattr) or getattr(called, "name", "") in _CALLED
