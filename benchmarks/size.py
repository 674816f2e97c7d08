"""The size of the product: code lines per package, the longest functions and modules, and words to avoid.

A line is code if it holds a token that is neither a comment nor a bare string statement (a docstring or the text under
an attribute). A function is as long as its lines from `def` to the end, docstring included. The sources are parsed,
never imported.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import statistics
import subprocess
import tarfile
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
PRODUCT = ("mcp_a2a", "transports")
OTHERS = ("tests", "benchmarks", "examples")
MAX_FUNCTION, MAX_MODULE = 50, 350
"""Budgets, in lines."""
WORDS = re.compile("somebody|whoever|nobody|anybody|everybody", re.IGNORECASE)
"""Pronouns that stand where the sentence needs a noun."""

NO_CODE = frozenset(
    {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its length in lines."""

    place: str
    lines: int


@dataclass(frozen=True, slots=True)
class Module:
    """The counts of one file.

    Attributes:
        place: the path of the file, from the root of the tree.
        doc: lines of bare string statements.
        comment: lines that hold only a comment.
        words: lines that match `WORDS`.
    """

    place: str
    lines: int
    code: int
    doc: int
    comment: int
    words: int
    functions: tuple[Function, ...]

    @property
    def package(self) -> str:
        """The folder below `mcp_a2a`; elsewhere the top folder."""
        top, *rest = PurePosixPath(self.place).parts
        return rest[0] if top == "mcp_a2a" and len(rest) > 1 else top


@dataclass(frozen=True, slots=True)
class Total:
    """The counts of several files."""

    files: int
    lines: int
    code: int
    doc: int
    comment: int
    words: int
    function_median: float
    function_p90: int
    function_max: int


def module_of(place: str, source: str) -> Module:
    """Count one file.

    Raises:
        SyntaxError: `source` is not Python.
    """
    tree, lines = ast.parse(source), source.splitlines()
    doc = {line for node in ast.walk(tree) if _is_text(node) for line in _lines_of(node)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {
        line for token in tokens if token.type not in NO_CODE for line in range(token.start[0], token.end[0] + 1)
    } - doc
    taken = doc | code
    comment = sum(line.lstrip().startswith("#") for number, line in enumerate(lines, 1) if number not in taken)
    functions = tuple(
        Function(f"{place}:{node.lineno} {node.name}", len(_lines_of(node)))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    words = sum(bool(WORDS.search(line)) for line in lines)
    return Module(place, len(lines), len(code), len(doc), comment, words, functions)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _lines_of(node: ast.AST) -> range:
    assert isinstance(node, ast.stmt)
    assert node.end_lineno is not None
    return range(node.lineno, node.end_lineno + 1)


def total_of(modules: Sequence[Module]) -> Total:
    """Add up the counts of at least one file."""
    lengths = sorted(function.lines for module in modules for function in module.functions) or [0]
    return Total(
        files=len(modules),
        lines=sum(module.lines for module in modules),
        code=sum(module.code for module in modules),
        doc=sum(module.doc for module in modules),
        comment=sum(module.comment for module in modules),
        words=sum(module.words for module in modules),
        function_median=statistics.median(lengths),
        function_p90=lengths[int(len(lengths) * 0.9)],
        function_max=lengths[-1],
    )


def modules_here(folders: Iterable[str]) -> list[Module]:
    """The files of this working tree."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [module_of(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def modules_at(revision: str, folders: Iterable[str]) -> list[Module]:
    """The files of a commit, read from the history.

    Raises:
        CalledProcessError: the history has no such commit.
    """
    command = ["git", "-C", str(ROOT), "archive", revision, *folders]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return list(_modules_in(files))


def _modules_in(files: tarfile.TarFile) -> Iterator[Module]:
    for member in files:
        content = files.extractfile(member) if member.name.endswith(".py") else None
        if content is not None:
            yield module_of(member.name, content.read().decode())


def totals_of(product: Sequence[Module], others: Sequence[Module]) -> dict[str, Total]:
    """One total per package of the product, one for the product, and one per folder of `others`."""
    packages = defaultdict[str, list[Module]](list)
    for module in product:
        packages[module.package].append(module)
    totals = {name: total_of(packages[name]) for name in sorted(packages)} | {"product": total_of(product)}
    for module in others:
        packages[module.package].append(module)
    return totals | {name: total_of(packages[name]) for name in OTHERS if name in packages}


def figures(base: str | None, top: int, others: Sequence[str]) -> dict[str, object]:
    """All figures, as plain values."""
    product = modules_here(PRODUCT)
    totals = totals_of(product, modules_here(others))
    functions = sorted((one for module in product for one in module.functions), key=lambda one: -one.lines)
    modules = sorted(product, key=lambda module: -module.lines)
    wordy = sorted((module for module in product if module.words), key=lambda module: -module.words)
    found: dict[str, object] = {
        "packages": {name: {key: getattr(total, key) for key in Total.__slots__} for name, total in totals.items()},
        f"functions_over_{MAX_FUNCTION}": sum(function.lines > MAX_FUNCTION for function in functions),
        f"modules_over_{MAX_MODULE}": sum(module.lines > MAX_MODULE for module in modules),
        "longest_functions": {function.place: function.lines for function in functions[:top]},
        "longest_modules": {module.place: module.lines for module in modules[:top]},
        "words_by_module": {module.place: module.words for module in wordy[:top]},
    }
    if base is not None:
        before = total_of(modules_at(base, PRODUCT)).code
        found["base"] = {"revision": base, "code": before, "percent": round(100 * totals["product"].code / before, 1)}
    return found


def table(found: dict[str, object]) -> str:
    """The figures in columns."""
    packages = found["packages"]
    assert isinstance(packages, dict)
    names = ("files", "lines", "code", "doc", "comment", "words")
    rows = [f"{'':<12}" + "".join(f"{name:>9}" for name in names) + f"{'function median/p90/max':>26}"]
    for package, total in packages.items():
        length = f"{total['function_median']:.0f} / {total['function_p90']} / {total['function_max']}"
        rows.append(f"{package:<12}" + "".join(f"{total[name]:>9,}" for name in names) + f"{length:>26}")
    for name, value in found.items():
        if isinstance(value, dict) and name != "packages":
            rows += ["", name.replace("_", " "), *(f"  {key:<76}{of}" for key, of in value.items())]
        elif not isinstance(value, dict):
            rows += ["", f"{name.replace('_', ' '):<78}{value}"]
    return "\n".join(rows)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--top", type=int, default=10, help="length of each list (default: 10)")
    parser.add_argument("--base", metavar="REV", help="compare the code lines of the product with those of this commit")
    parser.add_argument("--all", action="store_true", help="count tests, benchmarks and examples as well")
    asked = parser.parse_args()
    found = figures(asked.base, asked.top, OTHERS if asked.all else ())
    print(json.dumps(found, indent=2) if asked.json else table(found))


if __name__ == "__main__":
    main()
