"""Two tenants beside each other: neither sees, changes or hears of what the other has."""
