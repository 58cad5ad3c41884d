"""The pages for signing in and out: plain HTML, nothing loaded, nothing run."""

from __future__ import annotations

import base64
import hashlib
from html import escape

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f5f6f8;color:#15181e}
main{max-width:22rem;margin:10vh auto;padding:2rem;background:#fff;border:1px solid #dfe3ea;border-radius:12px}
h1{font-size:1.35rem;margin:0 0 1rem}h2{font-size:1rem;margin:1.75rem 0 .25rem}
label{display:block;font-size:.85rem;color:#4b5361;margin-top:.6rem}
input{width:100%;box-sizing:border-box;padding:.55rem;border:1px solid #c3cad6;border-radius:6px;font:inherit}
button{margin-top:1rem;width:100%;padding:.6rem;border:0;border-radius:6px;background:#2447d6;color:#fff;font:inherit}
p{margin:.25rem 0}.problem{padding:.5rem .75rem;border-radius:6px;background:#fdecec;color:#8f1414}
@media (prefers-color-scheme:dark){body{background:#101319;color:#e8ebf1}main{background:#181c24;border-color:#2b313d}
input{background:#101319;color:inherit;border-color:#3a4250}label{color:#a9b2c3}.problem{background:#431b1b;color:#ffc9c9}}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    # without it the browser would not say with the form where it comes from
    "referrer-policy": "same-origin",
}


def sign_in(next_path: str, problem: str = "") -> str:
    """A form for a person, and one for an API key. `next_path` is where they lead."""
    hidden = f'<input type="hidden" name="next" value="{escape(next_path)}">'
    told = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    person = f"""<h2>With your account</h2><form method="post" action="/sign-in">{hidden}
<label for="email">E-mail</label><input id="email" name="email" type="email" autocomplete="username" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<label for="totp_code">Code, if your account asks for one</label>
<input id="totp_code" name="totp_code" inputmode="numeric" autocomplete="one-time-code">
<button>Sign in</button></form>"""
    return _page(
        "Sign in to Omium",
        f"""{told}{person}<h2>With an API key</h2><form method="post" action="/sign-in">{hidden}
<label for="api_key">API key</label><input id="api_key" name="api_key" type="password" autocomplete="off" required>
<button>Sign in</button></form>""",
    )


def sign_out() -> str:
    return _page(
        "Sign out of Omium",
        '<p>This browser will have to sign in again.</p><form method="post" action="/sign-out"><button>Sign out</button></form>',
    )


def refused(message: str) -> str:
    return _page(
        "Not for this account", f'<p>{escape(message)}</p><p><a href="/sign-in">Sign in with another one</a></p>'
    )


def again() -> str:
    """A page that asks for itself once more: this time the browser sends the cookie that it keeps from other sites' links."""
    return (
        '<!doctype html><html lang="en"><head><meta http-equiv="refresh" content="0"><title>Omium</title></head></html>'
    )


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
