"""@HEADER@

    python train.py FOLDER      FOLDER holds train/ and val/ with a folder a class, or the class folders alone

Needs torch, torchvision and pillow, nothing else. Prints a line an epoch and keeps the best weights in best.pt. Random
numbers are drawn as ResNet Lab draws them, so weights, order and changes of the pictures are the same.
"""

import hashlib
import math
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional as F

SETTINGS = {}  # @SETTINGS@
S = SETTINGS
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm", ".jfif"}
# area of the picture that a random cut takes (None: the middle), flip, colour, degrees of rotation
CUT, FLIP, COLOR, TURN = {
    "none": (None, False, 0.0, 0.0),
    "flip": (None, True, 0.0, 0.0),
    "crop-flip": ((0.08, 1.0), True, 0.0, 0.0),
    "standard": ((0.35, 1.0), True, 0.2, 10.0),
}[S["augment"]]


def generator(*parts):
    """A random generator that depends on its parts alone."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


# ---- pictures ----------------------------------------------------------------------------------------------------


def list_pictures(root):
    """Paths and classes of the train and val pictures, and the class names."""
    found = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.suffix.lower() in PICTURES]
    found = [path for path in found if not any(part.startswith((".", "__MACOSX")) for part in path.parts)]
    split = any(path.parts[0] == "train" for path in found)
    depth = 1 if split else 0
    found = [path for path in found if len(path.parts) > depth + 1 and (not split or path.parts[0] in ("train", "val"))]
    names = sorted({path.parts[depth] for path in found})
    chosen = {"train": [], "val": []}
    for path in found:
        chosen[path.parts[0] if split else "train"].append(path.as_posix())
    if not chosen["val"]:
        chosen = set_aside(sorted(chosen["train"]))
    chosen["train"] = fewer(sorted(chosen["train"]), depth)
    return {
        part: [(root / path, names.index(path.split("/")[depth])) for path in sorted(paths)]
        for part, paths in chosen.items()
    }, names


def set_aside(paths):
    """Every fifth picture of each class for validation."""
    chosen, classes = {"train": [], "val": []}, {}
    for path in paths:
        classes.setdefault(path.split("/")[0], []).append(path)
    for name, members in classes.items():
        order = torch.randperm(len(members), generator=generator("split", S["seed"], name)).tolist()
        count = max(1, round(len(members) * 0.2)) if len(members) > 1 else 0
        chosen["val"] += [members[place] for place in order[:count]]
        chosen["train"] += [members[place] for place in order[count:]]
    return chosen


def fewer(paths, depth):
    """As many of the training pictures as are wanted, of every class the same share."""
    share = (S["max_pictures"] or len(paths)) / len(paths)
    classes = {}
    for path in paths:
        classes.setdefault(path.split("/")[depth], []).append(path)

    def drawn(path):
        return hashlib.sha256(f"{S['seed']}/{path}".encode("utf-8", "surrogatepass")).hexdigest()

    kept = [sorted(members, key=drawn)[: max(1, round(share * len(members)))] for members in classes.values()]
    return paths if share >= 1 else [path for members in kept for path in members]


def decode(path, size, exact):
    """uint8 [3, H, W] of a picture, its shorter side at `size` px, or at most that; of long ones the middle."""
    image = Image.open(path)
    image.draft(None, (math.ceil(2.5 * size),) * 2)  # a large JPEG is decoded at a fraction of its size
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.new("RGB", clear.size, "white")
        image.paste(clear, mask=clear.getchannel("A"))
    image = image.convert("RGB")
    short, long = sorted(image.size)
    if short != size and (exact or short > size):
        long = int(size * long / short)
        target = (size, long) if image.width <= image.height else (long, size)
        image = image.resize(target, Image.Resampling.BILINEAR)
    left, top = (max(0, side - 2 * min(image.size)) // 4 * 2 for side in image.size)
    image = image.crop((left, top, image.width - left, image.height - top))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def middle(picture, size):
    top, left = (round((side - size) / 2) for side in picture.shape[-2:])
    return picture[:, top : top + size, left : left + size]


def random_cut(picture, size, rng):
    """A random part of a picture, resized; drawn as in Szegedy et al. 2015."""
    height, width = picture.shape[-2:]
    low, high = math.log(3 / 4), math.log(4 / 3)
    for area, ratio, down, across in torch.rand(10, 4, generator=rng).tolist():
        wanted, aspect = height * width * (CUT[0] + (CUT[1] - CUT[0]) * area), math.exp(low + (high - low) * ratio)
        w, h = round(math.sqrt(wanted * aspect)), round(math.sqrt(wanted / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(down * (height - h + 1)), int(across * (width - w + 1))
            break
    else:
        aspect = min(max(width / height, 3 / 4), 4 / 3)
        w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
        top, left = (height - h) // 2, (width - w) // 2
    part = picture[None, :, top : top + h, left : left + w]
    return F.interpolate(part, size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def augment(pixels, rng):
    """uint8 [N, 3, H, W] → float32 0–255: flipped, rotated and recoloured picture by picture."""

    def spread(limit):
        return (torch.rand(len(pixels), generator=rng) * 2 - 1) * limit

    mirrored = torch.rand(len(pixels), generator=rng) < 0.5 if FLIP else torch.zeros(len(pixels), dtype=torch.bool)
    if not TURN:
        flips = mirrored.to(pixels.device)[:, None, None, None]
        return torch.where(flips, pixels.flip(-1), pixels).float() if FLIP else pixels.float()
    images, angle, _ = pixels.float(), spread(math.radians(TURN)), spread(0.0)
    sign = torch.where(mirrored, -1.0, 1.0)
    matrix = torch.zeros(len(images), 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = sign * torch.cos(angle), -torch.sin(angle)
    matrix[:, 1, 0], matrix[:, 1, 1] = sign * torch.sin(angle), torch.cos(angle)
    grid = F.affine_grid(matrix.to(images.device), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    brightness, contrast, saturation = (1 + spread(COLOR) for _ in range(3))
    spread(0.0)  # the hue, which stays
    luma = torch.tensor((0.299, 0.587, 0.114))
    colors = saturation[:, None, None] * torch.eye(3) + (1 - saturation)[:, None, None] * luma.expand(3, 3)
    colors = (colors * (brightness * contrast)[:, None, None]).to(images.device)
    grey = torch.einsum("nchw,c->n", images, luma.to(images.device)) / images[0, 0].numel()
    shift = (grey * brightness.to(grey)) * (1 - contrast.to(grey))
    return (torch.einsum("nij,njhw->nihw", colors, images) + shift[:, None, None, None]).clamp_(0, 255)


def normalize(pixels):
    mean, std = (torch.tensor(S[key], device=pixels.device).view(3, 1, 1) for key in ("mean", "std"))
    return pixels.float().div(255).sub_(mean).div_(std).contiguous(memory_format=LAYOUT)


def mix(images, targets, rng):
    """Mixup or CutMix of a batch with itself: images, the other targets, the share of the own ones."""
    if not (S["mixup"] or S["cutmix"]):
        return images, targets, 1.0
    order = torch.randperm(len(images), generator=rng).to(images.device)
    draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    cut = S["cutmix"] > 0 and (not S["mixup"] or draws.random() < 0.5)
    share = float(draws.beta(*(S["cutmix" if cut else "mixup"],) * 2))
    share = max(share, 1 - share)
    if not cut:
        return torch.lerp(images[order], images, share), targets[order], share
    height, width = images.shape[-2:]
    rows, columns = int(height * (1 - share) ** 0.5), int(width * (1 - share) ** 0.5)
    top, left = int(draws.integers(height - rows + 1)), int(draws.integers(width - columns + 1))
    window = (..., slice(top, top + rows), slice(left, left + columns))
    mixed = images.clone()
    mixed[window] = images[order][window]
    return mixed, targets[order], 1 - rows * columns / (height * width)


def draw_order(targets, rng):
    """The pictures of an epoch: all once, or each class as often as any other."""
    count = len(targets)
    if S["sampling"] == "plain":
        return torch.randperm(count, generator=rng)
    classes, chosen = torch.unique(targets).tolist(), []
    extra = set(torch.randperm(len(classes), generator=rng)[: count % len(classes)].tolist())
    for number, label in enumerate(classes):
        members, places = torch.nonzero(targets == label).flatten(), count // len(classes) + (number in extra)
        rounds = [members[torch.randperm(len(members), generator=rng)] for _ in range(-(-places // len(members)))]
        chosen.append(torch.cat([*rounds, members[:0]])[:places])
    return torch.cat(chosen)[torch.randperm(count, generator=rng)]


def batches(pictures, targets, epoch):
    """What the network learns from in an epoch: images, targets, the mixed-in targets and the share of the own."""
    order, size = draw_order(targets, generator("order", S["seed"], epoch)), picture_size(epoch)
    starts = list(range(0, len(order), S["batch_size"]))
    if len(starts) > 1 and len(order) - starts[-1] < 2:
        starts.pop()  # a single picture joins the batch before it: BatchNorm needs two
    for step, (start, stop) in enumerate(zip(starts, [*starts[1:], len(order)], strict=True), start=1):
        chosen = order[start:stop]
        rng = generator("cut", S["seed"], epoch, step)
        cut = [random_cut(pictures[i], size, rng) if CUT else middle(pictures[i], size) for i in chosen.tolist()]
        images = augment(torch.stack(cut).contiguous().to(DEVICE), generator("augment", S["seed"], epoch, step))
        labels = targets[chosen].to(DEVICE)
        yield labels, *mix(normalize(images), labels, generator("mix", S["seed"], epoch, step))


# ---- network -----------------------------------------------------------------------------------------------------


class Padding(nn.Module):
    """The shortcut without weights of the CIFAR networks: every second pixel, zeros for new channels."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        before = (self.channels - x.shape[1]) // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.channels - x.shape[1] - before))


