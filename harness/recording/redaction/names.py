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
    ("apikey",),
    ("api", "key"),
    ("access", "key"),
    ("access", "key", "id"),
    ("private", "key"),
    ("auth", "key"),
    ("encryption", "key"),
    ("auth", "code"),
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
        "secret",
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
        "awsaccesskeyid",
        "phpsessid",
        "jsessionid",
    ]
)
"""Names without their marks and capitals."""

PARAMETER_NAMES = frozenset({"code"})
"""A secret in a query or a form (OAuth); in JSON it is mostly an error's."""

NOT_SECRET = re.compile(
    r"(?i)(?:access-control-[a-z-]+|token[-_]?type|(?:max|min|num|prompt|completion|total|input|output)[-_]?tokens?|password[-_]?(?:policy|strength|min|max"
    r"|length|required|changed|expires|expired|updated|reset)\w*|(?:has|is|needs|requires)[-_]\w+)\Z"
)

STEMS = "token|jwt|bearer|sess|sid|auth|sig|hmac|otp|pin|cv[vc]|ssn|key|pass|pwd|secret|[cx]srf|saml|code"
"""RE2: every name above holds one of them."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MARKS = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=16_384)
def secret_name(name: str) -> bool:
    """Of a parameter, a form field, a JSON member, a cookie or an HTML input."""
    if len(name) > 128 or NOT_SECRET.match(name):
        return False
    words = tuple(word.lower() for word in _WORD.findall(name))
    if ANY_WORDS.intersection(words) or _MARKS.sub("", name.lower()) in WHOLE_NAMES:
        return True
    return any(words[-len(last) :] == last for last in LAST_WORDS)


def secret_parameter(name: str) -> bool:
    """Of a query or a form."""
    return name.lower() in PARAMETER_NAMES or secret_name(name)
