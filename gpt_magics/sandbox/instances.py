"""An instance of a JSON schema: valid, and the same for the same luck. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Schema = dict[str, Any]

# Below this depth a schema that contains itself is closed by the shortest way out.
_DEEP = 4
_TOO_DEEP = 24
_WORDS = ("sandbox", "sandbox answer", "a sandbox sample", "sandbox text")
_FORMATS = {
    "date": "2026-01-31",
    "time": "12:34:56Z",
    "date-time": "2026-01-31T12:34:56Z",
    "duration": "PT1H",
    "email": "sandbox@example.com",
    "hostname": "sandbox.example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://sandbox.example.com/",
}


def instance(schema: Schema, luck: random.Random) -> object:
    """Return a value that ``schema`` accepts; ``luck`` chooses among several.

    Known: type, enum, const, properties, required, items, prefixItems, anyOf, oneOf, allOf, $ref
    and the bounds of numbers, strings and arrays. ``pattern`` and ``not`` are ignored.
    """
    return _Maker(schema, luck).make(schema, 0)


class _Maker:
    def __init__(self, root: Schema, luck: random.Random) -> None:
        self._root = root
        self._luck = luck
        self._by_type: dict[str, Callable[[Schema, int], object]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda _schema, _depth: luck.random() < 0.5,  # noqa: PLR2004 - a coin
            "null": lambda _schema, _depth: None,
        }

    def make(self, schema: Schema | bool, depth: int) -> object:  # noqa: FBT001 - JSON schema has true
        if isinstance(schema, bool) or depth > _TOO_DEEP:
            return "sandbox" if isinstance(schema, bool) else None
        schema = self._flat(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._luck.choice(schema["enum"])
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                branch = self._branch(schema[word], depth)
                rest = {key: value for key, value in schema.items() if key != word}
                return self.make(_merged(rest, branch), depth + 1)
        return self._by_type[self._type(schema, depth)](schema, depth)

    def _flat(self, schema: Schema) -> Schema:
        """Resolve ``$ref`` and ``allOf`` until neither is left."""
        for _ in range(_TOO_DEEP):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = _merged(self._target(schema["$ref"]), rest)
            elif schema.get("allOf"):
                parts = schema["allOf"]
                schema = {key: value for key, value in schema.items() if key != "allOf"}
                for part in parts:
                    schema = _merged(schema, self._flat(part))
            else:
                break
        return schema

    def _target(self, ref: str) -> Schema:
        here: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            if step:
                here = here.get(step.replace("~1", "/").replace("~0", "~"), {})
        return here if isinstance(here, dict) else {}

    def _branch(self, branches: list[Schema], depth: int) -> Schema:
        flat = [self._flat(branch) for branch in branches]
        if depth < _DEEP:
            return self._luck.choice(flat)
        # The way out of a recursion is a branch without children.
        return min(flat, key=lambda each: "properties" in each or "items" in each)

    def _type(self, schema: Schema, depth: int) -> str:
        named = schema.get("type")
        if isinstance(named, list) and named:
            if depth >= _DEEP and "null" in named:
                return "null"
            return str(self._luck.choice(named))
        if isinstance(named, str) and named in self._by_type:
            return named
        for kind, words in _TELLING.items():
            if any(word in schema for word in words):
                return kind
        return "string"

    def _object(self, schema: Schema, depth: int) -> object:
        required = schema.get("required", [])
        properties = schema.get("properties", {})
        made = {
            name: self.make(inner, depth + 1)
            for name, inner in properties.items()
            if depth < _DEEP or name in required
        }
        extra = schema.get("additionalProperties", True)
        for name in required:
            if name not in made:
                made[name] = self.make(extra, depth + 1)
        for number in range(schema.get("minProperties", 0) - len(made)):
            made[f"sandbox{number + 1}"] = self.make(extra, depth + 1)
        return made

    def _array(self, schema: Schema, depth: int) -> object:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, 3))
        wanted = least if depth >= _DEEP else max(least, min(most, self._luck.randint(1, 3)))
        first = schema.get("prefixItems", [])
        items = schema.get("items", True)
        if items is False:
            wanted = min(wanted, len(first))
        made = [
            self.make(first[place] if place < len(first) else items, depth + 1)
            for place in range(wanted)
        ]
        return self._unique(made, items, least, depth) if schema.get("uniqueItems") else made

    def _unique(self, made: list[object], items: Schema, least: int, depth: int) -> list[object]:
        kept: list[object] = []
        for each in [*made, *(self.make(items, depth + 1) for _ in range(50 * least))]:
            if each not in kept and (len(kept) < max(least, 1)):
                kept.append(each)
        return kept

    def _string(self, schema: Schema, _depth: int) -> object:
        text = _FORMATS.get(schema.get("format", "")) or self._luck.choice(_WORDS)
        least = schema.get("minLength", 0)
        while len(text) < least:
            text += " sandbox"
        most = schema.get("maxLength")
        return text if most is None else text[:most]

    def _integer(self, schema: Schema, _depth: int) -> object:
        low, high = _bounds(schema)
        step = schema.get("multipleOf", 1)
        first, last = math.ceil(low / step), math.floor(high / step)
        number = self._luck.randint(first, max(first, last)) * step
        return int(number)

    def _number(self, schema: Schema, _depth: int) -> object:
        if "multipleOf" in schema:
            low, high = _bounds(schema)
            step = schema["multipleOf"]
            return math.floor(self._luck.uniform(low, high) / step) * step
        low, high = _bounds(schema, whole=False)
        number = round(self._luck.uniform(low, high), 2)
        return number if low <= number <= high else (low + high) / 2


_TELLING = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def _merged(base: Schema, more: Schema) -> Schema:
    """Lay one schema over another; properties and required names of both count."""
    both = {**base, **more}
    if "properties" in base and "properties" in more:
        both["properties"] = {**base["properties"], **more["properties"]}
    if "required" in base and "required" in more:
        both["required"] = [*base["required"], *more["required"]]
    return both


def _bounds(schema: Schema, *, whole: bool = True) -> tuple[float, float]:
    """Return the lowest and the highest number, both allowed."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    gap = 1.0 if whole else _gap(low, high, above, below)
    if above is not None:
        nearest = math.floor(above) + 1 if whole else above + gap
        low = nearest if low is None else max(low, nearest)
    if below is not None:
        nearest = math.ceil(below) - 1 if whole else below - gap
        high = nearest if high is None else min(high, nearest)
    if low is None:
        return (0, 100) if high is None else (high - 100, high)
    return low, low + 100 if high is None else high


def _gap(*ends: float | None) -> float:
    """Return a step away from an excluded end that stays inside a narrow range."""
    given = [end for end in ends if end is not None]
    span = max(given) - min(given) if len(given) > 1 else 1.0
    return min(0.01, span / 100) if span > 0 else 0.0
