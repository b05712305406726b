"""YAML in which nobody can be mistaken: what versions 1.1 and 1.2 read alike.

PyYAML reads 1.1, in which `010` is 8 and `no` is false. DVC, which writes `params.yaml` and records
it, reads 1.2, in which they are 10 and a text.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, ScalarNode

EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+")  # 1.1 wants a point and sign
AMBIGUOUS = (
    (re.compile(r"(?i:yes|no|on|off)"), "write true or false, or a text in quotes"),
    (
        re.compile(r"[-+]?0o?[0-9_]+"),
        "write a number without the 0 before it, or a text in quotes",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
        "write a number, or a text in quotes",
    ),
    (re.compile(r"=|<<"), "write it in quotes"),
)


class _Loader(yaml.SafeLoader):
    def compose_scalar_node(self, anchor: Any) -> ScalarNode:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        node: ScalarNode = super().compose_scalar_node(anchor)
        if event.tag is not None:
            raise ConstructorError(
                None, None, f"{event.tag} is a tag; leave it out", node.start_mark
            )
        if event.implicit[0]:  # not in quotes
            for pattern, remedy in AMBIGUOUS:
                if pattern.fullmatch(node.value):
                    told = f"{node.value} is read in two ways; {remedy}"
                    raise ConstructorError(None, None, told, node.start_mark)
            if EXPONENT.fullmatch(node.value):
                node.tag = "tag:yaml.org,2002:float"
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                told = f"{key.value} is there twice; remove one"
                raise ConstructorError(None, None, told, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def load(text: str) -> Any:
    """Read YAML, of one document, that holds data alone.

    Raises:
        yaml.YAMLError: where it isn't YAML; a `ConstructorError`, whose `problem` says why and what
            to write, where it would be read in two ways.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except ValueError as error:  # 2001-02-30, or a number such as 0b_
        raise ConstructorError(None, None, f"it can't be read ({error})") from None
    finally:
        loader.dispose()
