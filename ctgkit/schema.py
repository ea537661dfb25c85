"""``ctgkit schema``: the contract as documents for machines."""

import json
from dataclasses import dataclass

import click

from ctgkit.cli.options import argument, command

DOCUMENTS = ("asyncapi", "openapi", "jsonschema")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaOptions:
    """Options of `ctgkit schema`."""

    document: str = argument(type=click.Choice(DOCUMENTS))


@command(SchemaOptions, example="ctgkit schema asyncapi > asyncapi.json")
def schema(options: SchemaOptions) -> None:
    """Print the contract: WebSockets as AsyncAPI 3.0, HTTP as OpenAPI 3.1, messages as JSON Schema.

    The documents are generated from the types that encode and decode the messages and from the
    table of paths that the backend serves, so they describe this version. PROTOCOL.md contains what
    they cannot express.
    """
    from ctgkit.server.endpoints import openapi
    from ctgkit.wire.schema import asyncapi, json_schema

    made = {"asyncapi": asyncapi, "openapi": openapi, "jsonschema": json_schema}[options.document]()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
