"""``ctgkit schema``: the contract as documents for machines."""

import json
from dataclasses import dataclass

import click

from ctgkit.cli.options import argument, command

DOCUMENTS = ("asyncapi", "jsonschema")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaOptions:
    """Options of `ctgkit schema`."""

    document: str = argument(type=click.Choice(DOCUMENTS))


@command(SchemaOptions, example="ctgkit schema asyncapi > asyncapi.json")
def schema(options: SchemaOptions) -> None:
    """Print the contract as AsyncAPI 3.0 or as JSON Schema.

    Both are made from the types that decode and encode the messages, so they always describe
    this version. PROTOCOL.md says what such documents cannot.
    """
    from ctgkit.wire.schema import asyncapi, json_schema

    made = {"asyncapi": asyncapi, "jsonschema": json_schema}[options.document]()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
