"""Several finished runs beside each other."""
