"""The pages: server-rendered, whole without script, livelier with it.

They ask `Reviews` as the JSON interface does and add no rules. A part of the pages is a module with
a `router`; it joins `ROUTERS` here and, when people should find it, `frame.NAVIGATION`.
"""

from starter.web.pages import about, assets, factor, inbox, items, oidc, signing

ROUTERS = (
    about.router,
    assets.router,
    signing.router,
    oidc.router,
    factor.router,
    inbox.router,
    items.router,
)

__all__ = ["ROUTERS"]
