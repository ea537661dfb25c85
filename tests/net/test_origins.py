"""Pages of strangers, by all that a browser says about them, and what programs say: nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.net.http import Asked
from ctgkit.net.origins import Rules


def ask(local="127.0.0.1", hosts=None, origins=(), acts=False, tls=False, **headers):
    """Return the status of the refusal, None when there is none."""
    given_headers = {"host": "localhost:9001"} | {
        name.lower().replace("_", "-"): value for name, value in headers.items()
    }

    def values(name):
        value = given_headers.get(name.lower())
        return [] if value is None else value if isinstance(value, list) else [value]

    rules = Rules(hosts=hosts, origins=origins, acts=lambda asked: acts, options=True)
    asked = Asked(
        method="GET", path="/", query={}, target="/", header=values, local_host=local, secure=tls
    )
    refusal = rules.refusal(asked)
    assert refusal is None or refusal.why
    return refusal and refusal.status


@pytest.mark.parametrize(
    ("host", "local", "status"),
    [
        ("localhost", "127.0.0.1", None),
        ("LocalHost:80", "127.0.0.1", None),
        ("127.0.0.2:80", "127.0.0.1", None),
        ("[::1]:80", "::1", None),
        ("rebound.example", "127.0.0.1", 403),
        ("localhost.evil.example", "127.0.0.1", 403),
        ("127.0.0.1.evil.example", "127.0.0.1", 403),
        ("localhost@evil.example", "127.0.0.1", 403),
        ("evil.example#localhost", "127.0.0.1", 403),
        ("localhost/../evil", "127.0.0.1", 403),
        ("localhost.", "127.0.0.1", 403),
        ("0.0.0.0:80", "127.0.0.1", 403),
        ("", "127.0.0.1", 403),
        ([], "127.0.0.1", 400),
        (["localhost", "localhost"], "127.0.0.1", 400),
        ("gen-1:8000", "172.18.0.3", None),
        ("localhost", "172.18.0.3", None),
    ],
)
def test_names_under_which_we_are_reached(host, local, status):
    """On loopback only loopback names: no other can be meant. Beyond, containers have any name."""
    assert ask(local=local, host=host) == status


def test_names_are_checked_beyond_loopback_where_they_are_configured():
    """As the backend's are."""
    known = frozenset({"ctg.example"})
    assert ask(local="10.0.0.5", hosts=known, host="ctg.example") is None
    assert ask(local="10.0.0.5", hosts=known, host="10.0.0.5:80") is None
    assert ask(local="10.0.0.5", hosts=known, host="rebound.example") == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, None),
        ("http://localhost:5173", None),
        ("https://[::1]", None),
        ("http://ctg.example", None),
        ("https://ward.example", None),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("ftp://localhost", 403),
        ("chrome-extension://localhost", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
        (["http://localhost", "https://evil.example"], 403),
    ],
)
def test_pages_by_their_origin(origin, status):
    """Ours, a developer's on this machine, a configured one; nobody else's."""
    more = {} if origin is None else {"origin": origin}
    hosts, origins = {"ctg.example"}, {"https://ward.example"}
    assert ask(host="ctg.example", hosts=hosts, origins=origins, **more) == status


@pytest.mark.parametrize(
    ("origin", "host", "tls", "status"),
    [
        ("https://ctg.example", "ctg.example:443", False, None),
        ("https://ctg.example:443", "ctg.example", False, None),
        ("http://ctg.example:80", "ctg.example", False, None),
        ("http://CTG.example", "ctg.EXAMPLE:80", False, None),
        ("https://ctg.example", "ctg.example", False, None),
        ("https://ctg.example:8443", "ctg.example:8443", False, None),
        ("https://ctg.example", "ctg.example", True, None),
        ("http://ctg.example", "ctg.example", True, 403),
        ("http://ctg.example:8000", "ctg.example", False, 403),
        ("https://ctg.example", "ctg.example:80", False, 403),
        ("http://ctg.example:0", "ctg.example", False, 403),
        ("http://ctg.example/", "ctg.example", False, 403),
        ("http://user@ctg.example", "ctg.example", False, 403),
        ("http://ctg.example\\@evil", "ctg.example", False, 403),
        ("http://ctg.example, https://evil.example", "ctg.example", False, 403),
        ("ctg.example", "ctg.example", False, 403),
        ("//ctg.example", "ctg.example", False, 403),
        ("http://127.0.0.1@evil.example", "ctg.example", False, 403),
        ("http://[::1%evil]", "ctg.example", False, 403),
        ("http://[::ffff:127.0.0.1]:5173", "ctg.example", False, None),
        ("HTTPS://WARD.example:443", "ctg.example", False, None),
        ("https://ward.example:8443", "ctg.example", False, 403),
    ],
)
def test_origins_are_compared_as_parsed(origin, host, tls, status):
    """Scheme, host, and port with its default; behind a proxy that takes TLS off, either scheme."""
    hosts, origins = {"ctg.example"}, {"https://ward.example"}
    assert ask(host=host, hosts=hosts, origins=origins, tls=tls, origin=origin) == status


def test_an_allowed_host_may_name_a_port():
    """It is the name that counts: who copies the whole authority isn't refused."""
    assert ask(hosts={"ctg.example:8443", "::1"}, host="ctg.example:8443") is None


def test_a_relay_leaves_the_judgement_to_its_target_beyond_loopback():
    """On loopback it doesn't: its target may judge nothing."""
    foreign = "https://evil.example"
    assert ask(local="10.0.0.5", origins=None, host="10.0.0.5", origin=foreign) is None
    assert ask(local="127.0.0.1", origins=None, host="127.0.0.1", origin=foreign) == 403


@pytest.mark.parametrize(
    ("site", "status"),
    [(None, None), ("none", None), ("same-origin", None), ("same-site", 403), ("cross-site", 403)],
)
def test_images_and_links_on_foreign_pages_switch_nothing(site, status):
    """They carry no Origin; a link to a page of ours is harmless."""
    more = {} if site is None else {"sec_fetch_site": site}
    assert ask(acts=True, **more) == status
    assert ask(acts=False, **more) is None
    assert ask(acts=True, origin="http://localhost:5173", **more) is None


@given(st.text(), st.text(), st.text())
def test_any_headers_get_an_answer(host, origin, site):
    """Whatever they hold: no exception."""
    assert ask(host=host, origin=origin, sec_fetch_site=site, acts=True) in (None, 403)
