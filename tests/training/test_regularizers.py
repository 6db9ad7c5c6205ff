"""Mixing, stochastic depth, gradient clipping and patience, as a training uses them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.loaders import Batch
from resnet_core.data.mixing import Mixture
from resnet_core.device import make_generator
from resnet_core.errors import ConfigError
from resnet_core.models.zoo import build_model
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import EpochEnded, RunEnded
from resnet_core.training.session import Session
from resnet_core.training.stochastic_depth import choose_dropped, keep_all, residual_blocks

Quick = Callable[..., TrainConfig]


def test_the_loss_of_a_mixed_batch_is_that_of_both_classes_by_their_shares(
    quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    session = Session(quick(label_smoothing=0.0, class_weights="none"), tiny_flowers)
    batch = next(session._batches())
    others = batch.targets.flip(0)
    session.learner.begin()
    logits = session.learner.forward(batch.images).float()
    plain, partners = (nn.functional.cross_entropy(logits, targets) for targets in (batch.targets, others))
    mixed = Batch(batch.images, batch.targets, Mixture(targets=others, share=0.7))
    assert session.learner._loss(logits, mixed).item() == pytest.approx((0.7 * plain + 0.3 * partners).item())


def test_training_pictures_are_mixed_and_validation_pictures_are_not(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    mixed, plain = (Session(quick(mixup=mixup), tiny_flowers) for mixup in (1.0, 0.0))
    for one, other in zip(mixed.loaders.train.epoch(1), plain.loaders.train.epoch(1), strict=True):
        assert one.mixture is not None
        assert other.mixture is None
        assert torch.equal(one.targets, other.targets)
        share = one.mixture.share
        for image, own, label in zip(one.images, other.images, one.mixture.targets, strict=True):
            rest = image - share * own
            partners = (1 - share) * other.images[other.targets == label]
            assert any(torch.allclose(rest, partner, atol=1e-4) for partner in partners)
    for one, other in zip(mixed.loaders.val, plain.loaders.val, strict=True):
        assert one.mixture is None
        assert torch.equal(one.images, other.images)


def test_dropped_branches_leave_the_skip_and_the_rest_is_scaled_up() -> None:
    network = build_model("resnet20", num_classes=5).train()
    blocks = residual_blocks(network)
    assert len(blocks) == 9
    choose_dropped(network, 0.5, 2000, make_generator("depth", 0, 1))
    for number, block in enumerate(blocks, start=1):
        assert block.kept is not None
        kept = 1 - 0.5 * number / 9
        assert sorted(set(block.kept.flatten().tolist())) == pytest.approx([0.0, 1 / kept])
        assert block.kept.mean().item() == pytest.approx(1.0, abs=0.1), "in the mean nothing changes"
    block = blocks[3]
    images = torch.randn(2000, 32, 2, 2)[:, : block.conv1.in_channels]  # type: ignore[attr-defined]
    out = block(images)
    gone = (block.kept == 0).flatten()
    assert 0 < gone.sum() < 2000
    assert torch.equal(out[gone], block.skip(images)[gone].relu())
    assert not torch.equal(out[~gone], block.skip(images)[~gone].relu())


def test_prediction_never_skips_a_block() -> None:
    network = build_model("resnet20", num_classes=5).eval()
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        expected = network(images)
        choose_dropped(network, 0.9, 3, make_generator(0))
        assert torch.equal(network(images), expected)
    keep_all(network)
    assert all(block.kept is None for block in residual_blocks(network))


def test_nothing_is_left_of_a_drop_after_the_step(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    session = Session(quick(drop_path=0.5, ema_decay=0.9), tiny_flowers)
    before = {name: value.clone() for name, value in session.model.state_dict().items()}
    list(session.train_epoch())
    for network in (session.model, session.judged_model):
        assert all(block.kept is None for block in residual_blocks(network))
    assert any(not torch.equal(value, before[name]) for name, value in session.model.state_dict().items())


@pytest.mark.parametrize("model", ["resnet18", "resnet20"])
def test_a_plain_network_cannot_skip_blocks(model: str, quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = quick(model=model, residual=False, drop_path=0.1, image_size=32, resize=32)
    with pytest.raises(ConfigError, match="skip connections"):
        Session(config, tiny_flowers)


def test_a_clipped_step_is_no_longer_than_asked(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    settings: dict[str, Any] = {
        "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 1.0, "schedule": "constant"
    }  # fmt: skip

    def length(clip_norm: float) -> float:
        session = Session(quick(**settings, clip_norm=clip_norm), tiny_flowers)
        before = [parameter.detach().clone() for parameter in session.model.parameters()]
        session.learner.begin()
        session._step(next(session._batches()))
        after = session.model.parameters()
        return float(sum(((a.detach() - b) ** 2).sum() for a, b in zip(after, before, strict=True)) ** 0.5)

    free = length(0.0)
    assert length(free / 10) == pytest.approx(free / 10, rel=1e-3)
    assert length(free * 10) == pytest.approx(free, rel=1e-5)


def test_patience_ends_a_training_that_gets_no_better(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.2, 0.6, 0.5, 0.4, 0.3, 0.9])
    validate = Session.validate

    def scripted(self: Session, control: Any) -> Any:
        import dataclasses

        return dataclasses.replace(validate(self, control), top1=next(accuracies), loss=1.0)

    monkeypatch.setattr(Session, "validate", scripted)
    events = list(fit(quick(epochs=6, patience=2), tiny_flowers))
    ended = events[-1]
    assert isinstance(ended, RunEnded)
    assert ended.status == "finished"
    assert "epoch 2 was the best" in ended.reason
    assert len([event for event in events if isinstance(event, EpochEnded)]) == 4
