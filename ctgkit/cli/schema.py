"""``ctgkit schema``: the contract as documents for machines."""

import json

import click

from ctgkit.cli.options import common_options

DOCUMENTS = ("asyncapi", "jsonschema")


@click.command(epilog="Example: ctgkit schema asyncapi > asyncapi.json")
@common_options
@click.argument("document", type=click.Choice(DOCUMENTS))
def schema(document: str) -> None:
    """Print the contract as AsyncAPI 3.0 or as JSON Schema.

    Both are made from the types that decode and encode the messages, so they always describe
    this version. PROTOCOL.md says what such documents cannot.
    """
    from ctgkit.wire.schema import asyncapi, json_schema

    made = {"asyncapi": asyncapi, "jsonschema": json_schema}[document]()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
