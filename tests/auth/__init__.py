"""Sign-up, sign-in, tokens, roles, members."""
