"""Tells "not given" from None, where None means something."""

from enum import Enum


class Unset(Enum):
    """The type of `UNSET`; an enum of one, so that type checkers narrow ``is UNSET``."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET
"""The default of arguments whose None means something: leave it as it is, or to its default."""
