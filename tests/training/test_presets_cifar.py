"""The fast CIFAR-10 recipe is what its sentence says, at any number of epochs."""

import pytest
import torch

from resnet_core.data.augment import get_policy
from resnet_core.data.cache import PixelStore
from resnet_core.data.loaders import Loaders, TrainLoader, ValLoader
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.models.logits import compute_logits
from resnet_core.models.resnet import ResidualBlock
from resnet_core.models.whitened import ResNet8
from resnet_core.training.muon import Muon
from resnet_core.training.optim import learning_rate_at, make_optimizer, set_learning_rate
from resnet_core.training.presets import make_config
from resnet_core.training.starting_weights import build_starting_model, prepare_first_layer


def stripes(count: int, seed: int) -> PixelStore:
    """Stripes across or down in noise, 32 px."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (count,), generator=generator)
    wave = torch.sin(torch.arange(32) * 0.8 + torch.rand(count, 1, generator=generator) * 6)
    across = wave[:, None, :].expand(count, 32, 32)
    pattern = torch.where(targets[:, None, None].bool(), across, across.transpose(1, 2))
    noise = torch.randn(count, 32, 32, 3, generator=generator)
    pixels = (128 + 30 * pattern[..., None] + 30 * noise).clamp(0, 255).to(torch.uint8)
    return PixelStore(
        pixels=pixels.flatten().numpy(),
        offsets=torch.arange(count + 1).mul(32 * 32 * 3).numpy(),
        sizes=((32, 32),) * count,
        targets=targets,
        paths=tuple(map(str, range(count))),
        skipped=(),
    )


def test_it_is_a_residual_network_with_a_frozen_stem_under_muon() -> None:
    config = make_config("cifar-fast")
    assert (config.dataset, config.image_size, config.resize) == ("cifar10", 32, 32)
    model = build_starting_model(config, 10)
    assert isinstance(model, ResNet8)
    assert all(block.residual for block in model.modules() if isinstance(block, ResidualBlock))
    assert not model.conv1.weight.requires_grad
    optimizer = make_optimizer(
        model,
        config.optimizer or "",
        learning_rate=config.learning_rate or 0,
        weight_decay=config.weight_decay or 0,
        momentum=config.momentum,
    )
    assert isinstance(optimizer, Muon)
    turned = {id(p) for group in optimizer.param_groups if group["orthogonal"] for p in group["params"]}
    assert turned == {id(p) for p in model.parameters() if p.ndim == 4 and p.requires_grad}


def test_pictures_are_shifted_and_mirrored_in_turns_and_answers_average_both_sides() -> None:
    config = make_config("cifar-fast")
    policy = get_policy(config.augment or "")
    assert policy.area is None
    assert (policy.flip, policy.in_turns, policy.shift) == (True, True, 2)
    assert config.flip_average


@pytest.mark.parametrize("steps", [1, 20, 391, 4000])
def test_short_and_long_runs_both_end_annealed(steps: int) -> None:
    config = make_config("cifar-fast")
    peak = config.learning_rate or 0
    rates = [
        learning_rate_at(step, schedule=config.schedule or "", peak=peak, total_steps=steps, warmup=config.warmup)
        for step in range(1, steps + 1)
    ]
    assert max(rates) == pytest.approx(peak)
    if steps > 1:
        assert rates[-1] < peak / 1000
        assert sum(rates) / len(rates) == pytest.approx(peak / 2, rel=0.1)


def test_it_learns_pictures_it_has_not_seen_within_a_few_steps() -> None:
    """Stripes across or down, in noise: the whole recipe on the CPU, without its files."""
    config = make_config("cifar-fast", width=8, batch_size=32)
    preprocessing, cpu = Preprocessing(resize=32, crop=32), torch.device("cpu")
    policy = get_policy(config.augment or "")
    loaders = Loaders(
        train=TrainLoader(
            store=stripes(256, 0), preprocessing=preprocessing, policy=policy, batch_size=32, seed=0, device=cpu
        ),
        val=ValLoader(store=stripes(64, 1), preprocessing=preprocessing, batch_size=64, device=cpu),
    )
    model = build_starting_model(config, 2)
    prepare_first_layer(model, loaders)
    optimizer = make_optimizer(model, "muon", learning_rate=0.24, weight_decay=5e-4, momentum=config.momentum)
    model.train()
    for step, batch in enumerate((b for epoch in (1, 2) for b in loaders.train.epoch(epoch)), start=1):
        rate = learning_rate_at(step, schedule="one-cycle", peak=0.24, total_steps=16, warmup=config.warmup)
        set_learning_rate(optimizer, rate)
        loss = torch.nn.functional.cross_entropy(model(batch.images), batch.targets, label_smoothing=0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        [batch] = loaders.val
        right = compute_logits(model, batch.images, flip_average=True).argmax(1) == batch.targets
    assert float(right.float().mean()) > 0.9
