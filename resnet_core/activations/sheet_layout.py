"""How large the tiles of a sheet are and how many stand in a row; sizes in px."""

import math

from resnet_core.errors import ConfigError

GAP = 2  # px between tiles
SHEET_ASPECT = 0.75  # height / width an automatic sheet aims at: it fits a laptop's page
SMALLEST_TILE, LARGEST_TILE, LARGEST_CELL = 12, 224, 48  # px of an automatic tile; a cell is a map of 1×1
LARGEST_EDGE = 4096  # px of one enlarged channel
MAX_HEIGHT = 65_000  # px; JPEG ends at 65,535
MAX_PIXELS = 40_000_000  # about half a second to encode


def tile_size(height: int, width: int, edge: int) -> tuple[int, int]:
    """Return a map's height and width on the sheet, its longer edge at `edge` px."""
    longer = max(height, width)
    return max(1, round(edge * height / longer)), max(1, round(edge * width / longer))


def layout(
    count: int, shape: tuple[int, int], *, tile: int | None, columns: int | None, max_width: int
) -> tuple[int, int]:
    """Return the longer edge of a tile and the number of columns, so that a row fits max_width."""
    height, width = shape
    widest = max_width if width >= height else round(max_width * height / width)
    if tile is None:
        room = (max_width + GAP) // columns - GAP if columns else LARGEST_TILE
        tile = min(_fair_edge(count, shape, max_width), max(1, room))
    edge = min(tile, widest, LARGEST_EDGE)
    across = max(1, (max_width + GAP) // (tile_size(height, width, edge)[1] + GAP))
    balanced = math.ceil(count / math.ceil(count / across))  # no last row of a single tile
    return edge, min(count, across, columns or balanced)


def _fair_edge(count: int, shape: tuple[int, int], max_width: int) -> int:
    """Return the tile edge at which `count` maps about fill a page, a whole multiple of the map's where it can be."""
    longer, shorter = max(shape), min(shape)
    area = max_width * max_width * SHEET_ASPECT / count * longer / shorter
    largest = LARGEST_CELL if longer == 1 else LARGEST_TILE
    edge = min(max(int(math.sqrt(area)) - GAP, SMALLEST_TILE), largest)
    return edge // longer * longer if edge >= longer else edge


def check_count(name: str, value: int | None, largest: int | None = None) -> None:
    if value is None:
        return
    if not isinstance(value, int) or value < 1 or (largest is not None and value > largest):
        span = f"from 1 to {largest:,}" if largest else "of at least 1"
        raise ConfigError(f"{name} must be a whole number {span}, not {value!r}.")


def check_sheet(width: int, height: int) -> None:
    if height > MAX_HEIGHT or width * height > MAX_PIXELS:
        raise ConfigError(
            f"A sheet of {width}×{height} pixels is too large; choose a smaller tile or fewer channels a page."
        )
