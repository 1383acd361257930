"""One line of the table: what was done, what was promised, what is in the store."""

from dataclasses import dataclass, field

from tests.drills.ground import Ground
from tests.drills.ledger import Found, compare

HEADINGS = ("drill", "acknowledged", "found once", "lost", "duplicated", "503", "what was seen")


@dataclass(frozen=True)
class Report:
    """A drill is passed when nothing is wrong and everything acknowledged is found once."""

    did: str
    found: Found
    shed: int
    seen: str = ""
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, ground: Ground, did: str, seen: str = "", wrong: list[str] | None = None) -> "Report":
        """Compare the ledger with the store; the caller has waited until the spool was empty."""
        found, ledger = compare(ground.ledger, ground.store_url), ground.ledger
        bad = list(wrong or [])
        if not found.well:
            bad.append(f"acknowledged and stored differ: {found}")
        if ledger.unkind:
            bad.append(f"{len(ledger.unkind)} refusals that were no 503 with Retry-After, such as {ledger.unkind[0]}")
        if "Traceback" in ground.log:
            bad.append("a traceback in the server's log")
        if (ground.spool / "refused.txt").exists():
            bad.append("the store refused records")
        return cls(did, found, ledger.refused[503], seen, bad)

    @property
    def cells(self) -> tuple[str, ...]:
        f = self.found
        numbers = (f.acknowledged, f.once, f.lost, f.duplicated, self.shed)
        return (self.did, *(f"{n:,}" for n in numbers), "; ".join([self.seen, *self.wrong]).strip("; "))
