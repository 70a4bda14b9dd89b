"""The page about all results, `report.html`."""
