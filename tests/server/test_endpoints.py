"""The OpenAPI document is valid, and our own server keeps to it."""

import http.client
import json

import jsonschema
import pytest
from click.testing import CliRunner

import ctgkit
from ctgkit.cli.main import cli
from ctgkit.schema import DOCUMENTS
from ctgkit.server.endpoints import ENDPOINTS, openapi

DOCUMENT = openapi()
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


@pytest.fixture(scope="module")
def backend():
    with ctgkit.run_backend(1, viewer_token="viewer-token-of-24-bytes") as running:
        yield running


def test_the_document_is_valid():
    from openapi_spec_validator import validate  # late: every worker reads this file

    validate(DOCUMENT)


def ask(backend, method, target, **headers):
    connection = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()
    finally:
        connection.close()


QUERIES = ("", "?count=1", "?count=0", "?count=1e9", "?count=x", "?x=1", "?count=1&count=2", "?%00")


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("one", ENDPOINTS, ids=lambda one: one.name)
def test_every_answer_is_in_the_document(backend, one, method, query):
    item = DOCUMENT["paths"][one.path]
    path = one.path.format(sensor=backend.credentials[0].id, examination=1)
    for headers in ({}, {"Authorization": "Bearer viewer-token-of-24-bytes"}):
        status, kind, body = ask(backend, method, path + query, **headers)
        operation = item.get(method.lower())
        if operation is None:
            assert status == 405
            continue
        assert str(status) in operation["responses"]
        content = operation["responses"][str(status)].get("content", {})
        if method == "GET" and status in one.bodies:
            assert kind.split(";")[0] in content
        if kind.startswith("application/json") and content:
            schema = content["application/json"]["schema"]
            whole = {**schema, "components": DOCUMENT["components"]}
            jsonschema.Draft202012Validator(whole).validate(json.loads(body))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_command_prints_each_document(document):
    shown = CliRunner().invoke(cli, ["schema", document])
    assert shown.exit_code == 0
    assert json.loads(shown.output)


def test_health_has_no_member_that_the_document_lacks(backend):
    _, _, body = ask(backend, "GET", "/api/health")
    described = DOCUMENT["components"]["schemas"]["Health"]
    assert json.loads(body).keys() == set(described["required"]) < described["properties"].keys()
