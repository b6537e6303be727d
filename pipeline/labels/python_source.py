"""Labels of Python source, exact by Python's own tokenizer and syntax tree.

A document that the running Python cannot parse has no labels. A label is a function below; its name
in LABELS makes it one that is probed.
"""

from __future__ import annotations

import ast
import io
import re
import token
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from pipeline.corpus.documents import Document
from pipeline.labels.labeller import Labeller, Span, Spans

_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
# From Python 3.12 on an f-string is several tokens.
_FORMAT_START = getattr(token, "FSTRING_START", None)
_FORMAT_END = getattr(token, "FSTRING_END", None)


@dataclass(frozen=True)
class Source:
    """A parsed document: its tokens and its syntax tree."""

    text: str
    tokens: list[tokenize.TokenInfo]
    tree: ast.Module

    @cached_property
    def lines(self) -> list[str]:
        """The lines with their ends, as Python's tokenizer and tree number them from 1."""
        return io.StringIO(self.text, newline="\n").readlines()

    @cached_property
    def starts(self) -> list[int]:
        """The character at which each line begins, and where the text ends, twice."""
        ends = [0, *accumulate(map(len, self.lines))]
        return [*ends, ends[-1]]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree."""
        return list(ast.walk(self.tree))

    def character(self, line: int, byte: int) -> int:
        """The character of a line (from 1) at an offset in bytes of utf-8, as the tree counts."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        within = byte if text.isascii() else len(text.encode()[:byte].decode())
        return self.starts[line - 1] + within

    def span(self, node: ast.AST) -> Span:
        """The characters of a statement, expression or argument."""
        where = (getattr(node, name) for name in ("lineno", "col_offset"))
        end = (getattr(node, name) for name in ("end_lineno", "end_col_offset"))
        return self.character(*where), self.character(*end)

    def at(self, place: tuple[int, int]) -> int:
        """The character at the tokenizer's (line, column), which counts characters."""
        return self.starts[place[0] - 1] + place[1]


