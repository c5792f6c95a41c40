"""What only an extra installs: loaded when it is asked for, and named where it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

_DISTRIBUTIONS = {
    "classic": ("langchain-classic", {"langchain_classic"}),
    "agents": ("langchain", {"langchain", "langgraph"}),
    "langgraph": ("langgraph-checkpoint", {"langgraph"}),
}


@contextmanager
def needed_by(name: str, extra: str) -> Iterator[None]:
    """Turn a missing package of an extra, imported inside, into an error that says what to install.

    Args:
        name: of the class that needs it.
        extra: of this distribution.

    Raises:
        ImportError: it is missing; any other import that fails is raised as it is.
    """
    distribution, packages = _DISTRIBUTIONS[extra]
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in packages:
            raise
        raise ImportError(
            f'{name} needs {distribution}: pip install "agentmem-langchain[{extra}]"'
        ) from error
