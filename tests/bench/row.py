"""A row of the table, and how its ratio is made."""
import statistics
from dataclasses import dataclass


@dataclass
class Row:
    target: str   # its name in the list of targets
    what: str
    tls: str      # "on", "off": of Pintle and the peer alike; "-": nothing is sent
    pintle: str
    peer: str
    reach: str    # "<= 2.0", ">= 0.5"
    ratio: float

    def cells(self):
        sign, limit = self.reach.split()
        met = self.ratio <= float(limit) if sign == "<=" else self.ratio >= float(limit)
        return [self.target, self.what, self.tls, self.pintle, self.peer, self.reach, f"{self.ratio:.2f}{'' if met else ' (missed)'}"]


HEADER = ["#", "what", "TLS", "Pintle", "peer", "to reach", "ratio"]


def median(values):
    return statistics.median(values)


def ratio(ours, peers):
    """The median of the ratios of each round."""
    return median([o / p for o, p in zip(ours, peers, strict=True)])


def markdown(rows):
    lines = [HEADER, ["---"] * len(HEADER)] + [r.cells() for r in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
