"""Trees of profiles as one expression per message, for the encoder to write in one pass. Pure.

What :func:`~ctgkit.profile.template.compile_tree` makes dict by dict, this makes of structs that
are declared once: the same bytes at a third of the cost. Nothing of a profile's text gets into the
expression, only the names of our own functions and of attributes of samples.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ctgkit.profile.template import Getter, Variables, compile_text, compile_tree, is_variable

PLAIN = {"id": "s.sensor_id", "seq": "s.seq", "t": "m.sec_from_start"}
"""Variable -> where a scope *s* and its sample *m* have it."""


_UNDECLARED = re.compile(r'[\\"\x00-\x1f]')
"""In keys that a struct can't have."""


class _Expression:
    """An expression that grows with a tree, and what its names mean."""

    def __init__(self, variables: Variables, plain: Mapping[str, str]) -> None:
        self._variables, self._plain = variables, plain
        self.names: dict[str, Any] = {}

    def name(self, value: Any) -> str:
        """Return a new name for a value."""
        name = f"x{len(self.names)}"
        self.names[name] = value
        return name

    def of(self, tree: Any, where: str) -> str:
        """Return the expression for a part of a tree."""
        match tree:
            case dict() if any(_UNDECLARED.search(key) for key in tree):
                return f"{self.name(compile_tree(tree, self._variables, where))}(s)"
            case dict():
                members = [self.of(value, f"{where}.{key}") for key, value in tree.items()]
                fields = [f"f{n}" for n in range(len(tree))]
                kind = msgspec.defstruct(
                    "Table",
                    [(one, Any) for one in fields],
                    rename=dict(zip(fields, tree, strict=True)),
                    gc=False,
                )
                return f"{self.name(kind)}({', '.join(members)})"
            case list():
                return f"[{', '.join(self.of(v, f'{where}[{n}]') for n, v in enumerate(tree))}]"
            case str():
                return self._text(tree, where)
            case _:
                return self.name(tree)

    def _text(self, text: str, where: str) -> str:
        name, scalars, lists = is_variable(text, where) or "", *self._variables
        if name in self._plain:
            return self._plain[name]
        get = scalars.get(name) or lists.get(name.removesuffix("[]"))
        return f"{self.name(get or compile_text(text, self._variables, where))}(s)"


def compile_struct(
    tree: Any,
    variables: Variables,
    where: str,
    plain: Mapping[str, str],
    encode: Callable[[Any], bytes] | None = None,
) -> Getter:
    """Return a function scope -> structs for the encoder, of a tree in which nothing is left out.

    Parameters
    ----------
    tree : Any
        One that :func:`~ctgkit.profile.template.compile_tree` has taken.
    variables : Variables
        As there.
    where : str
        Named in errors.
    plain : mapping of str to str
        Variables that are attributes of a scope ``s`` or its sample ``m``, and which.
    encode : callable, optional
        The encoder, when the function is to return what it makes of them.
    """
    expression = _Expression(variables, plain)
    body = expression.of(tree, where)
    if encode is not None:
        body = f"{expression.name(encode)}({body})"
    names = ", ".join(f"{name}={name}" for name in expression.names)  # locals are faster
    source = f"def make(s, {names}):\n    m = s.sample\n    return {body}\n"
    scope = expression.names
    exec(source, scope)  # noqa: S102  # of our own names alone
    make: Getter = scope["make"]
    return make
