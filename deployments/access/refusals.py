"""Why a sign-in through an OpenID Connect provider does not succeed."""

from cluster.access.identity import Identity


class ProviderDown(Exception):
    """The provider cannot be asked, or its description is not usable: a fault of it, the network or the settings."""


class TokenRefused(Exception):
    """The provider refuses the code, or the sign-in or its ID token is not valid here."""


class Unmapped(Exception):
    """Somebody whom the provider knows, and who is in no group with a role."""

    def __init__(self, who: Identity) -> None:
        super().__init__(who.subject)
        self.who = who
