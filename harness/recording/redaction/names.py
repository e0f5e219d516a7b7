"""Which names of headers, parameters and fields mean a secret where no rules file says so.

Takes a name as it stands in traffic (`accessToken`, `X-CSRF-Token`, `user[password]`), gives whether its value is replaced.
A name is taken apart into words; what counts is in the sets below.
"""

from __future__ import annotations

import re
from functools import lru_cache

SECRET_HEADERS = frozenset(
    [
        "authorization",
        "proxy-authorization",
        "x-authorization",
        "x-api-key",
        "api-key",
        "apikey",
        "x-apikey",
        "x-auth-token",
        "x-auth",
        "x-access-token",
        "x-refresh-token",
        "x-id-token",
        "x-session-token",
        "x-session-id",
        "x-session",
        "x-csrf-token",
        "x-xsrf-token",
        "x-csrftoken",
        "csrf-token",
        "x-amz-security-token",
        "x-goog-api-key",
        "x-goog-iam-authorization-token",
        "x-vault-token",
        "x-gitlab-token",
        "private-token",
        "x-github-token",
        "x-shopify-access-token",
        "x-functions-key",
        "ocp-apim-subscription-key",
        "x-ms-client-principal",
        "x-ms-token-aad-access-token",
        "x-amzn-oidc-data",
        "x-amzn-oidc-accesstoken",
        "x-amzn-oidc-identity",
        "x-jwt-assertion",
        "x-token",
        "token",
        "x-user-token",
        "x-client-secret",
        "x-hub-signature",
        "x-hub-signature-256",
        "x-signature",
        "x-slack-signature",
        "stripe-signature",
        "x-twilio-signature",
        "x-device-token",
        "x-remote-user",
        "remote-user",
        "x-forwarded-user",
        "x-forwarded-email",
        "x-forwarded-access-token",
        "x-user-email",
    ]
)
COOKIE_HEADERS = frozenset({"cookie", "cookie2"})
SET_COOKIE_HEADERS = frozenset({"set-cookie", "set-cookie2"})
ADDRESS_HEADERS = frozenset(
    [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "x-envoy-external-address",
        "x-appengine-user-ip",
        "x-azure-clientip",
        "x-azure-socketip",
        "x-remote-ip",
        "x-remote-addr",
        "remote-addr",
        "ali-cdn-real-ip",
        "cf-pseudo-ipv4",
        "cloudfront-viewer-address",
        "do-connecting-ip",
        "fly-client-ip",
        "forwarded-for",
        "proxy-client-ip",
        "wl-proxy-client-ip",
        "x-coming-from",
        "x-forwarded",
        "x-host-ip",
        "x-nf-client-connection-ip",
        "x-original-remote-addr",
        "x-proxyuser-ip",
        "x-real-client-ip",
        "x-source-ip",
        "x-vercel-forwarded-for",
    ]
)

LAST_WORDS = (
    ("token",),
    ("jwt",),
    ("bearer",),
    ("session",),
    ("sessionid",),
    ("session", "id"),
    ("session", "key"),
    ("sessid",),
    ("sid",),
    ("auth",),
    ("authorization",),
    ("signature",),
    ("sig",),
    ("hmac",),
    ("otp",),
    ("totp",),
    ("pin",),
    ("cvv",),
    ("cvc",),
    ("ssn",),
    ("pass",),
    ("pw",),
    ("psw",),
    ("pswd",),
    ("passkey",),
    ("apikey",),
    ("apikeys",),
    ("api", "key"),
    ("api", "keys"),
    ("secretkey",),
    ("accesskey",),
    ("privatekey",),
    ("authkey",),
    ("access", "tokens"),
    ("refresh", "tokens"),
    ("auth", "tokens"),
    ("access", "key"),
    ("access", "key", "id"),
    ("private", "key"),
    ("auth", "key"),
    ("encryption", "key"),
    ("auth", "code"),
    ("access", "code"),
    ("login", "code"),
    ("mfa", "code"),
    ("otp", "code"),
    ("pin", "code"),
    ("pincode",),
    ("recovery", "code"),
    ("reset", "code"),
    ("security", "code"),
    ("sms", "code"),
    ("totp", "code"),
    ("verification", "code"),
    ("authorization", "code"),
    ("device", "code"),
    ("code", "verifier"),
    ("saml", "response"),
    ("saml", "request"),
)
"""A name that ends in these words."""

ANY_WORDS = frozenset(
    [
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "pwd",
        "passwort",
        "kennwort",
        "motdepasse",
        "senha",
        "contrasena",
        "secret",
        "secrets",
        "csrf",
        "xsrf",
        "csrftoken",
        "csrfmiddlewaretoken",
    ]
)
"""A name that holds one of these words."""

WHOLE_NAMES = frozenset(
    [
        "requestverificationtoken",
        "authenticitytoken",
        "samlresponse",
        "samlrequest",
        "samlart",
        "awsaccesskeyid",
        "phpsessid",
        "jsessionid",
    ]
)
"""Names without their marks and capitals."""

GLUED_ENDS = ("token", "secret", "sessionid")
"""The end of a word that a name of small letters alone makes of several: `accesstoken`."""
GLUED = ("password", "passwd", "passphrase")
"""The same, anywhere in a name: `newpassword`, `passwordconfirm`."""

PARAMETER_NAMES = frozenset({"code"})
"""A secret in a query or a form (OAuth); in JSON it is mostly an error's."""

NOT_SECRET = re.compile(
    r"(?i)(?:access-control-[a-z-]+|token[-_]?type|(?:max|min|num|prompt|completion|total|input|output)[-_]?tokens?|password[-_]?(?:policy|strength|min|max"
    r"|length|required|changed|expires|expired|updated|reset)(?!\w*(?:token|code|key|secret|otp|pin|hash)\Z)\w*"
    r"|auth0|(?:has|is|needs|requires)[-_]\w+)\Z"
)

STEMS = (
    "token|jwt|bearer|sess|sid|auth|sig|hmac|otp|pin|cv[vc]|ssn|key|pass|pw|psw|kennwort|senha|contrasena|secret|[cx]srf"
    "|saml|code|motdepasse"
)
"""RE2: every name above holds one of them."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MARKS = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=16_384)
def secret_name(name: str) -> bool:
    """Of a parameter, a form field, a JSON member, a cookie or an HTML input."""
    if len(name) > 128 or NOT_SECRET.match(name):
        return False
    words = tuple(word.lower() for word in _WORD.findall(name))
    plain = _MARKS.sub("", name.lower())
    if ANY_WORDS.intersection(words) or plain in WHOLE_NAMES or any(part in plain for part in GLUED):
        return True
    words = _unnumbered(words)
    return any(words[-len(last) :] == last for last in LAST_WORDS) or (
        bool(words) and words[-1].endswith(GLUED_ENDS)
    )


def _unnumbered(words: tuple[str, ...]) -> tuple[str, ...]:
    """Without the numbers behind it: `token[0]`, `cvv2`, `auth_token_v2`."""
    end = len(words)
    while end and (words[end - 1].isdigit() or (words[end - 1] == "v" and end < len(words))):
        end -= 1
    return words[:end]


def secret_parameter(name: str) -> bool:
    """Of a query or a form."""
    return name.lower() in PARAMETER_NAMES or secret_name(name)
