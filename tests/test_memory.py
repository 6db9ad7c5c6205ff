"""What counts as free memory: the machine's, and no more than a container leaves."""

from pathlib import Path

import pytest
import torch

from resnet_core import memory
from resnet_core.memory import free_memory


def test_the_free_memory_of_this_machine_is_a_sensible_number() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or 0 <= free < 1 << 48


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        ({"memory.max": "max", "memory.current": "5"}, None),
        ({"memory.max": "1000", "memory.current": "400"}, 600),
        ({"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 500\nfile 300\n"}, 400),
        ({"memory.max": "1000", "memory.current": "4000"}, 0),
        ({"memory.max": "1000"}, None),
        ({"memory.max": "nonsense", "memory.current": "1"}, None),
        ({"memory.max": "1000", "memory.current": "400", "memory.stat": "file\nfile x\n"}, 600),
        (
            {
                "memory/memory.limit_in_bytes": "2000",
                "memory/memory.usage_in_bytes": "500",
                "memory/memory.stat": "cache 7\ntotal_cache 100\n",
            },
            1600,
        ),
    ],
    ids=str,
)
def test_the_limit_of_a_container_counts(files: dict[str, str], left: int | None, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory._left_of_container(tmp_path) == left


def test_what_this_program_holds_grows_with_what_it_takes() -> None:
    before = memory.held_memory()
    taken = torch.ones(75_000_000)  # 300 MB, more than the allocator keeps back of what other tests took
    after = memory.held_memory()
    if before is None or after is None:
        pytest.skip("this system does not tell")
    assert 150_000_000 < after - before < 450_000_000
    assert taken[-1] == 1


def test_torch_holds_no_gpu_memory_for_a_run_on_the_processor() -> None:
    assert memory.device_memory(torch.device("cpu")) is None
