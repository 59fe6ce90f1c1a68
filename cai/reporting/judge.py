"""The judge's card for the terminal."""

from __future__ import annotations

from rich.table import Table

from cai.scoring.judge_card import Card


def card_table(card: Card) -> Table:
    """Every measure of the card with its base and 95 % interval, or the reason why it could not be taken."""
    table = Table("measure", "value", "95 % interval", "n", "not measured", title=f"judge: {card.judge}")
    for name, one in card.measures.items():
        if one.value is None:
            table.add_row(name, "-", "-", str(one.n), one.reason)
        else:
            interval = "-" if one.interval is None else f"{one.interval[0]:.3f} to {one.interval[1]:.3f}"
            table.add_row(
                name, f"{one.value:.3f}", interval, str(one.n), f"{one.n_missing} missing" * bool(one.n_missing)
            )
    return table
