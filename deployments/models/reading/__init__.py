"""From the lines that a text recogniser read to text: which lines are text, and in which order."""
