"""Which memories a request means, within what its caller sees."""

from agentmem_client import models as m
from agentmem_client.errors import InvalidRequest

from ..access.callers import Caller
from ..storage import Scope, Selection


def scope_of(caller: Caller, request: m.Scope) -> Scope:
    """The scope that a request names.

    Raises:
        Forbidden: when it is another user's than the caller's.
    """
    return caller.scope(request.user_id, request.agent_id, request.session_id, request.namespace)


def selection_of(caller: Caller, criteria: m.Criteria) -> Selection:
    """What criteria mean.

    Raises:
        InvalidRequest: when none is given, or one beside ``everything``.
        Forbidden: when they name another user than the caller's.
    """
    scope = scope_of(caller, criteria)
    named = Scope(criteria.user_id, scope.agent_id, scope.session_id, scope.namespace)
    if criteria.everything != (Selection(named, criteria.filters, criteria.ids) == Selection()):
        raise InvalidRequest(
            "everything=true means the whole collection: give no other criterion with it"
            if criteria.everything
            else "give ids, filters or a scope to say which memories are meant; for the whole "
            "collection, say everything=true"
        )
    return Selection(scope, criteria.filters, criteria.ids)
