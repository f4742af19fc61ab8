"""Who may use which route: authentication of requests, roles of routes, blurred pictures; the owner of the keys."""
