"""Tells the browser to ask nothing of another machine: a policy that goes with every answer of the server.

gradio writes scripts and styles into its page, so those are allowed. A picture, font, script or request of another origin
is refused by the browser itself, whatever got into the page.

Source: Content Security Policy Level 3, https://www.w3.org/TR/CSP3/.
"""

from typing import Any

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'"
)


class NoRequestsOut:
    """ASGI middleware that adds the policy to every answer."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message.get("headers", []), policy]}
            await send(message)

        await self.app(scope, receive, send_with_policy)