class Block(nn.Module):
    """Two 3×3 convolutions, or 1×1, 3×3, 1×1 in a bottleneck, and the skip around them."""

    def __init__(self, inner, channels, stride, shortcut):
        super().__init__()
        deep = S["bottleneck"]
        out = channels * (4 if deep else 1)
        self.conv1 = nn.Conv2d(inner, channels, 1 if deep else 3, 1 if deep else stride, 0 if deep else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride if deep else 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        if deep:
            self.conv3 = nn.Conv2d(channels, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        self.downsample = shortcut

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "conv3"):
            out = self.bn3(self.conv3(F.relu(out)))
        if S["residual"]:
            out = out + (x if self.downsample is None else self.downsample(x))
        return F.relu(out)


class ResNet(nn.Module):
    """He et al. 2015: a stem, stages of blocks, the mean over all places, a linear head."""

    def __init__(self, classes):
        super().__init__()
        width, small = S["width"], S["stem"] != "imagenet"
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = [f"layer{number}" for number in range(1, len(S["blocks"]) + 1)]
        inner = width
        for number, (name, depth) in enumerate(zip(self.stages, S["blocks"], strict=True)):
            channels, blocks = width << number, []
            out = channels * (4 if S["bottleneck"] else 1)
            for index in range(depth):
                stride = 2 if number and not index else 1
                blocks.append(Block(inner, channels, stride, self.shortcut(inner, out, stride)))
                inner = out
            setattr(self, name, nn.Sequential(*blocks))
        self.fc = nn.Linear(inner, classes)

    @staticmethod
    def shortcut(inner, out, stride):
        if not S["residual"] or (stride == 1 and inner == out):
            return None
        if S["stem"] == "cifar":
            return Padding(out)
        return nn.Sequential(nn.Conv2d(inner, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


@torch.no_grad()
def build(classes):
    """The network with the weights it starts from."""
    network, rng = ResNet(classes), generator("weights", S["seed"])
    for module in network.modules():
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            module.weight.uniform_(-bound, bound, generator=rng)
            module.bias.uniform_(-bound, bound, generator=rng)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=rng)
        elif isinstance(module, Block) and S["zero_init_residual"]:
            nn.init.zeros_((module.bn3 if S["bottleneck"] else module.bn2).weight)
    if S["pretrained"]:
        import torchvision

        weights = torchvision.models.get_model(S["model"], weights="IMAGENET1K_V1").state_dict()
        own = network.state_dict()
        fitting = {name: tensor for name, tensor in weights.items() if own[name].shape == tensor.shape}
        network.load_state_dict(fitting, strict=False)
    for module in frozen(network):
        module.requires_grad_(False)
    return network.to(DEVICE).to(memory_format=LAYOUT)


def frozen(network):
    """The parts that keep the weights they start with."""
    if S["freeze"] == "none":
        return []
    count = network.stages.index(S["freeze"]) + 1 if S["freeze"] != "stem" else 0
    return [network.conv1, network.bn1, *(getattr(network, name) for name in network.stages[:count])]


# ---- training ----------------------------------------------------------------------------------------------------


def make_optimizer(network):
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": S["weight_decay"]},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},  # biases and BatchNorm
    ]
    groups, rate = [group for group in groups if group["params"]], S["learning_rate"]
    if S["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=S["momentum"], nesterov=S["momentum"] > 0, fused=True)
    kind = torch.optim.Adam if S["optimizer"] == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, fused=True)


def learning_rate(step, total):
    """The learning rate of the step, counted from 1."""
    peak, warmup, done = S["learning_rate"], S["warmup"], (step - 1) / max(1, total - 1)

    def half(start, end, share):  # of a cosine
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))

    if S["schedule"] == "constant":
        return peak
    if S["schedule"] == "step":
        return peak * (1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01)
    if S["schedule"] == "cosine":
        rising = peak * min(1.0, step / max(1.0, warmup * total))
        return rising if done < warmup else half(peak, 0.0, (done - warmup) / (1 - warmup))
    if done < warmup:
        return half(peak / 25, peak, done / warmup)
    return half(peak, peak / 250_000, (done - warmup) / (1 - warmup))


