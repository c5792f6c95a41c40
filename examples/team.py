"""A server that teams share: each key opens its tenant's memories, or one user's, until revoked.

    python examples/team.py

It starts a server of its own on a temporary file, with an operator's key. It ends with an error
when something did not hold.
"""

import secrets
import sys

from _server import private_server
from agentmem_client import AgentMemClient, CreatedKey, Forbidden, Unauthorized


def main() -> None:
    """Run every part on a server that is gone afterwards."""
    operators_key = secrets.token_urlsafe(32)
    with (
        private_server({"AGENTMEM_ADMIN_KEY": operators_key}) as api_url,
        AgentMemClient(api_url, operators_key) as operator,
    ):
        acme = operator.create_key("the app", tenant="acme")
        globex = operator.create_key("the app", tenant="globex")
        ann = operator.create_key("Ann's assistant", tenant="acme", user_id="ann")
        print(f"server: {api_url}, with keys of {acme.tenant}, {globex.tenant} and {ann.user_id}")
        see_no_more_than_a_key_opens(api_url, acme, globex, ann)
        write_as_nobody_else(api_url, ann)
        revoke(api_url, operator, ann)


def see_no_more_than_a_key_opens(
    api_url: str, acme: CreatedKey, globex: CreatedKey, ann: CreatedKey
) -> None:
    """A key opens its tenant's memories, or those of one user of it."""
    with AgentMemClient(api_url, acme.key) as memory:
        memory.add("Ann works from Lisbon.", id="ann-1", user_id="ann")
        memory.add("Bob works from Oslo.", id="bob-1", user_id="bob")
    found = {}
    for key in (acme, globex, ann):
        with AgentMemClient(api_url, key.key) as memory:
            found[key.id] = sorted(hit.id for hit in memory.search("Who works from where?"))
    print(f"  acme finds {found[acme.id]}, globex {found[globex.id]}, Ann {found[ann.id]}")
    check(found[acme.id] == ["ann-1", "bob-1"], "a tenant finds all of its own")
    check(found[globex.id] == [], "and nothing of another's")
    check(found[ann.id] == ["ann-1"], "a user's key finds that user's")


def write_as_nobody_else(api_url: str, ann: CreatedKey) -> None:
    """What a user's key stores is that user's, whatever a request says."""
    with AgentMemClient(api_url, ann.key) as memory:
        mine = memory.add("I take my tea without milk.")
        print(f"  stored for {mine.user_id}: {mine.content}")
        check(mine.user_id == "ann", "it is hers without a word")
        try:
            memory.add("Bob takes milk.", user_id="bob")
        except Forbidden as error:
            print(f"  for bob: {error.message}")
        else:
            check(False, "she writes for nobody else")


def revoke(api_url: str, operator: AgentMemClient, key: CreatedKey) -> None:
    """A revoked key opens nothing any more."""
    operator.revoke_key(key.id)
    with AgentMemClient(api_url, key.key) as memory:
        try:
            memory.search("Where does Ann work?")
        except Unauthorized as error:
            print(f"  {error.message}")
        else:
            check(False, "a revoked key is refused")
    print("Everybody saw their own, and nothing else.")


def check(holds: bool, what: str) -> None:
    """End the example when something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


if __name__ == "__main__":
    main()