def parsed(text: str) -> Source | None:
    """The text as Python reads it; None where it cannot."""
    if re.search(r"\r(?!\n)", text):
        return None  # the tree begins a new line there, the tokenizer does not
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the text's own escapes and comparisons
            tree = ast.parse(text)
            tokens = list(tokenize.generate_tokens(io.StringIO(text, newline="\n").readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    return Source(text, tokens, tree)


def in_string(source: Source) -> Iterator[Span]:
    """String literals from prefix to closing quote; all of an f-string, what it inserts too."""
    opened: list[int] = []
    for one in source.tokens:
        if one.type == token.STRING and not opened:
            yield source.at(one.start), source.at(one.end)
        elif one.type == _FORMAT_START:
            opened.append(source.at(one.start))
        elif one.type == _FORMAT_END:
            start = opened.pop()
            if not opened:
                yield start, source.at(one.end)


def in_docstring(source: Source) -> Iterator[Span]:
    """Docstrings of modules, classes and functions, with their quotes."""
    for node in source.nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if ast.get_docstring(node, clean=False) is not None and isinstance(first, ast.Expr):
                yield source.span(first.value)


def in_comment(source: Source) -> Iterator[Span]:
    """Comments from # to the line's end."""
    for one in source.tokens:
        if one.type == token.COMMENT:
            yield source.at(one.start), source.at(one.end)


def in_brackets(source: Source) -> Iterator[Span]:
    """Between brackets of any kind that are no part of a string."""
    return _brackets(source, depth=1)


def in_nested_brackets(source: Source) -> Iterator[Span]:
    """Between two pairs of brackets or more."""
    return _brackets(source, depth=2)


def indentation(source: Source) -> Iterator[Span]:
    """Spaces and tabs before a statement's first token."""
    fresh = True
    for one in source.tokens:
        if one.type in (token.INDENT, token.DEDENT, token.NL, token.COMMENT):
            continue
        if fresh and one.start[1]:
            yield source.starts[one.start[0] - 1], source.at(one.start)
        fresh = one.type == token.NEWLINE


def in_deep_block(source: Source) -> Iterator[Span]:
    """Statements of blocks that lie within two others or more."""
    depth, start, stop = 0, 0, 0
    for one in source.tokens:
        if one.type == token.NEWLINE:
            stop = source.at(one.end)
        elif one.type == token.INDENT:
            depth += 1
            if depth == 3:
                start = source.at(one.end)
        elif one.type == token.DEDENT:
            depth -= 1
            if depth == 2:
                yield start, stop


def definition_name(source: Source) -> Iterator[Span]:
    """Names of functions and classes where they are defined."""
    names = [one for one in source.tokens if one.type == token.NAME]
    for before, one in pairwise(names):
        if before.string in ("def", "class"):
            yield source.at(one.start), source.at(one.end)


def parameter_name(source: Source) -> Iterator[Span]:
    """Names of parameters where a function or lambda declares them."""
    for node in source.nodes:
        if isinstance(node, ast.arg):
            start, _ = source.span(node)
            yield start, start + len(node.arg)


def keyword_argument(source: Source) -> Iterator[Span]:
    """Names of keyword arguments where a call or class header gives them."""
    for node in source.nodes:
        if isinstance(node, ast.keyword) and node.arg is not None:
            start, _ = source.span(node)
            yield start, start + len(node.arg)


def attribute_name(source: Source) -> Iterator[Span]:
    """Names after the dot of an expression."""
    for node in source.nodes:
        if isinstance(node, ast.Attribute):
            _, stop = source.span(node)
            yield stop - len(node.attr), stop


def called_name(source: Source) -> Iterator[Span]:
    """Names, or last names after a dot, of what is called."""
    for node in source.nodes:
        if isinstance(node, ast.Call):
            _, stop = source.span(node.func)
            if isinstance(node.func, ast.Attribute):
                yield stop - len(node.func.attr), stop
            elif isinstance(node.func, ast.Name):
                yield source.span(node.func)


def assigned_name(source: Source) -> Iterator[Span]:
    """Names that a value is bound to: by =, for, with, and the like."""
    for node in source.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield source.span(node)


def in_import(source: Source) -> Iterator[Span]:
    """Import statements."""
    return (source.span(n) for n in source.nodes if isinstance(n, ast.Import | ast.ImportFrom))


def in_decorator(source: Source) -> Iterator[Span]:
    """Decorators, without the @."""
    for node in source.nodes:
        yield from map(source.span, getattr(node, "decorator_list", ()))


def in_return(source: Source) -> Iterator[Span]:
    """Return statements."""
    return (source.span(n) for n in source.nodes if isinstance(n, ast.Return))


def in_condition(source: Source) -> Iterator[Span]:
    """Conditions of if and while, statements and expressions."""
    for node in source.nodes:
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            yield source.span(node.test)


def in_loop(source: Source) -> Iterator[Span]:
    """Bodies of for and while."""
    for node in source.nodes:
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            yield _block(source, node.body)


def in_class(source: Source) -> Iterator[Span]:
    """Bodies of classes."""
    for node in source.nodes:
        if isinstance(node, ast.ClassDef):
            yield _block(source, node.body)


LABELS = (
    in_string,
    in_docstring,
    in_comment,
    in_brackets,
    in_nested_brackets,
    indentation,
    in_deep_block,
    definition_name,
    parameter_name,
    keyword_argument,
    attribute_name,
    called_name,
    assigned_name,
    in_import,
    in_decorator,
    in_return,
    in_condition,
    in_loop,
    in_class,
)


def _block(source: Source, body: list[ast.stmt]) -> Span:
    """From a block's first statement, or its decorators, to the end of its last."""
    first = [body[0], *getattr(body[0], "decorator_list", ())]
    return min(source.span(node)[0] for node in first), source.span(body[-1])[1]


def _brackets(source: Source, *, depth: int) -> Iterator[Span]:
    opened: list[int] = []
    inside = 0  # f-strings: the brackets of what they insert are part of a string
    for one in source.tokens:
        inside += (one.type == _FORMAT_START) - (one.type == _FORMAT_END)
        if one.type != token.OP or inside:
            continue
        if one.string in _OPEN:
            opened.append(source.at(one.end))
        elif one.string in _CLOSE:
            start = opened.pop()
            if len(opened) == depth - 1:
                yield start, source.at(one.start)


def _spans(document: Document) -> Spans | None:
    source = parsed(document.text)
    return None if source is None else {one.__name__: list(one(source)) for one in LABELS}


LABELLER = Labeller("python", 1, tuple(one.__name__ for one in LABELS), _spans)
