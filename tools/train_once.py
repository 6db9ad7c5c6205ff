"""A run with a name of its own that is trained once, however often it is asked for."""

from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.runs import Run, RunStore


def train_once(config: TrainConfig, dataset: DatasetSpec, store: RunStore) -> Run:
    """The finished run of this config, which has a name: trained now, taken up where it was stopped, or found.

    Raises RunError with the run's reason where it ends otherwise.
    """
    begun = [run for run in store.list() if _is(run, config) and (run.folder / "resume.pt").is_file()]
    run = begun[0] if begun else store.create(config)
    if run.status() != "finished":
        state = load_resume(run) if begun else None
        with RunRecorder(run) as recorder:
            for _ in recorder.record(fit(config, dataset, saver=recorder, resume=state)):
                pass
    if run.status() != "finished":
        reason = next((event["reason"] for event in reversed(run.events()) if event["event"] == "RunEnded"), "")
        raise RunError(f"Run {run.run_id} ended as {run.status()}. {reason}")
    return run


def _is(run: Run, config: TrainConfig) -> bool:
    """True where the run was started with exactly these settings, its name included."""
    try:
        return run.config() == config
    except RunError:  # another version's, or damaged
        return False