def picture_size(epoch):
    """Growing from start_image_size to image_size over the first 60 % of the epochs, in steps of 16 px."""
    first, final = S["start_image_size"], S["image_size"]
    if first is None:
        return final
    share = min(1.0, (epoch - 1) / max(1.0, 0.6 * S["epochs"]))
    return min(final, first + int(share * (final - first) / 16 + 0.5) * 16)


def autocast():
    short = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(S["precision"])
    return torch.autocast(DEVICE.type, dtype=short or torch.bfloat16, enabled=short is not None)


@torch.inference_mode()
def judge(network, pictures, targets):
    """Mean loss and accuracy on the validation pictures."""
    network.eval()
    logits, size = [], max(S["batch_size"], 64)
    for start in range(0, len(pictures), size):
        cut = torch.stack([middle(picture, S["image_size"]) for picture in pictures[start : start + size]])
        images = normalize(cut.to(DEVICE))
        with autocast():
            answer = network(images).float()
            if S["flip_average"]:
                answer = (answer + network(images.flip(-1)).float()) / 2
        logits.append(answer.cpu())
    logits = torch.cat(logits)
    return float(F.cross_entropy(logits.double(), targets)), float((logits.argmax(1) == targets).double().mean())


@torch.no_grad()
def follow(average, network, updates):
    """Moves the averaged weights a little towards the network's."""
    decay = min(S["ema_decay"], (1 + updates) / (10 + updates))
    for mine, theirs in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        mine.lerp_(theirs, 1 - decay) if mine.is_floating_point() else mine.copy_(theirs)


