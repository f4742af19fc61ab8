"""Names under which ImageNet's classes are shown, where torchvision's name says something else to a reader.

The vectors of class names stay those of the original names: only what a reviewer sees changes.
"""

from collections.abc import Mapping

NAMES = "display names"  # in the version of answers: 0.1 showed ImageNet's names, at any score

DISPLAYED: Mapping[str, str] = {
    "nipple": "bottle teat",
    "cock": "rooster",
    "drake": "male duck",
    "suit": "suit of clothes",
    "groom": "bridegroom",
    "stole": "scarf",
    "jean": "jeans",
    "maillot": "swimsuit",
    "boxer": "boxer (dog)",
    "muzzle": "muzzle (of a dog)",
    "Mexican hairless": "Mexican hairless dog",
    "kite": "kite (bird)",
    "black widow": "black widow (spider)",
    "sorrel": "sorrel horse",
    "ear": "ear of maize",
    "pick": "plectrum",
    "hook": "hook (tool)",
    "mask": "mask (costume)",
    "bonnet": "bonnet (hat)",
    "crib": "cot",
    "joystick": "joystick (game)",
    "switch": "switch (electric)",
    "racket": "racket (sport)",
    "hand blower": "hair dryer",
    "Band Aid": "sticking plaster",
    "notebook": "notebook computer",
    "brass": "brass plaque",
    "reel": "reel (fishing)",
    "vacuum": "vacuum cleaner",
    "screen": "computer screen",
    "web site": "page of a web site",
    "prison": "prison building",
}


def displayed(name: str) -> str:
    """The name to show for a class of ImageNet."""
    return DISPLAYED.get(name, name)
