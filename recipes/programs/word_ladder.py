"""From COLD to WARM, one letter at a time: the shortest ladder between two words of a made-up dictionary.

A breadth-first search that asks for the neighbours of every word that it meets. The answer is right, the program is slow, and
it is not slow where most people look first: see recipes/find_the_slow_function.py.
"""

from __future__ import annotations

import random
import sys
from collections import deque


class Dictionary:
    """Words of one length, made up from syllables, always the same ones."""

    def __init__(self, n_words: int, seed: int = 7) -> None:
        rng = random.Random(seed)
        consonants, vowels = "bcdfglmnprst", "aeiou"
        words = {"cold", "cord", "card", "ward", "warm"}
        while len(words) < n_words:
            words.add(rng.choice(consonants) + rng.choice(vowels) + rng.choice(consonants) + rng.choice(consonants + vowels))
        self.words = sorted(words)

    def neighbours(self, word: str) -> list[str]:
        """Every word that differs in exactly one letter."""
        return [other for other in self.words if differ_by_one(word, other)]


def differ_by_one(left: str, right: str) -> bool:
    """Do the words differ in exactly one place?"""
    return sum(a != b for a, b in zip(left, right, strict=True)) == 1


def ladder(words: Dictionary, start: str, goal: str) -> list[str]:
    """The shortest ladder, or an empty list."""
    came_from: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue:
        word = queue.popleft()
        if word == goal:
            return trace_back(came_from, goal)
        for other in words.neighbours(word):
            if other not in came_from:
                came_from[other] = word
                queue.append(other)
    return []


def trace_back(came_from: dict[str, str | None], goal: str) -> list[str]:
    """The way from the goal back to the start, turned round."""
    steps: list[str] = []
    step: str | None = goal
    while step is not None:
        steps.append(step)
        step = came_from[step]
    return steps[::-1]


def main(n_words: int = 1500) -> None:
    words = Dictionary(n_words)
    for start, goal in (("cold", "warm"), ("ward", "cold")):
        print(" → ".join(ladder(words, start, goal)) or f"no ladder from {start} to {goal}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
