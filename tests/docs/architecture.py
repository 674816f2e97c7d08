"""Writes the rules about imports into `docs/architecture.md`: `python -m tests.docs.architecture`."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- contracts: begin -->\n", "<!-- contracts: end -->"

Contract = dict[str, object]


def contracts() -> list[Contract]:
    """As they stand in the configuration."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[Contract] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return found


def written() -> str:
    """The part of the page that is made of them."""
    return "\n".join(_one(contract) for contract in contracts()) + "\n"


def _one(contract: Contract) -> str:
    name, kind = contract["name"], contract["type"]
    match kind:
        case "layers":
            layers = _names(contract["layers"])
            return (
                f"**{name}.** From the top:\n\n"
                + "\n".join(f"{at}. {layer}" for at, layer in enumerate(layers, 1))
                + "\n"
            )
        case "forbidden":
            sources, banned = (", ".join(_names(contract[f"{which}_modules"])) for which in ("source", "forbidden"))
            indirectly = "" if contract.get("allow_indirect_imports") else ", nor by way of others"
            return f"**{name}.** Not into {sources}{indirectly}: {banned}.\n"
        case "independence":
            return f"**{name}**: {', '.join(_names(contract['modules']))}.\n"
        case "protected":
            protected, allowed = (
                ", ".join(_names(contract[key])) for key in ("protected_modules", "allowed_importers")
            )
            return f"**{name}.** {protected}: only {allowed}.\n"
        case _:
            raise ValueError(f"a contract of another type: {kind}")


def _names(listed: object) -> list[str]:
    if not isinstance(listed, list):
        raise TypeError(listed)
    return [" | ".join(f"`{part.strip()}`" for part in str(name).split("|")) for name in listed]


def filled(page: str) -> str:
    """The page with that part as it should be."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{written()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
