"""How much? Pure rules: token estimates, prices, budgets."""
