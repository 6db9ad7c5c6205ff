"""What stays in memory: a training against T1's loop, the idle app, and growth over a long session.

training   the largest resident memory of a process that trains ResNet-34 at 224 px in batches of 16 for some steps
idle app   resident memory of `python app.py` with its children, once it has loaded everything and rests
growth     of one process over 1,000 classified photos and three small trainings, after a first of each
"""

import gc
import io
import os
import tempfile
from pathlib import Path

from benchmarks.harness import Benchmark, CannotMeasure, Comparison, Measured, Options
from benchmarks.pages import Page
from benchmarks.resident import peak_mb, resident_mb, rest_mb

STEPS = 6
CLASSIFICATIONS, TRAININGS = 1000, 3


def our_training(options: Options) -> Measured:
    """The peak of ours, with the preparation of the pictures in a fresh cache."""
    from benchmarks.tutorials import flower_folder
    from resnet_core.data.datasets import load_dataset
    from resnet_core.training.control import Control
    from resnet_core.training.engine import fit
    from resnet_core.training.events import RunEnded, RunStarted, StepEnded
    from resnet_core.training.presets import make_config

    control, steps, precision, ended = Control(), 0, "", ""
    with tempfile.TemporaryDirectory() as home, flower_folder(options.data_dir) as (folder, pictures):
        os.environ["RESNET_LAB_CACHE"] = home
        config = make_config("tutorial-flowers", dataset=str(folder), precision=options.precision)
        for event in fit(config, load_dataset(str(folder), data_dir=folder), control=control):
            if isinstance(event, RunStarted):
                precision = event.precision
            if isinstance(event, StepEnded):
                steps = event.step
                if steps >= STEPS:
                    control.stop()
            if isinstance(event, RunEnded):
                ended = event.reason
    if steps < STEPS:
        raise CannotMeasure(f"ended after {steps} steps: {ended}")
    notes = {"steps": steps, "precision": precision, "pictures": pictures}
    return Measured(values={"training": peak_mb()}, notes=notes)


def tutorial_training(options: Options) -> Measured:
    """The peak of T1's loop."""
    from benchmarks.tutorials import flower_folder, train_t1_steps
    from resnet_core.device import import_torchvision

    with flower_folder(options.data_dir) as (folder, pictures):
        train_t1_steps(import_torchvision().models.resnet34(num_classes=5), folder, STEPS - 1)
    return Measured(values={"training": peak_mb()}, notes={"steps": STEPS, "pictures": pictures})


def idle_app(_: Options) -> Measured:
    """What the app and its children hold, once its page has answered and no processor time is used any more."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        folders = ["--runs-dir", f"{home}/runs", "--data-dir", f"{home}/data", "--port"]
        with Page(["app.py", *folders], home=Path(home)) as page:
            page.wait_until_answered()
            megabytes = rest_mb(page.process.pid, limit=200)
            peak = peak_mb(page.process.pid)
    return Measured(values={"idle app": megabytes}, notes={"peak_mb": peak})


def long_session(options: Options) -> Measured:
    """How much one process grows over many photos and some trainings, run the way the app runs them."""
    from PIL import Image

    from benchmarks.tutorials import flower_folder
    from resnet_core.data.images import read_image
    from resnet_core.inference.catalog import load_classifier
    from resnet_core.training.presets import make_config
    from resnet_core.training.runner import Runner
    from resnet_core.training.runs import RunStore

    photo = io.BytesIO()
    Image.effect_mandelbrot((640, 480), (-2, -1.5, 1, 1.5), 40).convert("RGB").save(photo, "JPEG")
    with tempfile.TemporaryDirectory() as home, flower_folder(Path(home), per_class=8) as (folder, _):
        os.environ["RESNET_LAB_CACHE"] = f"{home}/cache"
        store = RunStore(Path(home) / "runs")
        runner, classifier = Runner(store, data_dir=Path(home)), load_classifier("flowers", store)
        classifier.warm_up()  # as the app does at its start: else the engine may come, and be counted, at any time
        config = make_config(
            dataset=str(folder), model="resnet18", image_size=64, epochs=2, precision=options.precision
        )

        def use(classifications: int, trainings: int) -> float:
            for _ in range(trainings):
                run = runner.start(config)
                runner.wait()
                if run.status() != "finished":
                    raise CannotMeasure(f"a training ended as {run.status()}")
            for _ in range(classifications):
                classifier.classify(read_image(photo.getvalue(), name="photo.jpg", draft_size=512))
            gc.collect()
            return resident_mb()

        fresh = resident_mb()
        before, after = use(50, 1), use(CLASSIFICATIONS, TRAININGS)
    return Measured(values={"growth": after - before}, notes={"fresh": fresh, "before": before, "after": after})


def _without_proc() -> str | None:
    return None if Path("/proc/self/statm").exists() else "reads /proc, which this system does not have"


_ALL_SIDES = {
    "ours": our_training,
    "tutorial": tutorial_training,
    "idle app": idle_app,
    "long session": long_session,
}

BENCHMARK = Benchmark(
    name="memory",
    claim="A training takes no more memory than the tutorial's loop, the idle app little, and long use adds nothing.",
    sides=_ALL_SIDES,
    comparisons=(
        Comparison(metric="training", unit="MB", peer="tutorial", larger_is_better=False, at_most=1.0, moonshot=0.5),
        Comparison(
            metric="idle app",
            unit="MB",
            ours="idle app",
            peer=None,
            larger_is_better=False,
            at_most=1200,
            moonshot=800,
        ),
        Comparison(
            metric="growth",
            unit="MB",
            ours="long session",
            peer=None,
            larger_is_better=False,
            at_most=50,
            moonshot=10,
            note=f"{CLASSIFICATIONS:,} photos and {TRAININGS} trainings",
        ),
    ),
    blocks=2,
    timed=False,
    missing=dict.fromkeys(_ALL_SIDES, _without_proc),
)
