"""HTML in which every text is escaped, unless it was made here."""

from __future__ import annotations

from html import escape

_WITHOUT_END = frozenset({"meta", "br"})


class Markup(str):
    """HTML already: what `tag` and `joined` make. Any other text is escaped by them."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: object) -> Markup:
    """An element. `class_` becomes class and `http_equiv` http-equiv; an attribute's value is escaped."""
    opened = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    if name in _WITHOUT_END:
        return Markup(f"<{name}{opened}>")
    return Markup(f"<{name}{opened}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Elements and texts one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))
