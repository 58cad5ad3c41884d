"""Money as tenants and operators see it: balance, movements, usage, costs of runs, prices, the rebuilding of projections."""
