"""Run damaged input through every parser: `python -m tests.fuzz [--cases 100000] [--seed N] [--only NAME]`."""

import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from random import SystemRandom

import click

from tests.fuzz.parsers import PARSERS
from tests.fuzz.run import Finding, case, fuzz

PART = 2000


def part(name: str, seed: int, start: int, count: int) -> list[Finding]:
    """Run some cases of a parser, in a process of its own."""
    [parser] = [p for p in PARSERS if p.name == name]
    return list(fuzz(parser, seed, range(start, start + count)))


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--cases", default=100_000, show_default=True, help="Cases of each parser.")
@click.option("--seed", default=None, type=int, help="By the dice if it is not given.")
@click.option("--only", multiple=True, type=click.Choice([p.name for p in PARSERS]), help="A parser; may be repeated.")
@click.option("--show", type=int, help="Print the input of this case of the parser that --only names.")
def main(cases: int, seed: int | None, only: tuple[str, ...], show: int | None) -> None:
    seed = SystemRandom().randrange(1 << 32) if seed is None else seed
    chosen = [p for p in PARSERS if not only or p.name in only]
    if show is not None:
        for parser in chosen:
            click.echo(case(parser, seed, show))
        return
    click.echo(f"seed {seed}")
    bad = False
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for parser in chosen:
            begun = time.monotonic()
            parts = [pool.submit(part, parser.name, seed, at, min(PART, cases - at)) for at in range(0, cases, PART)]
            findings = [finding for done in parts for finding in done.result()]
            click.echo(f"{parser.name:20} {cases:8} cases {len(findings):6} findings {time.monotonic() - begun:6.0f} s")
            bad |= bool(findings)
            seen: Counter[tuple[str, str]] = Counter((f.where, f.what.partition(":")[0]) for f in findings)
            for (where, kind), count in seen.most_common():
                first = next(f for f in findings if (f.where, f.what.partition(":")[0]) == (where, kind))
                click.echo(f"    {count:6} {where}: {first.what} (first: case {first.number})")
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