def main(folder):
    torch.set_num_threads(S["num_threads"] or torch.get_num_threads())
    found, names = list_pictures(Path(folder))
    larger = S["resize"] if CUT is None else max(S["resize"], round(S["image_size"] * 1.6))
    train = [decode(path, larger, CUT is None) for path, _ in found["train"]]
    val = [decode(path, S["resize"], True) for path, _ in found["val"]]
    targets, val_targets = (torch.tensor([label for _, label in found[part]]) for part in ("train", "val"))
    counts = torch.bincount(targets, minlength=len(names)).clamp(min=1)
    weights = (len(targets) / (len(names) * counts)).float().to(DEVICE) if S["class_weights"] == "balanced" else None
    criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=S["label_smoothing"])
    network = build(len(names))
    average = build(len(names)) if S["ema_decay"] else None
    optimizer, scaler = make_optimizer(network), torch.amp.GradScaler(DEVICE.type, enabled=S["precision"] == "fp16")
    per_epoch = max(1, len(train) // S["batch_size"] + (len(train) % S["batch_size"] >= 2))
    step, best, best_epoch = 0, (-1.0, 0.0), 0
    print(f"{len(train)} train and {len(val)} val pictures of {len(names)} classes: {', '.join(names)}")
    for epoch in range(1, S["epochs"] + 1):
        network.train()
        for module in frozen(network):
            module.eval()
        loss_sum, seen = 0.0, 0
        for labels, images, others, share in batches(train, targets, epoch):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, S["epochs"] * per_epoch)
            with autocast():
                logits = network(images)
            loss = criterion(logits.float(), labels)
            if share < 1:
                loss = share * loss + (1 - share) * criterion(logits.float(), others)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            if S["clip_norm"]:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(network.parameters(), S["clip_norm"])
            scaler.step(optimizer)
            scaler.update()
            if average is not None:
                follow(average, network, step)
            loss_sum, seen = loss_sum + float(loss.detach()) * len(labels), seen + len(labels)
        judged = network if average is None else average
        val_loss, val_top1 = judge(judged, val, val_targets)
        mark = ""
        if (val_top1, -val_loss) > best:
            best, best_epoch, mark = (val_top1, -val_loss), epoch, "  best so far"
            torch.save({"weights": judged.state_dict(), "class_names": names, "settings": S}, "best.pt")
        losses = f"train loss {loss_sum / seen:.6f}, val loss {val_loss:.6f}"
        print(f"epoch {epoch}: {losses}, val accuracy {val_top1:.4f}{mark}", flush=True)
        if 0 < S["patience"] <= epoch - best_epoch:
            break


DEVICE = torch.device(S["device"])
LAYOUT = torch.channels_last if S["memory_format"] == "channels-last" else torch.contiguous_format
if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
