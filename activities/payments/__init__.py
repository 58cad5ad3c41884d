"""Money: what Stripe is asked and tells, and what follows from it. One module knows Stripe's library: `client`."""
