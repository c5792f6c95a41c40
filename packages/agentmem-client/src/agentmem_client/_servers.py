"""The servers of a client, and which one is in use."""

import threading
from collections.abc import Container, Sequence


class Servers:
    """Several servers of one database, and which one all calls of a client go to.

    The one in use stays so until it fails: then the next one is, and after the last the first.

    Its *place* is a number that only grows, and names a server by its remainder. So a failure that
    comes late, of a server that was left since and has come back, moves nobody.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._addresses = tuple(url.rstrip("/") for url in urls)
        self._place = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._addresses)

    def address(self, place: int) -> str:
        """What the path of a request is appended to."""
        return self._addresses[place % len(self)]

    def choose(self, tried: Container[str]) -> int:
        """The place in use or, where its address was tried, the next one whose was not."""
        places = range(self._place, self._place + len(self))
        return next((place for place in places if self.address(place) not in tried), places[0])

    def silent(self, place: int) -> None:
        """There is no answer: from now on the next one is in use, unless that was seen to."""
        with self._lock:
            if place == self._place:
                self._place += 1

    def answered(self, place: int) -> None:
        """It answers, after those before it did not: it is in use, unless a later one is."""
        with self._lock:
            self._place = max(place, self._place)
