"""What the tests of pages share: a reader of HTML that is stricter than a browser, and networks with hostile names."""

import dataclasses
from collections import Counter
from html.parser import HTMLParser
from typing import Any

from ds2ta_deploy.graph.graph import Graph

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A page taken apart; raises AssertionError where an element is closed that is not open."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.texts: list[tuple[str, str]] = []
        self.source = data.decode()
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    @property
    def text(self) -> str:
        """Everything that is read, in one line."""
        return " ".join(text for tag, text in self.texts if tag != "style")

    def named(self, tag: str) -> list[dict[str, Any]]:
        """Return the attributes of every element of a kind."""
        return [attributes for found, attributes in self.elements if found == tag]

    @property
    def ids(self) -> Counter[str]:
        """How often each id is given."""
        return Counter(attributes["id"] for _, attributes in self.elements if "id" in attributes)


#: What a stranger may call things.
HOSTILE = '<script>document.title="owned"</script>"><img src=x onerror=alert(1)>{{7*7}}$\\frac{\u202e\n'


def renamed(graph: Graph, part: str, other: str) -> Graph:
    """Return the graph with ``part`` replaced in the name of every op and value."""

    def change(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.replace(part, other) for name in names)

    ops = tuple(
        dataclasses.replace(op, name=op.name.replace(part, other), inputs=change(op.inputs), outputs=change(op.outputs)) for op in graph
    )
    return dataclasses.replace(graph, ops=ops)


def hostile(graph: Graph) -> Graph:
    """Return the graph with names that would do harm in a page that did not escape them."""
    facts = {**graph.facts, "note": HOSTILE, HOSTILE: 1}
    return dataclasses.replace(renamed(graph, "mlp.fc1", HOSTILE), name=HOSTILE, facts=facts)
