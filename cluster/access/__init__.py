"""Who may do what: roles, keys, users, sessions, signed URLs, the audit log. Without Ray and without FastAPI."""
