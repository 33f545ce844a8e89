"""What synthetic persons say: plain sentences that between them hold every mouth shape of English."""

from __future__ import annotations

import numpy as np

SENTENCES = (
    "Good morning, I hope you slept well and found the house without any trouble.",
    "Five brown foxes were playing by the river while the village was still asleep.",
    "My mother bought a big box of apples and gave half of them to the baker.",
    "Would you please show me how to open this heavy wooden door?",
    "The weather will be warm on Wednesday, but on Thursday we may have thunder.",
    "She put the blue cup above the stove and poured the boiling water very slowly.",
    "We should choose a cheap ticket and join the others at the station before noon.",
    "People often forget how much the measure of pleasure depends on patience.",
    "Vivid flowers fill the valley, and every path leads up to the old farm.",
    "He said that the boat moved over the smooth sea without making a sound.",
    "Both of my brothers laugh whenever a puppy jumps from the sofa to the floor.",
    "Can you hear the children shouting in the garden behind the yellow fence?",
    "A wise woman once wrote that words are windows, or they are walls.",
    "The young judge asked for paper, a pen, and more time to think about it.",
    "Maybe we will meet again in April, perhaps at the market near the bridge.",
    "This machine prints pages faster than you can read them aloud.",
    "I think the third room is too far from the bathroom for a family of four.",
    "Her voice was calm and clear when she told us about the huge fire.",
    "Pack your bags, bring some bread, and follow me to the top of the mountain.",
    "Usually the shop at the corner closes when the church bell rings six.",
)
# Fast speech is hardly faster than this, characters per second.
_CHARACTERS_PER_S = 24.0


def choose_text(random: np.random.Generator, duration_s: float) -> str:
    """Sentences in random order that last at least ``duration_s``."""
    text: list[str] = []
    while sum(map(len, text)) < duration_s * _CHARACTERS_PER_S:
        text += [SENTENCES[index] for index in random.permutation(len(SENTENCES))]
        text = text[: _enough(text, duration_s * _CHARACTERS_PER_S)]
    return " ".join(text)


def _enough(text: list[str], characters: float) -> int:
    """Number of first sentences that together have so many characters."""
    return int(np.searchsorted(np.cumsum([len(sentence) for sentence in text]), characters)) + 1
