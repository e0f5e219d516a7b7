"""Routes: which segments of a path are ids, and what a user's patterns do."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DefinitionError
from harness.recording.naming import RoutePattern, name_routes

ROUTES = {
    "/": "/",
    "//favicon.ico": "//favicon.ico",
    "/orders/17": "/orders/{id}",
    "/orders/17/items/18?page=2": "/orders/{id}/items/{id}",
    "/orders/17/": "/orders/{id}/",
    "/reports/2026-03-01": "/reports/{id}",
    "/prices/3.5": "/prices/{id}",
    "/files/17.json": "/files/{id}.json",
    "/users/3fa85f64-5717-4562-b3fc-2c963f66afa6": "/users/{id}",
    "/users/3FA85F6457174562B3FC2C963F66AFA6": "/users/{id}",
    "/commits/9f3b2c1d": "/commits/{id}",
    "/loans/A-17": "/loans/{id}",
    "/orders/ord_9f3b2c1d4e5f6a7b": "/orders/{id}",
    "/customers/cus_NffrFeUfNV2Hib": "/customers/{id}",
    "/events/01ARZ3NDEKTSV4RRFFQ69G5FAV": "/events/{id}",
    "/by-mail/bob%40example.org": "/by-mail/{id}",
    "/verify/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.SflKxwRJSMeKKF2QT4": "/verify/{id}",
    "/x/" + "a" * 65: "/x/{id}",
    # Words stay, also those with digits or of hexadecimal letters.
    "/api/v2/decade/facade": "/api/v2/decade/facade",
    "/blog/logstash-monitorama-2013/kibana-dashboard3.png": "/blog/logstash-monitorama-2013/kibana-dashboard3.png",
    "/jquery-1.7.2.min.js": "/jquery-1.7.2.min.js",
    "/internationalisation": "/internationalisation",
}


@pytest.mark.parametrize("path", ROUTES)
def test_ids_have_no_name(path: str) -> None:
    assert name_routes(pa.array([path])).to_pylist() == [ROUTES[path]]


def test_many_at_once_are_named_as_each_alone() -> None:
    paths = [*ROUTES, *reversed(ROUTES)]
    expected = [ROUTES[path] for path in paths]
    assert name_routes(pa.array(paths)).to_pylist() == expected
    assert name_routes(pa.array(paths).dictionary_encode()).to_pylist() == expected
    assert name_routes(pa.array([], pa.string())).to_pylist() == []


def test_the_first_pattern_that_fits_names_the_route() -> None:
    patterns = [RoutePattern.parse(text) for text in ("/shop/{kind}/{name}", "/shop/*", "/a.b/{x}")]
    paths = ["/shop/shoes/red?size=17", "/shop/shoes", "/shop/a/b/c", "/shop/", "/a.b/c", "/axb/17"]
    assert name_routes(pa.array(paths), patterns).to_pylist() == [
        "/shop/{kind}/{name}",
        "/shop/*",
        "/shop/*",
        "/shop/*",
        "/a.b/{x}",
        "/axb/{id}",
    ]


@pytest.mark.parametrize("text", ["orders/{id}", "/a/*/b", "/a?b=c", "/a b"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(DefinitionError, match="--route"):
        RoutePattern.parse(text)


@given(st.lists(st.text("/abc019-_.%@{}?", max_size=20), max_size=20))
def test_any_path_has_a_route_without_a_query(paths: list[str]) -> None:
    routes = name_routes(pa.array([f"/{path}" for path in paths], pa.string())).to_pylist()
    assert all(route.startswith("/") and "?" not in route for route in routes)
    assert [route.count("/") for route in routes] == [
        f"/{path}".partition("?")[0].count("/") for path in paths
    ]
