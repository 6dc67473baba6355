"""Open a chain of cards twice, while the objects of the first one still live. Print how often it was opened."""

from __future__ import annotations

import json
import sys

from bitnet_tt.backends.tt.device.mesh import open_cards


def main(cards: int) -> None:
    chains = []
    for _ in range(2):
        chains.append(open_cards(cards))
        chains[-1][0].close()
    print(json.dumps({"opened": len(chains)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
