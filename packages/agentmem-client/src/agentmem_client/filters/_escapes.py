"""What a backslash makes literal in the names and patterns of a filter."""

from collections.abc import Iterator


def escape(key: str) -> str:
    """A metadata key as a name in a filter, whatever characters it has."""
    escaped = key.replace("\\", "\\\\").replace(".", "\\.")
    return f"\\{escaped}" if escaped.startswith(("@", "$")) else escaped


def escape_like(text: str) -> str:
    """Text as a literal part of a ``$like`` or ``$ilike`` pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def like_tokens(pattern: str) -> Iterator[tuple[bool, str]]:
    """The pattern's characters as (is a wildcard, character), escapes resolved."""
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            yield False, next(characters, "\\")
        else:
            yield character in "%_", character
