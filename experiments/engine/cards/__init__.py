"""Model cards: pages of what models are for, what not, and what they reach."""
