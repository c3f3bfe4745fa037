"""Refusals: reasons that more than one file of `known/` gives for what cannot be sharded, split or packed."""

from __future__ import annotations

EXPERTS = "most of its weights are experts, which are not sharded here"
OVER_ALL_HEADS = "it normalises over all heads at once, and a rank has only some of them"
GATE_UP_IN_ONE = "it has gate and up in one weight, of which a rank would get a part that does not match"
KEY_HEAD_SHARED = "all its query heads share one key head"
HEAD_NORM_WEIGHTS = "with its norms of queries and keys every head has weights of its own, which are not sharded here"
OWN_ATTENTION = "it computes attention by code of its own"
CARRIED_STATE = "it carries a state from token to token, which runs on into the next conversation of a sequence"
NO_SEGMENT_MASK = "it takes no mask that tells the conversations of a sequence apart"
