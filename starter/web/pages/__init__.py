"""The pages: server-rendered, whole without script, livelier with it.

They ask `Reviews` as the JSON interface does and add no rules. A part of the pages is a module with
a `router`; it joins `ROUTERS` here and, when people should find it, `frame.NAVIGATION`.
"""

from starter.web.pages import (
    about,
    assets,
    board,
    bulletins,
    connections,
    editing,
    factor,
    inbox,
    items,
    links,
    live,
    management,
    oidc,
    outlets,
    people,
    quality,
    register,
    rules,
    sending,
    signing,
    standing_in,
    statistics,
    topics,
    upkeep,
    verify,
    ways,
    writing,
)

ROUTERS = (
    about.router,
    assets.router,
    signing.router,
    oidc.router,
    factor.router,
    inbox.router,
    items.router,
    links.router,
    writing.router,
    editing.router,
    sending.router,
    board.router,
    live.router,
    register.router,
    management.router,
    topics.router,
    statistics.router,
    quality.router,
    bulletins.router,
    outlets.router,
    people.router,
    connections.router,
    standing_in.router,
    rules.router,
    upkeep.router,
    verify.router,
    ways.router,
)

__all__ = ["ROUTERS"]
