"""Token loss: torch's cross entropy, with its gradient where the logits were."""

import pytest
import torch
from torch.nn import functional

from tunefleet.model import token_loss as room
from tunefleet.model.token_loss import token_loss

ROWS, VOCAB = 37, 1000


@pytest.fixture(autouse=True)
def _several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOSS_CHUNK", {"cpu": 8 * VOCAB})


def _inputs(dtype: torch.dtype, width: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, width, generator=drawn).to(dtype).requires_grad_()
    weight = torch.randn(VOCAB, width, generator=drawn).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(VOCAB, (ROWS,), generator=drawn)


@pytest.mark.parametrize("scale", [1.0, 0.013, 65536.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_loss_and_gradients_are_those_of_torch(dtype: torch.dtype, scale: float) -> None:
    gradients, losses = [], []
    for loss_of in (
        token_loss,
        lambda logits, labels: functional.cross_entropy(logits.float(), labels, reduction="sum"),
    ):
        hidden, weight, labels = _inputs(dtype)
        loss = loss_of(hidden @ weight.T, labels)
        (loss * (scale / ROWS)).backward()
        losses.append(loss.item())
        gradients.append((hidden.grad, weight.grad))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).norm() <= (1e-6 if dtype is torch.float32 else 2e-3) * theirs.norm()


def test_the_gradient_takes_the_place_of_the_logits() -> None:
    hidden, weight, labels = _inputs(torch.bfloat16)
    logits = hidden @ weight.T
    places: list[int] = []
    logits.register_hook(lambda gradient: places.append(gradient.data_ptr()))
    token_loss(logits, labels).backward()
    assert places == [logits.data_ptr()]


def test_logits_that_are_needed_after_the_loss_are_refused_and_not_silently_wrong() -> None:
    hidden, weight, labels = _inputs(torch.float32)
    capped = torch.tanh(hidden @ weight.T)  # its backward pass reads its output
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        token_loss(capped, labels).backward()
    token_loss(capped.detach().requires_grad_() * 30, labels).backward()  # as Gemma 2 goes on: the product is new


def test_no_rows_are_a_loss_of_zero() -> None:
    hidden, weight, labels = _inputs(torch.float32)
    loss = token_loss(hidden[:0] @ weight.T, labels[:0])
    loss.backward()
    assert loss.item() == 0.0
    assert not weight.grad.any()


def test_a_loss_that_is_nan_stays_nan() -> None:
    hidden, weight, labels = _inputs(torch.float32)
    with torch.no_grad():
        hidden[3] = float("nan")
    assert torch.isnan(token_loss(hidden @ weight.T, labels))
