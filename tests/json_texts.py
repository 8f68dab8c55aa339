"""JSON texts of the kinds that parsers disagree about, made from a description of each kind."""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

DEEP = 100_000


def texts() -> dict[str, list[bytes]]:
    """Texts by kind: good ones, bad ones, and ones that each reader judges in its own way."""
    kinds: dict[str, Iterable[str | bytes]] = {
        "numbers": _numbers(),
        "literals": _literals(),
        "characters in strings": _characters(),
        "escapes": _escapes(),
        "UTF-8": _utf8(),
        "arrays": _sequences(["[", "]", ",", "1"], 4),
        "objects": _mutations(["{", '"a"', ":", "1", ",", '"b"', ":", "{", "}", "}"]),
        "whitespace": _whitespace(),
        "structure": _structure(),
        "other encodings": _encodings(),
    }
    return {kind: sorted({_bytes(text) for text in made}) for kind, made in kinds.items()}


def strict(text: bytes) -> bool:
    """Whether it is JSON by RFC 8259 and nothing more."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def settled(text: bytes) -> bool:
    """Whether every reader must take it: strict, and without numbers past a double and half surrogates."""
    try:
        read = json.loads(text, parse_int=float)
        return strict(text) and bool(json.dumps(read, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError):
        return False


def lenient(text: bytes) -> Any:
    """What Python servers read: `NaN`, UTF-16 and names that are there twice included. None if even they cannot."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8")


def _numbers() -> Iterator[str]:
    signs, wholes = ["", "-", "+", "--", "- "], ["", "0", "1", "10", "01", "00", "-1", "1_0", "1 0", "0x1", "１", "١"]
    yield from ("".join(parts) for parts in itertools.product(signs, wholes, ["", ".", ".0", ".5.5", ". 5"]))
    yield from ("1" + exponent for exponent in ("e1", "E1", "e+1", "e-1", "e", "e+", "e+-1", "e1.5", "ee1", "e 1", "f"))
    yield from ("1e400", "-1e400", "1e-400", "0e0", "-0", "-0.0", "1" * 1000, "0." + "1" * 1000, "9007199254740993")
    yield from ("NaN", "-NaN", "nan", "Infinity", "-Infinity", "+Infinity", "inf", "1,5", "1/2", "$1", "1a", ".e1")


def _literals() -> Iterator[str]:
    for word in ("true", "false", "null"):
        yield from (word, word.upper(), word.title(), word[:-1], word + word[-1], word + "1")
        yield from (f"({word})", f"{word} {word}", f"-{word}")
    yield from ("undefined", "None", "yes", "'true'", "nul\0", "tru\\u0065")


def _characters() -> Iterator[str]:
    past_ascii = (0x7F, 0x80, 0xA0, 0xFEFF, 0x2028, 0xFFFE, 0xFFFF, 0x1F600)
    yield from (f'"a{chr(code)}b"' for code in (*range(0x21), *past_ascii))
    yield from ("'a'", '"a', 'a"', "a", '"', '""', '"a"b"', '"a" "b"', "`a`", "“a”", '"' + "x" * 70_000 + '"')


def _escapes() -> Iterator[str]:
    yield from (f'"\\{chr(code)}"' for code in range(0x20, 0x7F))
    digits = ("", "0", "00", "004", "0041", "00411", "00G1", "+041", " 041", "\\u0041")
    yield from (f'"\\u{each}"' for each in digits)
    surrogates = ("\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\ude00\\ud83d", "\\ud83dx", "\\uD83D\\n")
    yield from (f'"{each}"' for each in surrogates)
    yield from ('"\\u0000"', '"\\u001f"', '"\\uffff"', '"a\\\nb"', '"\\\0"', '"\\é"')
    yield from ('"\\', '"\\"', '"\\\\"', '"\\\\\\"')


def _utf8() -> Iterator[bytes]:
    good = ["é", "€", "😀", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff"]
    for character in good:
        encoded = character.encode()
        yield b'"' + encoded + b'"'
        yield from (b'"' + encoded[:length] + b'"' for length in range(1, len(encoded)))
        yield b'"' + encoded[1:] + b'"'
    overlong, surrogates = ["c080", "c1bf", "e08080", "f0808080"], ["eda080", "edbfbf"]
    past_unicode, alone = ["f4908080", "f5808080", "f888808080"], ["80", "e9", "fe", "ff", "fffe", "bf61"]
    bad = [*overlong, *surrogates, *past_unicode, *alone]
    yield from (b'"' + bytes.fromhex(each) + b'"' for each in bad)


def _sequences(tokens: list[str], longest: int) -> Iterator[str]:
    """Every sequence of tokens up to a length."""
    for length in range(1, longest + 1):
        yield from ("".join(parts) for parts in itertools.product(tokens, repeat=length))


def _mutations(tokens: list[str]) -> Iterator[str]:
    """A text with one token left out, doubled, or in the place of another."""
    yield "".join(tokens)
    for index in range(len(tokens)):
        before, after = tokens[:index], tokens[index + 1 :]
        yield "".join(before + after)
        for other in sorted({*tokens, "[", "]", "'a'", "a", "#", "\\", '"', "null"}):
            yield "".join([*before, other, *after])
            yield "".join([*before, other, tokens[index], *after])


def _whitespace() -> Iterator[str]:
    good, bad = (" ", "\t", "\n", "\r", "\r\n"), ("\f", "\v", "\0", "\x1f", "\x7f", "\x85")
    for space in (*good, *bad, "\xa0", "\u2028", "\u3000", "\ufeff"):
        yield from (f"{space}1", f"1{space}", f"[{space}1{space},{space}2{space}]", f'{{"a"{space}:{space}1}}', space)


def _structure() -> Iterator[str]:
    yield from ("", "[]", "{}", "[]]", "[[]", "{}}", "{{}", "[}", "{]", '{"a":[}]')
    yield from ("[1]x", "[1],", "{},{}", "[][]", "*", "<a>", "(1)")
    yield from ("// a\n1", "1 // a", "/* a */1", "[1 /* a */]", "# a\n1", "[1] # a", "<!-- a -->1")
    yield from ('{"a":1,"a":2}', '{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '{"\\u0061":1,"a":2}')
    yield from ('{"":1}', '{"a\\u0000":1}')
    yield from ("{a:1}", "{'a':1}", "{1:1}", "{null:1}", '{"a"=1}')
    yield from ('{"a":1;"b":2}', '{"a":1 "b":2}', '{"a":1,,"b":2}')
    for depth in (50, 200, 300, DEEP):
        yield from ("[" * depth + "]" * depth, "[" * depth, '{"a":' * depth + "1" + "}" * depth, '[{"":' * depth)
    # What would close the object around it and begin other members of it.
    yield from ('1}],"model":"acme/full","x":[{"y":1', '"a"}],"model":"acme/full"}')
    yield from ('1,"model":"acme/full"', '"\\"}],\\"model\\":1"')


def _encodings() -> Iterator[bytes]:
    wide = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le")
    for text in ('{"a":"é"}', '"a"', "1"):
        yield from (text.encode(encoding) for encoding in (*wide, "utf-8-sig", "latin-1", "utf-7", "cp037"))
