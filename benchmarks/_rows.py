"""Rows of a table: ours, a ceiling, and what is wanted of the two."""

from dataclasses import dataclass
from statistics import median

from _alone import Spent
from _asking import Figures


@dataclass(frozen=True)
class Row:
    """What was measured of one thing.

    Attributes:
        ours: a rate, or milliseconds.
        ceiling: likewise, of what it is compared with.
        figure: what the target is about: a ratio, or milliseconds.
        cpu_us: microseconds of the processor for each request or memory; of both.
    """

    name: str
    unit: str
    ours: float
    ceiling: float
    figure: float
    target: str
    met: bool
    cpu_us: tuple[float, float] = (0.0, 0.0)
    note: str = ""


@dataclass
class Sides:
    """Rates (or seconds) of two sides, round by round, and what they cost the processor."""

    ours: list[float]
    ceiling: list[float]
    cpu: tuple[list[float], list[float]]

    @property
    def ratio(self) -> float:
        """The median of each round's own ratio, which what else runs changes least."""
        return median(ours / top for ours, top in zip(self.ours, self.ceiling, strict=True))

    @property
    def over(self) -> float:
        """The median of what ours takes longer, in milliseconds."""
        pairs = zip(self.ours, self.ceiling, strict=True)
        return 1e3 * median(ours - floor for ours, floor in pairs)

    @property
    def cpu_us(self) -> tuple[float, float]:
        """Microseconds of the processor for each, of both sides."""
        return median(self.cpu[0]), median(self.cpu[1])


def no_sides() -> Sides:
    """Nothing measured yet."""
    return Sides([], [], ([], []))


def note_round(sides: Sides, found: Figures, size: int, alone: Spent) -> None:
    """Add a round of ours, in requests of ``size`` memories, and of a ceiling in this process."""
    done = size * len(found.seconds)
    sides.ours.append(done / found.took)
    sides.ceiling.append(alone.memories / alone.took)
    sides.cpu[0].append(1e6 * found.cpu / done)
    sides.cpu[1].append(1e6 * alone.cpu / alone.memories)


def share(name: str, sides: Sides, target: float | None, note: str = "") -> Row:
    """A row of rates: ours is to be this share of the ceiling."""
    ratio = sides.ratio
    wanted, met = ("", True) if target is None else (f">= {target:.2f}", ratio >= target)
    rates = median(sides.ours), median(sides.ceiling)
    return Row(name, "/s", *rates, ratio, wanted, met, sides.cpu_us, note)


def within(name: str, sides: Sides, target: float, note: str = "") -> Row:
    """A row of latencies: ours is to be this many milliseconds over the floor at most."""
    both = 1e3 * median(sides.ours), 1e3 * median(sides.ceiling)
    wanted = f"<= {target:.0f} ms over"
    return Row(name, "ms", *both, sides.over, wanted, sides.over <= target, sides.cpu_us, note)


def print_row(row: Row) -> None:
    """Print one, as soon as it is there."""

    def shown(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 or not row.unit else f"{value:.2f}"

    figure = f"{row.figure:.0f}" if not row.unit else f"{row.figure:.2f}"
    cpu = [f"{value:.0f}" if value else "" for value in row.cpu_us]
    print(
        f"{row.name:28}{shown(row.ours):>10}{shown(row.ceiling):>10} {row.unit:3}{figure:>8}"
        f"  {row.target:16}{'met' if row.met else 'NOT MET':8}{cpu[0]:>8}{cpu[1]:>8}  {row.note}",
        flush=True,
    )
