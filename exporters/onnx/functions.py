"""The ``ai.ds2ta`` functions of one file: made once for each distinct body, callees before callers."""

import re
from collections.abc import Sequence

import onnx
import onnx.parser

DOMAIN = "ai.ds2ta"
DOMAIN_VERSION = 1
OPSET = 20


class FunctionLibrary:
    """Collects functions; equal bodies under one name are one function."""

    def __init__(self) -> None:
        """Start empty."""
        self._texts: dict[str, str] = {}
        self.functions: list[onnx.FunctionProto] = []

    def add(
        self, name: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Sequence[str], body: Sequence[str], about: str
    ) -> str:
        """Define a function and return the op type to call it by.

        A second body under the same name becomes ``name_2``. ``@Other`` in front of an op calls another
        function of the library; ``about`` is shown by viewers.
        """
        signature = f"<{', '.join(attributes)}>" if attributes else ""
        lines = "\n".join(f"  {re.sub(r'= @(?=[A-Z])', f'= {DOMAIN}.', line)}" for line in body)
        text = f"{signature}({', '.join(inputs)}) => ({', '.join(outputs)}) {{\n{lines}\n}}"
        number, chosen = 1, name
        while self._texts.get(chosen, text) != text:
            number += 1
            chosen = f"{name}_{number}"
        if chosen not in self._texts:
            self._texts[chosen] = text
            header = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}, "{DOMAIN}": {DOMAIN_VERSION}]>'
            function = onnx.parser.parse_function(f"{header}\n{chosen} {text}")
            function.doc_string = about
            self.functions.append(function)
        return chosen
