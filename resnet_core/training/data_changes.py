"""May a run go on with its pictures as they are now? What has changed since it was saved is told, and asked about."""

from typing import Any

from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.images import display_name
from resnet_core.errors import DataChangedError, RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.feeding import choose_pictures, mix_dataset
from resnet_core.training.picture_list import keep_pictures, list_pictures, read_pictures, tell_changes
from resnet_core.training.recorder import write_state
from resnet_core.training.resuming import check_version
from resnet_core.training.runs import Run


def agreed_state(run: Run, state: dict[str, Any], dataset: DatasetSpec, *, anyway: bool = False) -> dict[str, Any]:
    """The state to go on from with these pictures: as it is where they are the same, or marked as agreed to.

    Raises DataChangedError with what has changed unless told to go on `anyway`, and RunError where that cannot be:
    another version's state, or other classes.
    """
    check_version(state)
    now = learnt_pictures(state, dataset)
    if now.fingerprint == state["data_fingerprint"]:
        return state
    _check_classes(run, now)
    told = _tell(run, state, now)
    if not anyway:
        raise DataChangedError(f"The pictures of run {run.run_id} have changed since it was saved: {told}.")
    accepted = f"The pictures have changed, and a person said to go on with them: {told}."
    return state | {"data_fingerprint": now.fingerprint, "accepted": accepted}


def ready_to_go_on(run: Run, state: dict[str, Any], dataset: DatasetSpec, *, anyway: bool = False) -> dict[str, Any]:
    """`agreed_state` of a run's own saved state; what was agreed to is in its folder. Raises RunError."""
    agreed = agreed_state(run, state, dataset, anyway=anyway)
    if agreed is not state:
        try:
            write_state(run.folder / "resume.pt", agreed)
            keep_pictures(run.folder, learnt_pictures(state, dataset))
        except OSError as error:
            raise RunError(f"Run {run.run_id} cannot be written ({error.strerror}); make room on the disk.") from error
    return agreed


def learnt_pictures(state: dict[str, Any], dataset: DatasetSpec) -> DatasetSpec:
    """The data set as the run of this state learns from it: with what it mixes in or leaves out."""
    known = TrainConfig().to_json()
    config = TrainConfig.from_json({key: value for key, value in state["config"].items() if key in known})
    return mix_dataset(config, choose_pictures(config, dataset))


def _check_classes(run: Run, now: DatasetSpec) -> None:
    """The network has one answer a class, in order. Raises RunError where the classes are others."""
    started = _started(run)
    before, names = tuple(started.get("class_names", now.class_names)), now.class_names
    if before == names:
        return
    gone = ", ".join(display_name(str(name)) for name in before if name not in names)
    new = ", ".join(display_name(name) for name in names if name not in before)
    told = "; ".join(filter(None, [f"gone: {gone}" if gone else "", f"new: {new}" if new else ""])) or "another order"
    raise RunError(
        f"The classes of run {run.run_id} have changed ({told}), so its answers would not fit; start a new run."
    )


def _started(run: Run) -> dict[str, Any]:
    """What the run told when it last began; empty if it never did."""
    return next((event for event in reversed(run.events()) if event["event"] == "RunStarted"), {})


def _tell(run: Run, state: dict[str, Any], now: DatasetSpec) -> str:
    before = read_pictures(run.folder)
    if before is not None and before.fingerprint == state["data_fingerprint"]:
        return tell_changes(before, list_pictures(now))
    started = _started(run)
    counts = f"{started.get('n_train', '?')} to train on and {started.get('n_val', '?')} to judge by then"
    return f"{counts}, {len(now.train):,} and {len(now.val):,} now; which ones was not noted when it was saved"
